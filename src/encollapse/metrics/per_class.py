"""Which class has not collapsed, and which two are closest."""

import heapq

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.pairs import pair_tiles, squared_distances
from encollapse.metrics.statistics import ClassStatistics


def per_class(statistics: ClassStatistics, convention: Convention = DEFAULT) -> list[dict[str, float | int | None]]:
    """One row for each class with samples, the least collapsed first.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features.
    convention : Convention, optional
        Its averaging gives the global mean.

    Returns
    -------
    list of dict
        ``label``, ``count``, ``spread`` (root of the trace of its covariance), ``norm`` (length of its centered
        mean), ``nearest`` (the class whose mean is nearest), ``distance`` (to it) and ``cdnv``, the largest
        ``(v_k + v_l)/(2|m_k - m_l|²)`` over the other classes, or None where there is no other class. Lengths that are
        rounding are 0, and ``cdnv`` is infinite where the means of two classes coincide.

    Examples
    --------
    >>> import encollapse as ec
    >>> statistics = ec.metrics.ClassStatistics.from_features([[2.0, 0], [4, 0], [0, 3], [0, 3]], [0, 0, 1, 1])
    >>> [(row["label"], row["spread"], row["nearest"]) for row in ec.metrics.per_class(statistics)]
    [(0, 1.0, 1), (1, 0.0, 0)]
    """
    centered = statistics.centered(convention.averaging)
    variances = statistics.within_trace[centered.classes]
    size = len(variances)
    nearest, least, worst = np.zeros(size, dtype=np.int64), np.full(size, np.inf), np.zeros(size)
    for rows, columns in pair_tiles(size):
        squares = squared_distances(centered.deviations[rows], centered.deviations[columns])
        squares[squares <= centered.rounding**2] = 0.0
        if rows == columns:
            np.fill_diagonal(squares, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (variances[rows, None] + variances[None, columns]) / (2.0 * squares)
        ratios[np.isnan(ratios)] = np.inf
        sides = ((rows, columns, squares, ratios), (columns, rows, squares.T, ratios.T))
        for own, others, distances, cdnv in sides[: 1 if rows == columns else 2]:
            place = distances.argmin(axis=1)
            found = distances[np.arange(len(place)), place]
            closer = found < least[own]
            nearest[own] = np.where(closer, place + others.start, nearest[own])
            least[own] = np.where(closer, found, least[own])
            worst[own] = np.maximum(worst[own], cdnv.max(axis=1))
    alone = size < 2
    norms = np.where(centered.norms > centered.rounding, centered.norms, 0.0)
    table: list[dict[str, float | int | None]] = [
        {
            "label": int(k),
            "count": int(statistics.counts[k]),
            "spread": float(np.sqrt(variances[i])),
            "norm": float(norms[i]),
            "nearest": None if alone else int(centered.classes[nearest[i]]),
            "distance": None if alone else float(np.sqrt(least[i])),
            "cdnv": None if alone else float(worst[i]),
        }
        for i, k in enumerate(centered.classes)
    ]
    return [table[i] for i in np.argsort(-worst, kind="stable")]


def nearest_pairs(statistics: ClassStatistics, count: int = 10) -> list[tuple[int, int, float]]:
    """Labels k < l and the distance of their means, for the closest pairs.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features.
    count : int
        How many pairs at most.

    Returns
    -------
    list of tuple
        Closest first, or empty for a single class. A distance that is rounding is 0.

    Raises
    ------
    ArgumentError
        If `count` is below 1.

    Examples
    --------
    >>> import encollapse as ec
    >>> statistics = ec.metrics.ClassStatistics.from_features([[0.0], [3.0], [5.0]], [0, 1, 2])
    >>> ec.metrics.nearest_pairs(statistics, 2)
    [(1, 2, 2.0), (0, 1, 3.0)]
    """
    wanted = checks.integer(count, "count", minimum=1)
    centered = statistics.centered("sample")
    found: list[tuple[float, int, int]] = []
    for rows, columns in pair_tiles(len(centered.deviations)):
        squares = squared_distances(centered.deviations[rows], centered.deviations[columns])
        squares[squares <= centered.rounding**2] = 0.0
        if rows == columns:
            squares[np.tril_indices_from(squares)] = np.inf
        flat = squares.ravel()
        few = np.argpartition(flat, min(wanted, len(flat) - 1))[:wanted]
        places = zip(*np.unravel_index(few, squares.shape), strict=True)
        found += [
            (float(flat[f]), rows.start + int(i), columns.start + int(j))
            for f, (i, j) in zip(few, places, strict=True)
            if np.isfinite(flat[f])
        ]
        found = heapq.nsmallest(wanted, found)
    return [(int(centered.classes[i]), int(centered.classes[j]), float(np.sqrt(d))) for d, i, j in found]


def centered_cosines(statistics: ClassStatistics, classes: IntArray, convention: Convention = DEFAULT) -> FloatArray:
    """Cosines between the means of some classes about the global mean.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features.
    classes : (n,) ints
        Classes that have samples.
    convention : Convention, optional
        Its averaging gives the global mean.

    Returns
    -------
    (n, n) array
        NaN where a mean is at the global mean.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> statistics = ec.metrics.ClassStatistics.from_features(np.eye(3), [0, 1, 2])
    >>> ec.metrics.centered_cosines(statistics, np.array([0, 2])).round(2)
    array([[ 1. , -0.5],
           [-0.5,  1. ]])
    """
    centered = statistics.centered(convention.averaging)
    places = np.searchsorted(centered.classes, classes)
    rows, norms = centered.deviations[places], centered.norms[places]
    with np.errstate(divide="ignore", invalid="ignore"):
        units = rows / np.where(norms > centered.rounding, norms, np.nan)[:, None]
    return np.asarray(np.clip(units @ units.T, -1.0, 1.0))
