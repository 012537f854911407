"""How many directions features and class means use, and how near class means are to the best frame."""

from typing import Literal

import numpy as np
from scipy.optimize import nnls

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import squarable
from encollapse.metrics.registry import metric
from encollapse.metrics.statistics import ClassStatistics, directed_means, distinct_means


def rank_me(features: ArrayLike, *, epsilon: float = 1e-7) -> float:
    """RankMe of features: exponential of the entropy of their normalized singular values :cite:p:`garrido2023`.

    ``exp(-Σ p_i log p_i)`` with ``p_i = σ_i/Σσ + ε`` over the ``min(N, d)`` singular values of the uncentered
    features, as published.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    epsilon : float
        ε. The default is the published one.

    Returns
    -------
    float
        From 1 to ``min(N, d)``, but for ε.

    Raises
    ------
    Undefined
        If all features are zero.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> round(ec.metrics.rank_me(np.eye(5, 7)), 3)
    5.0
    """
    values = _singular_values(features, centered=False)
    shares = values / values.sum() + checks.positive(epsilon, "epsilon")
    return float(np.exp(-(shares * np.log(shares)).sum()))


def effective_rank(
    features: ArrayLike, *, of: Literal["singular_values", "eigenvalues"] = "singular_values", centered: bool = False
) -> float:
    """Effective rank of features: exponential of the entropy of their normalized spectrum :cite:p:`roy2007`.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    of : {"singular_values", "eigenvalues"}
        Spectrum that is normalized: the singular values σ of the features, as in the source, or the eigenvalues
        ``σ²`` of their second moments, which weighs long directions more.
    centered : bool
        Take off the mean of the features first. The source does not.

    Returns
    -------
    float
        From 1 to ``min(N, d)``.

    Raises
    ------
    Undefined
        If all features are zero, or, centered, the same.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> features = np.diag([3.0, 1.0])
    >>> [round(ec.metrics.effective_rank(features, of=of), 3) for of in ("singular_values", "eigenvalues")]
    [1.755, 1.384]
    """
    values = _singular_values(features, centered=centered)
    if checks.choice(of, "of", ("singular_values", "eigenvalues")) == "eigenvalues":
        values = values**2
    return _entropy_rank(values)


def stable_rank(features: ArrayLike, *, centered: bool = False) -> float:
    """Stable rank of features, ``|H|_F²/|H|²`` (Frobenius over spectral norm) :cite:p:`rudelson2007`.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    centered : bool
        Take off the mean of the features first.

    Returns
    -------
    float
        From 1 to ``min(N, d)``.

    Raises
    ------
    Undefined
        If all features are zero, or, centered, the same.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> round(ec.metrics.stable_rank(np.diag([3.0, 1.0])), 3)
    1.111
    """
    values = _singular_values(features, centered=centered)
    return float(np.square(values / values[0]).sum())


def participation_ratio(features: ArrayLike, *, centered: bool = True) -> float:
    """Participation ratio of features, ``(Σλ)²/Σλ²`` of the eigenvalues λ of their covariance :cite:p:`gao2017`.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    centered : bool
        Take off the mean of the features first, as a covariance does. False gives that of the second moments.

    Returns
    -------
    float
        From 1 to ``min(N - 1, d)``.

    Raises
    ------
    Undefined
        If all features are the same, or, uncentered, zero.

    Examples
    --------
    >>> import encollapse as ec
    >>> round(ec.metrics.participation_ratio([[1.0, 0], [-1, 0], [0, 2], [0, -2]]), 3)
    1.471
    """
    values = _singular_values(features, centered=centered) ** 2
    return float(values.sum() ** 2 / np.square(values).sum())


def nrc1(features: ArrayLike, dim: int) -> float:
    r"""NRC1: how much of the directions of the features lies outside a few of them :cite:p:`andriopoulos2024`.

    .. math:: \tfrac1N \sum_i \left| \tilde h_i - P \tilde h_i \right|^2, \quad \tilde h_i = (h_i - \mu)/|h_i - \mu|

    with the projection P onto the `dim` leading principal directions of the features. The paper takes
    ``h/|h|``. Here the mean of the features is taken off first, so that a shift changes nothing. Both are the same
    where that mean is zero. Features of K classes that have collapsed lie in K - 1 directions.

    Parameters
    ----------
    features : (N, d) array
        One row a sample, numpy or torch.
    dim : int
        Number of directions: the dimension of the targets, or K - 1.

    Returns
    -------
    float
        From 0, which is collapsed, to 1.

    Raises
    ------
    Undefined
        If all features are the same.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.metrics.nrc1([[3.0, 0], [-3, 0], [0, 1], [0, -1]], 1)
    0.5
    """
    size = checks.integer(dim, "dim", minimum=1)
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    rows -= rows[0]
    rows = squarable(rows - rows.mean(axis=0))
    lengths = np.linalg.norm(rows, axis=1)
    if not lengths.any():
        raise Undefined("all features are the same")
    _, _, principal = np.linalg.svd(rows, full_matrices=False)
    units = rows[lengths > 0] / lengths[lengths > 0, None]
    return float(np.square(units - (units @ principal[:size].T) @ principal[:size]).sum(axis=1).mean())


@metric(
    "effective rank of means",
    "exp of the entropy of the singular values of the means",
    r"\exp(-\sum_i p_i \log p_i), \quad p_i = \sigma_i / \sum_j \sigma_j",
    "roy2007",
    family="nc2",
    ideal=None,
    range=(1.0, float("inf")),
    detail=True,
    example="1.9713",
)
def class_mean_effective_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Effective rank of the centered class means, weighted as the convention averages: from 1 to K - 1."""
    return _entropy_rank(_lengths(statistics, convention))


@metric(
    "stable rank of means",
    "Σσ²/max σ² of the means",
    r"\sum_i \sigma_i^2 / \sigma_1^2",
    "",
    family="nc2",
    ideal=None,
    range=(1.0, float("inf")),
    detail=True,
    example="1.5041",
)
def class_mean_stable_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Stable rank of the centered class means, weighted as the convention averages: from 1 to K - 1."""
    lengths = _lengths(statistics, convention)
    return float(np.square(lengths / lengths[0]).sum())


@metric(
    "rank of means",
    "singular values of the means above rounding",
    r"\#\{i : \sigma_i > \text{rounding}\}",
    "",
    family="nc2",
    ideal=None,
    range=(1.0, float("inf")),
    detail=True,
    example="2.0",
)
def class_mean_numerical_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Number of singular values of the centered means above the rounding of features and means."""
    lengths = _lengths(statistics, convention)
    eps = max(statistics.resolution, float(np.finfo(np.float64).eps))
    return float((lengths > max(statistics.means.shape) * eps * lengths[0] + statistics.mean_rounding).sum())


@metric(
    "NC2, nearest simplex",
    "distance of the centered means to the nearest simplex ETF",
    r"\min_E |M_c/|M_c|_F - E|_F",
    name="nc2_nearest_etf",
    family="nc2",
    range=(0.0, 2.0),
    detail=True,
    example="0.1678",
)
def nearest_etf(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Distance of the centered means M to the simplex ETFs E with ``|E| = 1``.

    Over all rotations of E (for d below K - 1: partial isometries), by the singular values ``σ`` of
    ``M/|M|``: ``√Σ_i (σ_i - 1/√(K-1))²``. The means are about their plain average, as those of an ETF are.
    """
    centered = distinct_means(statistics, "class")
    lengths = np.linalg.svd(centered.deviations / np.linalg.norm(centered.deviations), compute_uv=False)
    size = len(centered.deviations) - 1
    padded = np.zeros(size)
    padded[: min(size, len(lengths))] = lengths[:size]
    return float(np.linalg.norm(padded - 1.0 / np.sqrt(size)))


@metric(
    "one against the rest",
    "least distance of a direction to the hull of the others",
    r"\min_k \mathrm{dist}(\hat u_k, \mathrm{conv}\{\hat u_l : l \ne k\})",
    "jiang2024",
    family="nc2",
    ideal=None,
    range=(0.0, 2.0),
    detail=True,
    example="1.3793",
)
def one_vs_rest_margin(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Least distance of a unit centered mean to the convex hull of the others.

    Softmax codes have the largest possible one. For a simplex ETF it is ``K/(K - 1)``.

    Notes
    -----
    With columns ``v_j = û_j - û_k``, the non-negative least squares problem ``min |V a|² + (Σa - 1)²`` has
    the value ``δ²/(1 + δ²)`` at ``a = α/(1 + δ²)``, α the nearest point's weights and δ its distance.
    """
    centered = directed_means(statistics, convention.averaging)
    units = centered.deviations / centered.norms[:, None]
    if len(units) < units.shape[1]:  # a rotation into fewer dimensions keeps all distances
        units = np.asarray(np.linalg.qr(units.T, mode="r")).T
    return min(_distance_to_hull(units, k) for k in range(len(units)))


def _distance_to_hull(units: FloatArray, k: int) -> float:
    differences = (np.delete(units, k, axis=0) - units[k]).T
    system = np.vstack([differences, np.ones(differences.shape[1])])
    target = np.zeros(len(system))
    target[-1] = 1.0
    weights, _ = nnls(system, target)
    return float(np.linalg.norm(differences @ (weights / weights.sum())))


def _lengths(statistics: ClassStatistics, convention: Convention) -> FloatArray:
    return np.asarray(np.linalg.svd(distinct_means(statistics, convention.averaging).weighted, compute_uv=False))


def _entropy_rank(values: FloatArray) -> float:
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _singular_values(features: ArrayLike, *, centered: bool) -> FloatArray:
    """Singular values of features (N, d), in units of the largest entry: no rank has a unit."""
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    if checks.flag(centered, "centered"):
        rows -= rows[0]  # whose mean is small where the features are alike
        rows -= rows.mean(axis=0)
    peak = float(np.abs(rows).max())
    if peak == 0.0:
        raise Undefined("all features are the same" if centered else "all features are zero")
    return np.asarray(np.linalg.svd(rows / peak, compute_uv=False))
