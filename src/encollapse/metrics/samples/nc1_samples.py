"""Forms of NC1 that the moments of the classes do not hold: along lines between means, and about the origin."""

from collections.abc import Iterable

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError, Undefined
from encollapse.metrics.convention import DEFAULT
from encollapse.metrics.nc1 import within_trace
from encollapse.metrics.pairs import blocks
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics, distinct_means


def directional_cdnv(features: ArrayLike, labels: ArrayLike, means: ArrayLike | None = None) -> float:
    """CDNV of the variance along the line between two class means alone :cite:p:`luthra2026`.

    The mean over ordered pairs of classes of ``mean_i ⟨h_i - m_k, m_l - m_k⟩² / |m_l - m_k|⁴`` over the samples of
    class k. It bounds the error of the nearest class mean where CDNV, which counts all directions, is too large to.
    It costs as much as deciding by the nearest mean, ``N K d``, and needs the samples.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    labels : (N,) ints
        Classes. Those without samples enter nothing.
    means : (K, d) array, optional
        Class means of other samples, such as those of the training set for samples that were held out. Rows of absent
        classes may be NaN. Default: those of the features.

    Returns
    -------
    float
        From 0, which is collapsed.

    Raises
    ------
    Undefined
        If only one class has samples, or two class means coincide.
    ArgumentError
        If a class with samples has no mean.

    Examples
    --------
    >>> import encollapse as ec
    >>> features = [[0.0, -3], [0, 3], [2, -1], [2, 1]]  # spread across the line between the means
    >>> ec.metrics.directional_cdnv(features, [0, 0, 1, 1])
    0.0
    """
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    targets = checks.class_labels(labels, 2**62)
    if means is None:
        centered = distinct_means(ClassStatistics.from_features(rows, targets), "sample")
    else:
        centered = _given_means(means, targets, rows.shape[1])
    return _mean_along_lines([(rows, targets)], centered)


def directional_cdnv_of_blocks(
    parts: Iterable[tuple[FloatArray, IntArray]], labels: IntArray, means: FloatArray
) -> float:
    """:func:`directional_cdnv` to given means (K, d) of blocks (n, d) with their labels (n,), of all `labels` (N,)."""
    return _mean_along_lines(parts, _given_means(means, labels, means.shape[1]))


def _mean_along_lines(parts: Iterable[tuple[FloatArray, IntArray]], centered: CenteredMeans) -> float:
    """Mean over ordered pairs of classes of the squared residuals along the line between their means."""
    size = len(centered.classes)
    totals, counts = np.zeros(size), np.zeros(size)
    for rows, targets in parts:
        for place, k in enumerate(centered.classes):
            own = targets == k
            if not own.any():
                continue
            axes = centered.deviations - centered.deviations[place]
            lengths = np.linalg.norm(axes, axis=1)
            lengths[place] = np.inf
            if lengths.min() <= centered.rounding:
                raise Undefined(f"the means of classes {k} and {centered.classes[lengths.argmin()]} coincide")
            axes /= np.square(lengths)[:, None]
            residuals = rows[own] - (centered.global_mean + centered.deviations[place])
            counts[place] += len(residuals)
            for block in blocks(len(residuals), len(axes)):
                totals[place] += float(np.square(residuals[block] @ axes.T).sum())
    return float((totals / counts).sum()) / (size * (size - 1))


def _given_means(means: ArrayLike, labels: IntArray, dim: int) -> CenteredMeans:
    """Those of the means whose classes have samples."""
    given = checks.array(means, "means", (None, dim), axes="(num_classes, feature_dim)", finite=False)
    present = np.unique(labels)
    known = present[present < len(given)]
    absent = [*present[len(known) :], *known[~np.isfinite(given[known]).all(axis=1)]]
    if absent:
        raise ArgumentError(f"means: has no mean of class {absent[0]}, which has samples; leave these samples out")
    counts = np.bincount(present, minlength=len(given))
    return distinct_means(ClassStatistics(given, counts, np.zeros(len(given))), "sample")


def rnc1(features: ArrayLike, labels: ArrayLike) -> float:
    r"""RNC1: variance within the classes in units of the length of the features :cite:p:`sakamoto2025`.

    .. math:: \mathrm{tr}\,\Sigma_W \,/\, \left( \tfrac1N \sum_i |h_i| \right)^2

    With the mean length as in the code of the authors. Unlike the other forms of NC1 it is about the origin, and a
    shift of all features changes it. Another quantity of a similar name, NRC1 of regression, is :func:`nrc1`.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    labels : (N,) ints
        Classes. Those without samples enter nothing.

    Returns
    -------
    float
        From 0, which is collapsed.

    Raises
    ------
    Undefined
        If all features are zero.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.metrics.rnc1([[3.0, 4], [3, 4], [0, 4], [0, 6]], [0, 0, 1, 1])
    0.02
    """
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    peak = float(np.abs(rows).max())
    if peak == 0.0:
        raise Undefined("all features are zero")
    statistics = ClassStatistics.from_features(rows / peak, labels)
    length = float(np.linalg.norm(rows / peak, axis=1).mean())
    return within_trace(statistics, DEFAULT) / length**2
