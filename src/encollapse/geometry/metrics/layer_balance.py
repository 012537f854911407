"""Balance of classifier and class means, scale left free."""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.balance import balance_residual
from encollapse.geometry.metrics.undefined import Undefined
from encollapse.geometry.statistics import ClassStatistics


def balance(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Residual of ``WᵀW ∝ Σ n_k m_k m_kᵀ``, which holds at every minimiser of the UFM with linear features.

    See :func:`encollapse.geometry.balance.balance_residual`; the factor ``λ_H/λ_W`` is not known to a
    measurement, so the traces are made equal and the shape alone is tested.
    """
    present = statistics.present
    means = np.asarray(statistics.means[present])
    counts = statistics.counts[present]
    if len(means) > means.shape[1]:
        centred = statistics.centered("sample")
        mean, peak = centred.global_mean, centred.norms.max()
        # Σ n_k m_k m_kᵀ / N = Σ_B + μ μᵀ, and Σ_B is at hand.
        between = centred.between * peak**2 + np.outer(mean, mean) if peak > 0 else np.outer(mean, mean)
        residual = _in_feature_space(weight.T @ weight, between)
    else:
        residual = balance_residual(means @ means.T, weight @ weight.T, weight @ means.T, counts)
    if residual is None:
        raise Undefined("the weight or every class mean is zero")
    return residual


def _in_feature_space(classifier: FloatArray, between: FloatArray) -> float | None:
    """Compute the same from ``X = WᵀW`` and ``Y = MᵀM`` (d, d): ``|W A Wᵀ|² = tr(A X A X)``.

    No array of (K, K) entries is formed, and it is quicker for more classes than dimensions.
    """
    sizes = float(np.trace(classifier)), float(np.trace(between))
    if min(sizes) <= 0:
        return None
    x, y = classifier / sizes[0], between / sizes[1]
    difference = x - y

    def relative(matrix: FloatArray) -> float:
        product = difference @ matrix
        square = float(np.vdot(product, product.T))
        # Both are symmetric, and of AᵀA half is computed.
        return float(np.sqrt(max(square, 0.0)) / np.linalg.norm(matrix.T @ matrix))

    return max(relative(x), relative(y))
