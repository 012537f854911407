"""NC3: whether the classifier is aligned with the class means."""

from collections.abc import Iterator

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import row_lengths, squarable
from encollapse.metrics.pairs import PairSpread, blocks, two_valued_distance
from encollapse.metrics.registry import metric
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics, directed_means, distinct_means

_TILE_ENTRIES = 2**16
"""Entries of a tile that stays in the cache."""


@metric(
    "NC3, alignment",
    "|W Mc/|W Mc| - (I - J/K)/√(K-1)|",
    r"\left| W M_c/|W M_c|_F - (I - J/K)/\sqrt{K - 1} \right|_F",
    "zhu2021",
    family="nc3",
    range=(0.0, 2.0),
    example="0.4715",
)
def nc3_alignment(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Distance of the outputs at the centered means from a simplex, scale left free.

    It needs one row of the weight for each class. ``Mc`` has the centered means of the present ones as columns.
    """
    centered = distinct_means(statistics, convention.averaging)
    rows, means = _rows(statistics, weight, centered, convention), centered.deviations
    unit = 1.0 / (float(centered.norms.max()) * float(np.abs(rows).max()))
    k = len(rows)
    own, others = np.empty(k), PairSpread()
    for block in blocks(k, k):
        outputs = centered.algebra.product(rows[block], means.T)
        outputs *= unit
        own[block] = outputs[np.arange(len(outputs)), np.arange(block.start, block.stop)]
        others.add(outputs, diagonal=block.start)
    if not own.any() and others.mean == 0.0 == others.squares:
        raise Undefined("the classifier maps every centered class mean to zero")
    return two_valued_distance(own, others, pairs=1, off_diagonal=-1.0 / (k - 1))


@metric(
    "NC3, self-duality",
    "|W/|W| - Mcᵀ/|Mc||",
    r"\left| W/|W|_F - M_c^\top/|M_c|_F \right|_F",
    "papyan2020",
    family="nc3",
    range=(0.0, 2.0),
    example="0.8617",
)
def nc3_self_duality(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Distance of the weight from the centered means, scale left free.

    It needs one row of the weight for each class. ``Mc`` has the centered means of the present ones as columns.
    """
    centered = distinct_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    units = 1.0 / np.linalg.norm(rows), 1.0 / np.linalg.norm(centered.norms)
    gaps = _squared_gaps(rows, centered.deviations, *np.broadcast_to(units, (len(rows), 2)).T)
    return sum(gaps) if convention.squared_duality else float(np.sqrt(sum(gaps)))


@metric(
    "UNC3",
    "standard deviation of cos(w_k, m_k - μ)",
    r"\mathrm{std}_k \cos(w_k, m_k - \mu)",
    "wu2024",
    family="nc3",
    range=(0.0, 1.0),
    example="0.1366",
)
def unc3(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Uniform duality: standard deviation over classes of the cosine of a mean and its row of the weight.

    0 where every class is as well aligned with its row of `weight` (K, d) as every other.
    """
    centered = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    lengths = _lengths(rows, centered)
    products = np.einsum("kd,kd->k", rows, centered.deviations)
    return convention.standard_deviation(float((products / lengths / centered.norms).std()), len(rows))


@metric(
    "NC3, cosines",
    "mean 1 - cos(w_k, m_k - μ)",
    r"\mathrm{mean}_k (1 - \cos(w_k, m_k - \mu))",
    family="nc3",
    range=(0.0, 2.0),
    detail=True,
    example="0.2621",
)
def nc3_cosine(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Mean over classes of one less the cosine: 0 where all are aligned, whatever their lengths.

    It needs one row of the weight for each class. It is half the mean squared distance of the unit vectors.
    """
    centered = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    gaps = _squared_gaps(rows, centered.deviations, 1.0 / _lengths(rows, centered), 1.0 / centered.norms)
    return 0.5 * sum(gaps) / len(rows)


def _squared_gaps(a: FloatArray, b: FloatArray, by_a: FloatArray, by_b: FloatArray) -> Iterator[float]:
    """Parts of ``Σ_k |α_k a_k - β_k b_k|²``, tile by tile, for rows (K, d) and factors (K,)."""
    for tile in blocks(len(a), a.shape[1], _TILE_ENTRIES):
        difference = a[tile] * by_a[tile, None]
        difference -= b[tile] * by_b[tile, None]
        yield float(np.vdot(difference, difference))


def _lengths(rows: FloatArray, centered: CenteredMeans) -> FloatArray:
    """Lengths of the rows of the classifier, none of them zero."""
    lengths = row_lengths(rows)
    if (lengths == 0.0).any():
        raise Undefined(f"the classifier's row of class {centered.classes[lengths.argmin()]} is zero")
    return lengths


def _rows(
    statistics: ClassStatistics, weight: FloatArray, centered: CenteredMeans, convention: Convention
) -> FloatArray:
    """Rows of the weight that belong to present classes, not all zero."""
    if len(weight) != statistics.num_classes:
        raise Undefined(
            f"the classifier has {len(weight)} outputs for {statistics.num_classes} classes; "
            "one output a class is needed"
        )
    rows = weight if len(centered.classes) == len(weight) else weight[centered.classes]
    if convention.center_weight:
        rows = rows - rows.mean(axis=0)
    if not rows.any():
        raise Undefined("the weight is zero")
    return squarable(rows)
