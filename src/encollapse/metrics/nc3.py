"""NC3: whether the classifier is aligned with the class means."""

from collections.abc import Iterator

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics import pairs
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import row_lengths, squarable
from encollapse.metrics.pair_sums import PairSpread, two_valued_distance
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics
from encollapse.metrics.undefined import Undefined, directed_means, distinct_means

_TILE_ENTRIES = 2**16
"""Entries of a tile that stays in the cache."""


def nc3_alignment(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """``|W Mc/|W Mc|_F - (I - J/K)/√(K - 1)|_F`` with centered means ``Mc`` as columns :cite:p:`zhu2021`.

    Needs one row of `weight` (K, d) for each class; absent classes are left out of both factors.
    """
    centered = distinct_means(statistics, convention.averaging)
    rows, means = _rows(statistics, weight, centered, convention), centered.deviations
    unit = 1.0 / (float(centered.norms.max()) * float(np.abs(rows).max()))
    k = len(rows)
    own, others, step = np.empty(k), PairSpread(), max(1, pairs.TILE_ENTRIES // k)
    for start in range(0, k, step):
        outputs = centered.algebra.product(rows[start : start + step], means.T)
        outputs *= unit
        places = np.arange(len(outputs)), start + np.arange(len(outputs))
        own[start : start + len(outputs)] = outputs[places]
        others.add(outputs, diagonal=start)
    if not own.any() and others.mean == 0.0 == others.squares:
        raise Undefined("the classifier maps every centered class mean to zero")
    return two_valued_distance(own, others, pairs=1, off_diagonal=-1.0 / (k - 1))


def nc3_self_duality(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """``|W/|W|_F - Mcᵀ/|Mc|_F|_F`` with centered means ``Mc`` as columns :cite:p:`papyan2020`.

    Needs one row of `weight` (K, d) for each class; absent classes are left out of both sides.
    """
    centered = distinct_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    units = 1.0 / np.linalg.norm(rows), 1.0 / np.linalg.norm(centered.norms)
    return float(np.sqrt(sum(_squared_gaps(rows, centered.deviations, *np.broadcast_to(units, (len(rows), 2)).T))))


def unc3(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Standard deviation over classes of ``cos(w_k, m_k - μ)``: uniform duality :cite:p:`wu2024`.

    0 where every class is as well aligned with its row of `weight` (K, d) as every other.
    """
    centered = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    lengths = _lengths(rows, centered)
    products = np.einsum("kd,kd->k", rows, centered.deviations)
    return float((products / lengths / centered.norms).std())


def nc3_cosine(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Mean over classes of ``1 - cos(w_k, m_k - μ)``: 0 where all are aligned, whatever their lengths.

    Needs one row of `weight` (K, d) for each class. Half the mean squared distance of the unit vectors.
    """
    centered = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centered, convention)
    gaps = _squared_gaps(rows, centered.deviations, 1.0 / _lengths(rows, centered), 1.0 / centered.norms)
    return 0.5 * sum(gaps) / len(rows)


def _squared_gaps(a: FloatArray, b: FloatArray, by_a: FloatArray, by_b: FloatArray) -> Iterator[float]:
    """Parts of ``Σ_k |α_k a_k - β_k b_k|²``, tile by tile; rows (K, d) and factors (K,)."""
    step = max(1, _TILE_ENTRIES // a.shape[1])
    for start in range(0, len(a), step):
        tile = slice(start, start + step)
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
