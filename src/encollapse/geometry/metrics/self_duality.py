"""NC3: whether the classifier is aligned with the class means."""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.metrics import pairs
from encollapse.geometry.metrics.convention import DEFAULT, Convention
from encollapse.geometry.metrics.undefined import Undefined, directed_means, distinct_means
from encollapse.geometry.pair_sums import Spread, two_valued_distance
from encollapse.geometry.statistics import CenteredMeans, ClassStatistics


def nc3_alignment(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """``|W Mc/|W Mc|_F - (I - J/K)/√(K - 1)|_F`` with centred means ``Mc`` as columns :cite:p:`zhu2021`.

    Needs one row of `weight` (K, d) for each class; absent classes are left out of both factors.
    """
    centred = distinct_means(statistics, convention.averaging)
    rows, means = _rows(statistics, weight, centred, convention), centred.deviations
    found = centred.pairs
    means = means / found.peak
    rows = rows / np.abs(rows).max()
    k = len(rows)
    own, others, step = np.empty(k), Spread(), max(1, pairs.TILE_ENTRIES // (8 * k))
    for start in range(0, k, step):
        outputs = rows[start : start + step] @ means.T
        places = np.arange(len(outputs)), start + np.arange(len(outputs))
        own[start : start + len(outputs)] = outputs[places]
        others.add(outputs, diagonal=start)
    if not own.any() and others.mean == 0.0 == others.squares:
        raise Undefined("the classifier maps every centred class mean to zero")
    return two_valued_distance(own, others, pairs=1, off_diagonal=-1.0 / (k - 1))


def nc3_self_duality(
    statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT
) -> float:
    """``|W/|W|_F - Mcᵀ/|Mc|_F|_F`` with centred means ``Mc`` as columns :cite:p:`papyan2020`.

    Needs one row of `weight` (K, d) for each class; absent classes are left out of both sides.
    """
    centred = distinct_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centred, convention)
    means = centred.deviations / np.linalg.norm(centred.deviations)
    return float(np.linalg.norm(rows / np.linalg.norm(rows) - means))


def unc3(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Standard deviation over classes of ``cos(w_k, m_k - μ)``: uniform duality :cite:p:`wu2024`.

    0 where every class is as well aligned with its row of `weight` (K, d) as every other.
    """
    centred = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centred, convention)
    lengths = np.linalg.norm(rows, axis=1)
    if (lengths == 0.0).any():
        raise Undefined(f"the classifier's row of class {centred.classes[lengths.argmin()]} is zero")
    products = np.einsum("kd,kd->k", rows / lengths[:, None], centred.deviations / centred.norms[:, None])
    return float(products.std())


def nc3_cosine(statistics: ClassStatistics, weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Mean over classes of ``1 - cos(w_k, m_k - μ)``: 0 where all are aligned, whatever their lengths.

    Needs one row of `weight` (K, d) for each class. Half the mean squared distance of the unit vectors.
    """
    centred = directed_means(statistics, convention.averaging)
    rows = _rows(statistics, weight, centred, convention)
    lengths = np.linalg.norm(rows, axis=1)
    if (lengths == 0.0).any():
        raise Undefined(f"the classifier's row of class {centred.classes[lengths.argmin()]} is zero")
    difference = rows / lengths[:, None] - centred.deviations / centred.norms[:, None]
    return float(0.5 * np.square(difference).sum(axis=1).mean())


def _rows(
    statistics: ClassStatistics, weight: FloatArray, centred: CenteredMeans, convention: Convention
) -> FloatArray:
    """Rows of the weight that belong to present classes, not all zero."""
    if len(weight) != statistics.num_classes:
        raise Undefined(
            f"the classifier has {len(weight)} outputs for {statistics.num_classes} classes; "
            "one output a class is needed"
        )
    rows = np.asarray(weight[centred.classes])
    if convention.center_weight:
        rows = rows - rows.mean(axis=0)
    if not rows.any():
        raise Undefined("the weight is zero")
    return rows
