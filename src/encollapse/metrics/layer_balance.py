"""Balance of classifier and class means, scale left free."""

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.geometry.balance import balance_residual
from encollapse.metrics.linear_algebra import LinearAlgebra
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import Undefined


def balance(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Residual of ``WᵀW ∝ Σ n_k m_k m_kᵀ``, which holds at every minimizer of the UFM with linear features.

    See :func:`encollapse.geometry.balance.balance_residual`; the factor ``λ_H/λ_W`` is not known to a
    measurement, so the traces are made equal and the shape alone is tested.
    """
    means, algebra = statistics.present_means, statistics.algebra
    if len(means) > means.shape[1]:
        residual = _in_feature_space(algebra.gram(weight), _uncentered(statistics), algebra)
    else:
        counts = statistics.counts[statistics.present]
        residual = balance_residual(
            algebra.gram(means.T), algebra.gram(weight.T), algebra.product(weight, means.T), counts
        )
    if residual is None:
        raise Undefined("the weight or every class mean is zero")
    return residual


def _uncentered(statistics: ClassStatistics) -> FloatArray:
    """``Σ n_k m_k m_kᵀ / N = Σ_B + μ μᵀ`` (d, d), of which ``Σ_B`` is at hand."""
    centered = statistics.centered("sample")
    mean, peak = centered.global_mean, float(centered.norms.max())
    square = np.outer(mean, mean)
    if peak > 0:
        square += centered.between * peak**2
    return square


def _in_feature_space(classifier: FloatArray, between: FloatArray, algebra: LinearAlgebra) -> float | None:
    """Compute the same from ``X = WᵀW`` and ``Y = MᵀM`` (d, d): ``|W A Wᵀ|² = tr(A X A X)``.

    No array of (K, K) entries is formed, and it is quicker for more classes than dimensions. For X and Y of
    trace one, ``(X - Y) X = X² - (X Y)ᵀ``, and the like for Y: three products, two of them symmetric.
    """
    sizes = float(np.trace(classifier)), float(np.trace(between))
    if min(sizes) <= 0:
        return None
    x, y = classifier / sizes[0], between / sizes[1]
    across = algebra.product(x, y)

    def relative(square: FloatArray, mixed: FloatArray) -> float:
        length = float(np.linalg.norm(square))
        square -= mixed
        return float(np.sqrt(max(float(np.einsum("ij,ji->", square, square)), 0.0))) / length

    return max(relative(algebra.gram(x), across.T), relative(algebra.gram(y), across))
