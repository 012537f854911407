"""Pairs of classes, tile by tile: no K × K array beyond a tile of about a million entries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from encollapse._internal.typing import FloatArray

TILE_ENTRIES = 2**20
"""Entries of a tile: 8 MiB of float64."""

CLOSE = 1e-3
"""Share of ``|a|² + |b|²`` below which ``|a - b|²`` is computed from the difference: it has lost three digits."""


def blocks(size: int, width: int, entries: int | None = None) -> Iterator[slice]:
    """Blocks of rows of a (size, width) array, each of about so many entries. Default: those of a tile."""
    step = max(1, (TILE_ENTRIES if entries is None else entries) // width)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def pair_tiles(size: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles that cover every pair of (size, size) once.

    A tile whose rows are its columns is symmetric and has both orders of its pairs. All others lie above the diagonal.
    """
    side = max(1, math.isqrt(TILE_ENTRIES))
    return cut(slice(0, size), slice(0, size), side, side)


def cut(rows: slice, columns: slice, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of a block that cover every pair of it once: of a block on the diagonal its upper half."""
    on_diagonal = rows.start == columns.start
    for start in range(rows.start, rows.stop, height):
        part = slice(start, min(start + height, rows.stop))
        if on_diagonal:
            yield part, part
        left = part.stop if on_diagonal else columns.start
        for first in range(left, columns.stop, width):
            yield part, slice(first, min(first + width, columns.stop))


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """``|a_k - b_l|²`` of rows, (n, m), each to full precision. The points should be near the origin: center them."""
    sizes = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("nd,nd->n", b, b)
    squares = np.asarray(sizes - 2.0 * (a @ b.T))
    recompute(squares, squares < CLOSE * sizes, a, b)
    return squares


def recompute(squares: FloatArray, which: np.ndarray[Any, np.dtype[np.bool_]], a: FloatArray, b: FloatArray) -> None:
    """Compute squared distances of nearby points again from the differences: ``|a|² + |b|² - 2<a, b>`` loses digits."""
    rows, columns = np.nonzero(which)
    for part in blocks(len(rows), a.shape[1]):
        difference = a[rows[part]] - b[columns[part]]
        squares[rows[part], columns[part]] = np.einsum("pd,pd->p", difference, difference)


class PairSpread:
    """Mean and sum of squared deviations of many numbers, kept as sums about one of them."""

    def __init__(self) -> None:
        self._center = float("nan")
        self._count = self._first = self._second = 0.0

    def add(self, values: FloatArray, *, diagonal: int | None = None, weight: float = 1.0) -> None:
        """Take in a tile, which is overwritten, each entry `weight` times.

        Where the diagonal of the whole matrix crosses the tile, `diagonal` is the column in which it enters at the
        first row. Its entries are left out.
        """
        if self._count == 0:
            self._center = float(values[0, -1])
        values -= self._center
        count = values.size
        if diagonal is not None:
            rows = np.arange(len(values))
            values[rows, diagonal + rows] = 0.0
            count -= len(values)
        self._count += weight * count
        self._first += weight * float(values.sum())
        self._second += weight * float(np.vdot(values, values))

    @property
    def mean(self) -> float:
        """Mean of the numbers."""
        return self._center + self._first / self._count

    @property
    def squares(self) -> float:
        """Sum of squared deviations from the mean."""
        return max(self._second - self._first**2 / self._count, 0.0)

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return float(np.sqrt(self.squares / self._count))


def two_valued_distance(diagonal: FloatArray, others: PairSpread, *, pairs: int, off_diagonal: float) -> float:
    """``|A/|A| - T/|T||_F`` for the T with ones on the diagonal and `off_diagonal` elsewhere.

    A is given by its diagonal (P,) and by mean and spread of its other entries, each of which stands for
    `pairs` of them (2 for a symmetric A of which one half was swept).

    Notes
    -----
    With ``t = T/|T|``, ``α = <A, t>`` and ``R = A - α t``, the distance squared is ``|R|²/|A|² + (1 - α/|A|)²``
    and ``1 - α/|A| = |R|²/(|A|(|A| + α))``: no difference of nearly equal numbers is left.
    """
    size = len(diagonal)
    count = size * (size - 1)
    norm = float(np.sqrt(size + count * off_diagonal**2))
    on, off = 1.0 / norm, off_diagonal / norm
    mean, squares = others.mean, pairs * others.squares
    along = on * float(diagonal.sum()) + off * count * mean
    length = float(np.sqrt(np.square(diagonal).sum() + squares + count * mean**2))
    rest = float(np.square(diagonal - along * on).sum()) + squares + count * (mean - along * off) ** 2
    gap = rest / (length * (length + along)) if along > 0 else 1.0 - along / length
    return float(np.sqrt(rest / length**2 + gap**2))


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
    for rows, columns in pair_tiles(size):
        values = scaled[rows] @ scaled[columns].T
        values /= length
        values -= off_diagonal / norm
        if rows == columns:
            values[np.diag_indices_from(values)] += (off_diagonal - target[rows]) / norm
        total += (1.0 if rows == columns else 2.0) * float(np.vdot(values, values))
    return float(np.sqrt(total))
