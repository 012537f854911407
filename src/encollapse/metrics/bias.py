"""What the bias does to the labels: two residuals of the optimality conditions of the bias.

Both are about the objective, in which every sample counts once, so the averages are over samples in
every convention: at a minimizer ``W μ + b - ē = -λ_b b``, and ``b = ē`` where the bias is free
:cite:p:`massion2026`.
"""

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics.linear_algebra import squarable
from encollapse.metrics.pairs import TILE_ENTRIES
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import Undefined


def bias_to_label_mean(bias: FloatArray, mean_codeword: FloatArray) -> float:
    """``|b - ē|`` (Euclidean), ē the mean codeword under the measured class frequencies; both (q,)."""
    return float(np.linalg.norm(bias - mean_codeword))


def label_centering(
    statistics: ClassStatistics, weight: FloatArray, bias: FloatArray, mean_codeword: FloatArray
) -> float:
    """``|W μ + b - ē|`` (Euclidean): by how much the mean output misses the mean codeword.

    Shapes: weight (q, d), bias (q,), mean_codeword (q,). At a minimizer it is ``λ_b |b|``, not 0.
    """
    mean = statistics.centered("sample").global_mean
    return float(np.linalg.norm(weight @ mean + bias - mean_codeword))


def mean_output(statistics: ClassStatistics, weight: FloatArray, bias: FloatArray) -> float:
    """``|W μ + b|``: the mean output. Where labels are not centered it need not vanish, see `label_centering`."""
    return float(np.linalg.norm(weight @ statistics.centered("sample").global_mean + bias))


def row_sum(weight: FloatArray) -> float:
    """NC0: ``|Wᵀ 1| / |W|_F``, 0 where the rows of the classifier (q, d) add up to zero."""
    rows = squarable(weight)
    size = float(np.linalg.norm(rows))
    if size == 0.0:
        raise Undefined("the weight is zero")
    return float(np.linalg.norm(rows.sum(axis=0)) / size)


def cosine_margin(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Least over classes of ``cos(w_k, m_k) - max_l≠k cos(w_l, m_k)``, at the uncentered means."""
    present = statistics.present
    if len(weight) != statistics.num_classes or len(present) < 2:
        raise Undefined("one output a class and at least two classes with samples are needed")
    rows, means = squarable(weight[present]), statistics.means[present]
    lengths, norms = np.linalg.norm(rows, axis=1), np.linalg.norm(means, axis=1)
    if not (lengths.all() and norms.all()):
        raise Undefined("a class mean or a row of the classifier is zero")
    least, step = np.inf, max(1, TILE_ENTRIES // len(rows))
    for start in range(0, len(rows), step):
        cosines = (means[start : start + step] / norms[start : start + step, None]) @ (rows / lengths[:, None]).T
        own = np.arange(len(cosines)), start + np.arange(len(cosines))
        true = cosines[own]
        cosines[own] = -np.inf
        least = min(least, float((true - cosines.max(axis=1)).min()))
    return float(least)
