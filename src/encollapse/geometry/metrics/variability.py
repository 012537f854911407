"""NC1: how small the spread within classes is beside the spread between them."""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.metrics.convention import DEFAULT, Convention
from encollapse.geometry.metrics.undefined import Undefined, centered_means, distinct_means
from encollapse.geometry.statistics import ClassStatistics

_EPS = float(np.finfo(np.float64).eps)


def nc1_pinv(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``tr(Σ_W Σ_B⁺)/K`` over the K present classes :cite:p:`papyan2020`.

    With the weighted centred means ``Mc = U S Vᵀ`` (``Σ_B = Mc Mcᵀ``) this is ``Σ_j u_jᵀ Σ_W u_j / s_j²``,
    taken over the known rank ``min(K - 1, d)``: a cut-off in pinv either drops small class directions or
    inverts the spurious K-th one. Only directions below the float64 rounding of the means are left out.
    """
    covariance = within_covariance(statistics, convention)
    centred = distinct_means(statistics, convention.averaging)
    rank = min(statistics.num_present - 1, statistics.feature_dim)
    _, lengths, directions = np.linalg.svd(centred.weighted, full_matrices=False)
    tolerance = _EPS * max(centred.deviations.shape) * lengths[0] + statistics.mean_rounding
    lengths = lengths[:rank][lengths[:rank] > tolerance]
    if not len(lengths):
        raise Undefined("all class means coincide up to rounding")
    directions = directions[: len(lengths)]
    spread = np.einsum("rd,rd->r", directions @ covariance, directions)
    total = float((spread.clip(min=0.0) / lengths**2).sum())
    return total / statistics.num_present if convention.nc1_per_class else total


def nc1_trace_ratio(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``tr Σ_W / tr Σ_B`` :cite:p:`tirer2023`."""
    between = distinct_means(statistics, convention.averaging).between_trace
    return within_trace(statistics, convention) / between


def nc1_normalized(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``tr Σ_W / (tr Σ_W + tr Σ_B)``, the share of the variance within classes: from 0 to 1."""
    between = centered_means(statistics, convention.averaging).between_trace
    within = within_trace(statistics, convention)
    if within + between == 0.0:
        raise Undefined("all features are the same")
    return within / (within + between)


def vci(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Variability collapse index ``1 - tr(Σ_T⁺ Σ_B)/min(d, K - 1)`` :cite:p:`xu2023`.

    ``Σ_T = Σ_W + Σ_B``. 0 where the features have collapsed, 1 where the class means coincide.

    Notes
    -----
    Let ``Σ_B = Mc Mcᵀ`` and ``S = Mcᵀ Σ_W⁻¹ Mc`` with eigenvalues ``s_i``. By the Woodbury identity
    ``Mcᵀ (Σ_W + Mc Mcᵀ)⁻¹ Mc = S (I + S)⁻¹``, hence ``tr(Σ_T⁻¹ Σ_B) = Σ s_i/(1 + s_i)`` and, over the
    ``r = min(d, K - 1)`` largest, the index is the mean of ``1/(1 + s_i)``: no difference of nearly equal
    numbers is left. Eigenvalues of ``Σ_W`` below its rounding are raised to it, which sends the
    directions without any spread to ``1/(1 + s) = 0`` as the pseudo-inverse does.
    """
    covariance = within_covariance(statistics, convention)
    centred = centered_means(statistics, convention.averaging)
    rank = min(statistics.num_present - 1, statistics.feature_dim)
    spreads, axes = np.linalg.eigh(covariance)
    if spreads[-1] <= 0.0:
        if centred.coincide:
            raise Undefined("all features are the same")
        return 0.0
    spreads = np.maximum(spreads, _EPS * statistics.feature_dim * spreads[-1])
    whitened = centred.weighted @ (axes / np.sqrt(spreads))
    ratios = np.linalg.svd(whitened, compute_uv=False)[:rank] ** 2
    return float((1.0 / (1.0 + ratios)).mean())


def floor(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``(eps · max_k |m_k|)² / tr Σ_B``: the value of `nc1_trace_ratio` below which it is rounding.

    ``eps`` is the resolution of the dtype the features arrived in. A feature of size ``|m|`` is known to
    ``eps · |m|`` at best, so a smaller spread within a class cannot be told from the rounding of the
    features themselves, however exactly it is computed.
    """
    between = distinct_means(statistics, convention.averaging).between_trace
    largest = float(np.linalg.norm(statistics.means[statistics.present], axis=1).max())
    return (statistics.resolution * largest) ** 2 / between


def within_trace(statistics: ClassStatistics, convention: Convention) -> float:
    """``tr Σ_W`` under the averaging of the convention."""
    traces = statistics.within_trace[statistics.present]
    return float(statistics.weights(convention.averaging) @ traces)


def within_covariance(statistics: ClassStatistics, convention: Convention) -> FloatArray:
    """``Σ_W`` under the averaging of the convention, shape (d, d).

    Raises
    ------
    Undefined
        If it was not kept, or the pooled one is all there is and the classes have different counts.
    """
    if statistics.within_covariance is None and statistics.class_averaged_covariance is None:
        raise Undefined("the within-class covariance was not kept; use covariance=True")
    counts = statistics.counts[statistics.present]
    if convention.averaging == "class" and (counts != counts[0]).any():
        if statistics.class_averaged_covariance is None:
            raise Undefined(
                "a class-averaged covariance of classes with different counts needs a second pass over the "
                "features; use collapse(...)"
            )
        return statistics.class_averaged_covariance
    if statistics.within_covariance is None:
        raise Undefined("the sample-averaged within-class covariance was not kept; use covariance=True")
    return statistics.within_covariance
