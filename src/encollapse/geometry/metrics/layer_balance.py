"""Balance of classifier and class means, scale left free."""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.balance import balance_residual
from encollapse.geometry.metrics.undefined import Undefined
from encollapse.geometry.statistics import ClassStatistics


def balance(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Residual of ``WᵀW ∝ Σ n_k m_k m_kᵀ``, which holds at every minimiser :cite:p:`massion2026`.

    See :func:`encollapse.geometry.balance.balance_residual`; the factor ``λ_H/λ_W`` is not known to a
    measurement, so the traces are made equal and the shape alone is tested.
    """
    present = statistics.present
    means = np.asarray(statistics.means[present])
    residual = balance_residual(
        means @ means.T, weight @ weight.T, weight @ means.T, statistics.counts[present]
    )
    if residual is None:
        raise Undefined("the weight or every class mean is zero")
    return residual
