"""What the decay ``λ_b`` of a bias does, from 0, a free bias, to infinity, no bias."""

from __future__ import annotations

import math

from encollapse._internal.typing import FloatArray


def mean_share(bias_decay: float) -> float:
    """``β = λ_b/(1 + λ_b)``: what the best bias leaves of the squared error of a mean."""
    return 1.0 if math.isinf(bias_decay) else bias_decay / (1.0 + bias_decay)


def bias_penalty(bias_decay: float, bias: FloatArray) -> float:
    """``λ_b/2 |b|²``, 0 where there is no bias."""
    return 0.0 if math.isinf(bias_decay) else 0.5 * bias_decay * float(bias @ bias)
