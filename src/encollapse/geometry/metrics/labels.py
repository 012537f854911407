"""What the bias does to the labels: two residuals of the optimality conditions of the bias.

Both are about the objective, in which every sample counts once, so the averages are over samples in
every convention: at a minimiser ``W μ + b - ē = -λ_b b``, and ``b = ē`` where the bias is free
:cite:p:`massion2026`.
"""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.statistics import ClassStatistics


def bias_to_label_mean(bias: FloatArray, mean_codeword: FloatArray) -> float:
    """``|b - ē|`` (Euclidean), ē the mean codeword under the measured class frequencies; both (q,)."""
    return float(np.linalg.norm(bias - mean_codeword))


def label_centering(
    statistics: ClassStatistics, weight: FloatArray, bias: FloatArray, mean_codeword: FloatArray
) -> float:
    """``|W μ + b - ē|`` (Euclidean): by how much the mean output misses the mean codeword.

    Shapes: weight (q, d), bias (q,), mean_codeword (q,). At a minimiser it is ``λ_b |b|``, not 0.
    """
    mean = statistics.centered("sample").global_mean
    return float(np.linalg.norm(weight @ mean + bias - mean_codeword))
