"""The mean squared error of a linear classifier, split as Han, Papyan and Donoho did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics.convention import DEFAULT
from encollapse.metrics.nc1 import UNRESOLVED, wants_exact_covariance, within_covariance
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import Undefined, Unresolved

_RELATIVE_CUTOFF = 1e-14


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

    Without weight decay in the least squares, with a free bias, every sample counting once.

    Parameters
    ----------
    weight, bias : (q, d), (q,)
    codewords : (q, K)

    Raises
    ------
    Undefined
        If the within-class covariance was not kept, or float32 products do not resolve its inverse.
    """
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
    cross = ((targets - mean_target[:, None]) * priors) @ centered.deviations
    best = ((cross @ axes[:, kept]) / values[kept]) @ axes[:, kept].T
    misses = best @ centered.deviations.T + mean_target[:, None] - targets
    difference = weight - best
    outputs = difference @ between.T
    shift = weight @ centered.global_mean + bias - mean_target
    return MseDecomposition(
        nc1=0.5 * float(np.einsum("qd,qd->", best @ within, best)),
        nc23=0.5 * float(np.square(misses).sum(axis=0) @ priors),
        perpendicular=0.5
        * float(
            np.einsum("qd,qd->", difference @ within, difference) + np.square(outputs).sum() + np.square(shift).sum()
        ),
    )
