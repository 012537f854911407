"""Scores that tell unseen kinds of data by collapse: NC5, NECO and NCI, and the AUROC of a score."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError
from encollapse.measure.moments.inputs import labels_for
from encollapse.metrics.linear_algebra import squarable


def nc5(features: ArrayLike, labels: ArrayLike, outside: ArrayLike) -> float:
    """Mean over classes of ``|cos(m_k, μ_out)|``, 0 where unseen data are orthogonal to all :cite:p:`ammar2024`.

    Parameters
    ----------
    features, labels : (N, d), (N,)
        Data of the known classes.
    outside : (N', d)
        Features of the other data.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, or a mean is zero and has no direction.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> ec.measure.nc5(np.eye(3, 5), [0, 1, 2], outside=np.eye(5)[3:])
    0.0
    """
    known = squarable(_rows(features, "features", None))
    targets = labels_for(labels, 2**62, len(known))
    classes, place, counts = np.unique(targets, return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), known.shape[1]))
    np.add.at(means, place, known)
    means /= counts[:, None]
    center = squarable(_rows(outside, "outside", means.shape[1])).mean(axis=0)
    lengths = np.linalg.norm(means, axis=1) * np.linalg.norm(center)
    if not lengths.all():
        raise ArgumentError("features: a class mean, or the mean of outside, is zero and has no direction")
    return float(np.abs(means @ center / lengths).mean())


def neco_scores(reference: ArrayLike, features: ArrayLike, dimension: int) -> FloatArray:
    """``|P h| / |h|`` of each row (N,), P on the leading principal directions of `reference` :cite:p:`ammar2024`.

    Higher is more like the reference. Both are centered by the mean of the reference. Zero rows score 0.

    Parameters
    ----------
    reference, features : (N, d), (N', d)
    dimension : int
        Number of principal directions.

    Returns
    -------
    (N',) array
        Scores from 0 to 1.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, or there are fewer directions than asked for.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> reference = np.vstack([np.eye(2, 5), -np.eye(2, 5)])
    >>> ec.measure.neco_scores(reference, np.eye(5), dimension=2).round(6) + 0.0
    array([1., 1., 0., 0., 0.])
    """
    known = _rows(reference, "reference", None)
    rows = _rows(features, "features", known.shape[1])
    size = checks.integer(dimension, "dimension", minimum=1, maximum=min(known.shape))
    # Shares of lengths have no unit, and squares of extreme lengths leave the range of float64.
    known, rows = _in_units(known, rows)
    mean = known.mean(axis=0)
    _, _, directions = np.linalg.svd(known - mean, full_matrices=False)
    centered = rows - mean
    lengths = np.linalg.norm(centered, axis=1)
    inside = np.linalg.norm(centered @ directions[:size].T, axis=1)
    return np.asarray(np.divide(inside, lengths, out=np.zeros_like(lengths), where=lengths > 0))


def nci_scores(
    features: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, mean: ArrayLike, l1_weight: float = 0.0
) -> FloatArray:
    """``<w_c, h - μ>/|h - μ| + α |h|_1`` of each row (N,), c the decided class :cite:p:`liu2025`.

    Higher is more like the training data: its features lie along the row of the class they are taken for.

    Parameters
    ----------
    features : (N, d)
        Rows to score.
    weight, bias : (K, d), (K,)
        The classifier, with one output a class. None means no bias.
    mean : (d,)
        Global mean of the training features.
    l1_weight : float
        α.

    Returns
    -------
    (N,) array
        Scores. Without the second term that of a feature at the mean is 0.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, or `l1_weight` is below 0.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> ec.measure.nci_scores(np.array([[2.0, 0, 0], [0, 0, 2]]), np.eye(2, 3), mean=np.zeros(3))
    array([1., 0.])
    """
    rows = _rows(features, "features", None)
    matrix = checks.array(weight, "weight", (None, rows.shape[1]), axes="(num_classes, feature_dim)")
    offset = 0.0 if bias is None else checks.array(bias, "bias", (len(matrix),))
    centered = rows - checks.array(mean, "mean", (rows.shape[1],), axes="(feature_dim,)")
    decided = (rows @ matrix.T + offset).argmax(axis=1)
    centered = squarable(centered)  # of which the direction alone counts
    lengths = np.linalg.norm(centered, axis=1)
    along = np.einsum("nd,nd->n", matrix[decided], centered)
    score = np.divide(along, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(score + checks.nonnegative(l1_weight, "l1_weight") * np.abs(rows).sum(axis=1))


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """Share of pairs in which the score inside is the higher one. Ties count half :cite:p:`hanley1982`.

    Parameters
    ----------
    inside, outside : (N,), (N',)
        Scores of the known and of the other data.

    Returns
    -------
    float
        From 0 to 1, one half where the scores tell nothing.

    Raises
    ------
    ArgumentError
        If one of them is empty or no vector, or an entry is not finite.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.measure.auroc([0.9, 0.8, 0.3], [0.1, 0.3])
    0.9166666666666666
    """
    high = checks.array(inside, "inside", (None,))
    low = checks.array(outside, "outside", (None,))
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _in_units(reference: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in units of the largest entry of the reference."""
    unit = float(np.abs(reference).max())
    return (reference / unit, values / unit) if unit > 0 else (reference, values)


def _rows(value: ArrayLike, name: str, dim: int | None) -> FloatArray:
    return checks.array(value, name, (None, dim), axes="(num_samples, feature_dim)")
