"""How many directions the class means use, and how near their directions are to the best frame."""

import numpy as np
from scipy.optimize import nnls

from encollapse._internal.typing import FloatArray
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import directed_means, distinct_means


def effective_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``exp(-Σ p_i log p_i)`` with ``p_i = σ_i/Σσ`` of the centered means :cite:p:`roy2007`: from 1 to K - 1."""
    lengths = _lengths(statistics, convention)
    shares = lengths[lengths > 0] / lengths.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def stable_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``Σ σ_i² / max σ_i²`` of the centered means: from 1 to K - 1."""
    lengths = _lengths(statistics, convention)
    return float(np.square(lengths / lengths[0]).sum())


def numerical_rank(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Number of singular values of the centered means above the rounding of features and means."""
    lengths = _lengths(statistics, convention)
    eps = max(statistics.resolution, float(np.finfo(np.float64).eps))
    return float((lengths > max(statistics.means.shape) * eps * lengths[0] + statistics.mean_rounding).sum())


def nearest_etf(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Distance ``min |M/|M| - E|_F`` of the centered means M to the simplex ETFs E with ``|E| = 1``.

    Over all rotations of E (for d below K - 1: partial isometries), by the singular values ``σ`` of
    ``M/|M|``: ``√Σ_i (σ_i - 1/√(K-1))²``. The means are about their plain average, as those of an ETF are.
    """
    centered = distinct_means(statistics, "class")
    lengths = np.linalg.svd(centered.deviations / np.linalg.norm(centered.deviations), compute_uv=False)
    size = len(centered.deviations) - 1
    padded = np.zeros(size)
    padded[: min(size, len(lengths))] = lengths[:size]
    return float(np.linalg.norm(padded - 1.0 / np.sqrt(size)))


def one_vs_rest_margin(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Least distance of a unit centered mean to the convex hull of the others :cite:p:`jiang2024`.

    Softmax codes have the largest possible one; for a simplex ETF it is ``K/(K - 1)``.

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
