"""Which class has not collapsed, and which two are closest."""

import heapq

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.metrics.pairs import bounds, distance_tiles
from encollapse.metrics.separation import squared_distances
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import Undefined, centered_means


def per_class(statistics: ClassStatistics) -> list[dict[str, float | int | None]]:
    """One row for each class with samples, by descending `cdnv`; see ``Collapse.per_class``."""
    centered = statistics.centered("sample")
    variances = statistics.within_trace[centered.classes]
    size = len(variances)
    nearest, worst = np.zeros(size, dtype=np.int64), np.zeros(size)
    distances = np.zeros(size)
    for start, stop in bounds(size):
        squares = _all_distances(centered.deviations, start, stop)
        squares[squares <= centered.rounding**2] = 0.0
        squares[np.arange(stop - start), np.arange(start, stop)] = np.inf
        nearest[start:stop] = squares.argmin(axis=1)
        distances[start:stop] = np.sqrt(squares.min(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (variances[start:stop, None] + variances[None, :]) / (2.0 * squares)
        worst[start:stop] = np.nan_to_num(ratios, nan=np.inf, posinf=np.inf).max(axis=1)
    alone = size < 2
    norms = np.where(centered.norms > centered.rounding, centered.norms, 0.0)
    rows: list[dict[str, float | int | None]] = [
        {
            "label": int(k),
            "count": int(statistics.counts[k]),
            "spread": float(np.sqrt(variances[i])),
            "norm": float(norms[i]),
            "nearest": None if alone else int(centered.classes[nearest[i]]),
            "distance": None if alone else float(distances[i]),
            "cdnv": None if alone else float(worst[i]),
        }
        for i, k in enumerate(centered.classes)
    ]
    return [rows[i] for i in np.argsort(-worst, kind="stable")]


def nearest_pairs(statistics: ClassStatistics, count: int = 10) -> list[tuple[int, int, float]]:
    """Labels k < l and the distance of their means, for the closest pairs, closest first."""
    wanted = checks.integer(count, "count", minimum=1)
    try:
        centered = centered_means(statistics, "sample")
    except Undefined:
        return []
    found: list[tuple[float, int, int]] = []
    for start, stop, squares in distance_tiles(centered.deviations):
        squares[:, : stop - start][np.tril_indices(stop - start)] = np.inf
        squares[squares <= centered.rounding**2] = 0.0
        flat = squares.ravel()
        few = np.argpartition(flat, min(wanted, len(flat) - 1))[:wanted]
        rows, columns = np.unravel_index(few, squares.shape)
        found += [
            (float(flat[f]), int(start + row), int(start + column))
            for f, row, column in zip(few, rows, columns, strict=True)
            if np.isfinite(flat[f])
        ]
        found = heapq.nsmallest(wanted, found)
    return [(int(centered.classes[i]), int(centered.classes[j]), float(np.sqrt(d))) for d, i, j in found]


def centered_cosines(statistics: ClassStatistics, classes: IntArray) -> FloatArray:
    """Cosines (n, n) between means of some classes about the global mean; NaN where one has no direction."""
    centered = statistics.centered("sample")
    places = np.searchsorted(centered.classes, classes)
    rows, norms = centered.deviations[places], centered.norms[places]
    with np.errstate(divide="ignore", invalid="ignore"):
        units = rows / np.where(norms > centered.rounding, norms, np.nan)[:, None]
    return np.asarray(np.clip(units @ units.T, -1.0, 1.0))


def _all_distances(points: FloatArray, start: int, stop: int) -> FloatArray:
    """Squared distances of some points to all points, (stop - start, P)."""
    right = squared_distances(points, start, stop)
    if start == 0:
        return right
    # The rows from the end, so that the earlier points come after them.
    order = np.concatenate([np.arange(start, stop), np.arange(start)])
    left = squared_distances(points[order], 0, stop - start)[:, stop - start :]
    return np.concatenate([left, right], axis=1)
