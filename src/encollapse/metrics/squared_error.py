"""The mean squared error of a linear classifier, split as Han, Papyan and Donoho did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT
from encollapse.metrics.nc1 import UNRESOLVED, wants_exact_covariance, within_covariance
from encollapse.metrics.registry import metric
from encollapse.metrics.statistics import ClassStatistics, Unresolved

_RELATIVE_CUTOFF = 1e-14  # times the size: what rounding leaves of a zero eigenvalue


@dataclass(frozen=True)
class MseDecomposition:
    """``½ mean |W h + b - e|² = nc1 + nc23 + perpendicular`` exactly, in squared units of the labels.

    Parameters
    ----------
    nc1 : float
        ``½ tr(W* Σ_W W*ᵀ)``: what the spread within classes costs the least-squares classifier ``W*``.
    nc23 : float
        ``½ Σ π_k |W* m_k + b* - e_k|²``: what it misses at the class means.
    perpendicular : float
        ``½ tr(D Σ_T Dᵀ) + ½ |D μ + b - b*|²`` with ``D = W - W*``: the distance from the least squares.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.metrics.MseDecomposition(nc1=0.1, nc23=0.2, perpendicular=0.25).total
    0.55
    """

    nc1: float
    nc23: float
    perpendicular: float

    @property
    def total(self) -> float:
        """Half the mean squared error."""
        return self.nc1 + self.nc23 + self.perpendicular


def mse_decomposition(
    statistics: ClassStatistics, weight: FloatArray, bias: FloatArray, codewords: FloatArray
) -> MseDecomposition:
    """Split half the mean squared error of ``W h + b`` against the codewords :cite:p:`han2022`.

    The least squares have no weight decay and a free bias. Every sample counts once.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features, with the within-class covariance.
    weight, bias : (q, d) and (q,) arrays
        The linear classifier.
    codewords : (q, K) array
        What its outputs are trained toward.

    Returns
    -------
    MseDecomposition
        Three parts that add up to the error.

    Raises
    ------
    Undefined
        If the within-class covariance was not kept, or float32 products do not resolve its inverse.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> statistics = ec.metrics.ClassStatistics.from_features([[1.0, 0], [3, 0], [0, 2]], [0, 0, 1])
    >>> parts = ec.metrics.mse_decomposition(statistics, np.eye(2), np.zeros(2), np.eye(2))
    >>> round(parts.total, 4)  # half the mean of 0, 4 and 1
    0.8333
    """
    checks.instance(statistics, "statistics", ClassStatistics)
    weight = checks.array(weight, "weight", (None, statistics.feature_dim), axes="(q, d)")
    bias = checks.array(bias, "bias", (len(weight),), axes="(q,)")
    codewords = checks.array(codewords, "codewords", (len(weight), statistics.num_classes), axes="(q, K)")
    within = within_covariance(statistics, DEFAULT)
    if wants_exact_covariance(statistics):
        raise Unresolved(UNRESOLVED)
    centered = statistics.centered("sample")
    priors, targets = centered.weights, codewords[:, centered.classes]
    mean_target = targets @ priors
    between = centered.weighted
    values, axes = np.linalg.eigh(within + between.T @ between)
    if values[-1] <= 0:
        raise Undefined("all features are the same")
    kept = values > _RELATIVE_CUTOFF * len(values) * values[-1]
    kept[: max(0, len(values) + 1 - statistics.num_samples)] = False  # the rank is at most N - 1
    cross = ((targets - mean_target[:, None]) * priors) @ centered.deviations
    best = ((cross @ axes[:, kept]) / values[kept]) @ axes[:, kept].T
    misses = best @ centered.deviations.T + mean_target[:, None] - targets
    difference = weight - best
    outputs = difference @ between.T
    shift = weight @ centered.global_mean + bias - mean_target
    return MseDecomposition(
        nc1=0.5 * max(0.0, float(np.einsum("qd,qd->", best @ within, best))),
        nc23=0.5 * float(np.square(misses).sum(axis=0) @ priors),
        perpendicular=0.5
        * float(
            np.einsum("qd,qd->", difference @ within, difference) + np.square(outputs).sum() + np.square(shift).sum()
        ),
    )


@metric(
    "MSE, within",
    "squared error by the spread within classes",
    r"\tfrac12 \mathrm{tr}(W_* \Sigma_W W_*^\top)",
    "han2022",
    detail=True,
    example="0.0211",
)
def mse_nc1(decomposition: MseDecomposition) -> float:
    """What the spread within classes costs the least-squares classifier."""
    return decomposition.nc1


@metric(
    "MSE, means",
    "squared error of the least squares at the means",
    r"\tfrac12 \sum_k \pi_k |W_* m_k + b_* - e_k|^2",
    "han2022",
    family="nc3",
    detail=True,
    example="0.0017",
)
def mse_nc23(decomposition: MseDecomposition) -> float:
    """What the least-squares classifier misses at the class means."""
    return decomposition.nc23


@metric(
    "MSE, classifier",
    "squared error by the distance from the least squares",
    r"\tfrac12 \mathrm{tr}(D \Sigma_T D^\top) + \tfrac12 |D \mu + b - b_*|^2, \quad D = W - W_*",
    "han2022",
    family="nc3",
    detail=True,
    example="12.2221",
)
def mse_perpendicular(decomposition: MseDecomposition) -> float:
    """What the distance of the classifier from the least squares costs."""
    return decomposition.perpendicular
