"""Sums over pairs of classes, tile by tile: no K × K array beyond a tile of about a million entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics.separation import squared_distances

TILE_ENTRIES = 2**20

Tile = tuple[int, int, FloatArray]
"""First row, one past the last row, and the entries of these rows for the columns from the first row on."""


def gram_tiles(points: FloatArray) -> Iterator[Tile]:
    """Tiles of the upper part of ``X Xᵀ`` for points (P, d) as rows."""
    for start, stop in bounds(len(points)):
        yield start, stop, points[start:stop] @ points[start:].T


def distance_tiles(points: FloatArray) -> Iterator[Tile]:
    """Tiles of ``|p_k - p_l|²``, each to full precision; the points should be near the origin."""
    for start, stop in bounds(len(points)):
        yield start, stop, squared_distances(points, start, stop)


def bounds(size: int) -> Iterator[tuple[int, int]]:
    """First and one past the last row of each tile of a (size, size) array."""
    rows = max(1, TILE_ENTRIES // size)
    for start in range(0, size, rows):
        yield start, min(start + rows, size)


def pair_entries(tile: Tile) -> FloatArray:
    """Entries of a tile of pairs ``k < l``, as one vector."""
    start, stop, values = tile
    rows = stop - start
    inside = values[:, :rows][np.triu_indices(rows, 1)]
    return np.concatenate([inside, values[:, rows:].ravel()])


def mean_and_deviation(
    tiles: Callable[[], Iterator[Tile]], change: Callable[[FloatArray], FloatArray]
) -> tuple[float, float]:
    """Mean and standard deviation over pairs of a changed entry; chunks are merged, never squared raw."""
    count, mean, square = 0, 0.0, 0.0
    for tile in tiles():
        values = change(pair_entries(tile))
        if not len(values):
            continue
        own = float(values.mean())
        total = count + len(values)
        square += float(np.square(values - own).sum()) + (own - mean) ** 2 * count * len(values) / total
        mean += (own - mean) * len(values) / total
        count = total
    return mean, float(np.sqrt(square / count))


def shape_distance(points: FloatArray, diagonal: FloatArray | float, off_diagonal: float) -> float:
    """``|G/|G| - T/|T||_F`` of ``G = X Xᵀ`` and the T with these entries.

    Summed entry by entry, as ``2 - 2<G, T>/(|G||T|)`` has no digits left where the two agree.
    """
    # Shapes have no scale, and squares of tiny or huge lengths would leave the range of float64.
    scaled = points / np.abs(points).max()
    size = len(scaled)
    small = scaled @ scaled.T if size <= scaled.shape[1] else scaled.T @ scaled
    length = float(np.linalg.norm(small))
    target = np.broadcast_to(np.asarray(diagonal, dtype=np.float64), (size,))
    norm = float(np.sqrt(np.square(target).sum() + size * (size - 1) * off_diagonal**2))
    total = 0.0
    for start, stop, values in gram_tiles(scaled):
        values /= length
        values -= off_diagonal / norm
        rows = np.arange(stop - start)
        values[rows, rows] += (off_diagonal - target[start:stop]) / norm
        squares = np.square(values, out=values)
        total += float(squares[:, : stop - start].sum() + 2.0 * squares[:, stop - start :].sum())
    return float(np.sqrt(total))
