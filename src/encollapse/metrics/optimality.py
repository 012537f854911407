"""Conditions that hold at every minimizer: of the bias, and between classifier and class means.

Those of the bias are about the objective, in which every sample counts once, so the averages are over samples in
every convention: at a minimizer ``p̄ - ē = -λ_b b`` for the mean p̄ of what is predicted, which is ``W μ + b`` for
the squared error, where also ``b = ē`` if the bias is free :cite:p:`massion2026`, and the mean of ``softmax(W h + b)``
for cross-entropy.
"""

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.errors import Undefined
from encollapse.geometry.comparison import balance_residual
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import LinearAlgebra, squarable
from encollapse.metrics.pairs import blocks
from encollapse.metrics.registry import metric
from encollapse.metrics.statistics import ClassStatistics


@metric("|b − ē|", "|b - ē|, units of the labels", r"|b - \bar e|", "massion2026", family="bias", example="0.2708")
def bias_to_label_mean(bias: FloatArray, mean_codeword: FloatArray, loss: str = "mse") -> float:
    """Euclidean distance of the bias from the mean codeword ē. Minimizers of cross-entropy have no such bias."""
    if loss == "cross_entropy":
        raise Undefined("minimizers of cross-entropy do not have the bias ē; label_centering has the condition")
    return float(np.linalg.norm(bias - mean_codeword))


@metric(
    "|W μ + b − ē|",
    "mean prediction (|W μ + b - ē|; cross-entropy: mean softmax) against mean label",
    r"|W \mu + b - \bar e|",
    "massion2026",
    family="bias",
    example="3.7329",
)
def label_centering(
    statistics: ClassStatistics,
    weight: FloatArray,
    bias: FloatArray,
    mean_codeword: FloatArray,
    loss: str = "mse",
    mean_softmax: FloatArray | None = None,
) -> float:
    """By how much the mean prediction misses the mean codeword ē (Euclidean).

    The prediction is ``W h + b``, and under cross-entropy its softmax, whose mean over the samples is `mean_softmax`.
    At a minimizer it is ``λ_b |b|``: 0 where the bias costs nothing.
    """
    if loss == "cross_entropy":
        if mean_softmax is None:
            raise Undefined("it is the mean softmax under cross-entropy, which needs the samples; use collapse(...)")
        return float(np.linalg.norm(mean_softmax - mean_codeword))
    mean = statistics.centered("sample").global_mean
    return float(np.linalg.norm(weight @ mean + bias - mean_codeword))


@metric(
    "|W μ + b|",
    "|W μ + b|, units of the outputs",
    r"|W \mu + b|",
    family="bias",
    ideal=None,
    detail=True,
    example="4.2558",
)
def mean_output(statistics: ClassStatistics, weight: FloatArray, bias: FloatArray) -> float:
    """Length of the mean output. Where labels are not centered it need not vanish, see `label_centering`."""
    return float(np.linalg.norm(weight @ statistics.centered("sample").global_mean + bias))


@metric(
    "|Wᵀ1| / |W|", "|Wᵀ1| / |W|", r"|W^\top 1| / |W|_F", name="nc0_row_sum", family="nc3", detail=True, example="1.077"
)
def row_sum(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """NC0: 0 where the rows of the classifier add up to zero, or ``|Wᵀ1|`` itself with ``relative_row_sum=False``."""
    rows = squarable(weight)
    size = float(np.linalg.norm(rows))
    if size == 0.0:
        raise Undefined("the weight is zero")
    if not convention.relative_row_sum:
        return float(np.linalg.norm(weight.sum(axis=0)))
    return float(np.linalg.norm(rows.sum(axis=0)) / size)


@metric(
    "cosine margin",
    "least cos(w_k, m_k) - max cos(w_l, m_k)",
    r"\min_k \left( \cos(w_k, m_k) - \max_{l \ne k} \cos(w_l, m_k) \right)",
    family="nc3",
    ideal=None,
    range=(-2.0, 2.0),
    detail=True,
    example="0.4996",
)
def cosine_margin(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Least margin over classes between the cosine of a mean to its own row and to another, uncentered."""
    present = statistics.present
    if len(weight) != statistics.num_classes or len(present) < 2:
        raise Undefined("one output a class and at least two classes with samples are needed")
    rows, means = squarable(weight[present]), statistics.means[present]
    lengths, norms = np.linalg.norm(rows, axis=1), np.linalg.norm(means, axis=1)
    if not (lengths.all() and norms.all()):
        raise Undefined("a class mean or a row of the classifier is zero")
    least = np.inf
    for block in blocks(len(rows), len(rows)):
        cosines = (means[block] / norms[block, None]) @ (rows / lengths[:, None]).T
        own = np.arange(len(cosines)), np.arange(block.start, block.stop)
        true = cosines[own]
        cosines[own] = -np.inf
        least = min(least, float((true - cosines.max(axis=1)).min()))
    return float(least)


@metric(
    "balance of layers",
    "residual of WᵀW ∝ Σ n_k m_k m_kᵀ",
    r"W^\top W \propto \sum_k n_k m_k m_k^\top",
    "massion2026",
    family="nc3",
    example="0.6081",
)
def balance(statistics: ClassStatistics, weight: FloatArray) -> float:
    """Residual of the balance of the layers, which every minimizer of the UFM with linear features has.

    See ``encollapse.geometry.comparison.balance_residual``. The factor ``λ_H/λ_W`` is not known to a
    measurement, so the traces are made equal and the shape alone is tested.
    """
    means, algebra, rows = statistics.present_means, statistics.algebra, squarable(weight)
    if len(means) > means.shape[1]:
        residual = _in_feature_space(algebra.gram(rows), _uncentered(statistics), algebra)
    else:
        counts = statistics.counts[statistics.present]
        residual = balance_residual(algebra.gram(means.T), algebra.gram(rows.T), algebra.product(rows, means.T), counts)
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
