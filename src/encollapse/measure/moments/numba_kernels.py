"""Loops over rows that no chain of array operations does in one go, compiled by numba.

Importing this module imports numba. :mod:`encollapse.measure.moments.residuals` decides when that is worth its while.
Sums may be taken in any order, so that they fill the vector registers. Nothing is assumed about NaN or infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from encollapse._internal.typing import FloatArray, IntArray

Rows = np.ndarray[tuple[int, ...], np.dtype[Any]]
"""float32 or float64."""

_SUMMED_ALONE = 512
"""Rows whose residuals are added up in their own precision before they join a float64 total."""

_SHORT_ROW = 1024
"""Entries of rows too short for the processor to find out that they are read one after the other."""

_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def group(place: IntArray, bounds: IntArray, order: IntArray) -> None:
    """Sort rows by class, stably: class k has the rows ``order[bounds[k]:bounds[k + 1]]``.

    `place` (n,) goes from 0 to P - 1. The zeros of `bounds` (P + 1,), and `order` (n,), are filled.
    """
    for row in range(len(place)):
        bounds[place[row] + 1] += 1
    for k in range(len(bounds) - 1):
        bounds[k + 1] += bounds[k]
    free = bounds[:-1].copy()
    for row in range(len(place)):
        k = place[row]
        order[free[k]] = row
        free[k] += 1


@njit(nogil=True, cache=True, fastmath=_FAST)
def _exact_square(row: Rows, anchor: Rows) -> float:
    total = 0.0
    for j in range(len(row)):
        difference = np.float64(row[j]) - np.float64(anchor[j])
        total += difference * difference
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_residuals(
    rows: Rows,
    order: IntArray,
    bounds: IntArray,
    start: int,
    stop: int,
    spare: int,
    anchors: Rows,
    tiny: float,
    kept: Rows,
    sums: FloatArray,
    squares: FloatArray,
    largest: FloatArray,
) -> None:
    """Add up the residuals of the rows ``order[start:stop]``, class by class, four rows at a time.

    rows (n, d) and anchors (P, d) are of one dtype. The residuals go into `kept` (n, d), unless it has no rows.
    sums (P + shares, d), squares and largest (P + shares,) are float64. A class of which an earlier share
    has the first rows goes to the line `spare` instead of its own. Squares below `tiny` are taken again in float64.
    """
    dim, keep = rows.shape[1], len(kept) > 0
    total = np.empty(dim, rows.dtype)
    k = np.searchsorted(bounds, start, side="right") - 1
    p = start
    while p < stop:
        while bounds[k + 1] <= p:
            k += 1
        line = k if p == bounds[k] else spare
        end = min(bounds[k + 1], stop)
        anchor, sum_of_all = anchors[k], sums[line]
        square = top = 0.0
        while p < end:
            last = min(p + _SUMMED_ALONE, end)
            total[:] = 0
            while p + 4 <= last:
                i0, i1, i2, i3 = order[p], order[p + 1], order[p + 2], order[p + 3]
                x0, x1, x2, x3 = rows[i0], rows[i1], rows[i2], rows[i3]
                q0 = q1 = q2 = q3 = rows.dtype.type(0)
                if keep:
                    y0, y1, y2, y3 = kept[i0], kept[i1], kept[i2], kept[i3]
                    for j in range(dim):
                        a = anchor[j]
                        r0, r1, r2, r3 = x0[j] - a, x1[j] - a, x2[j] - a, x3[j] - a
                        y0[j], y1[j], y2[j], y3[j] = r0, r1, r2, r3
                        total[j] += (r0 + r1) + (r2 + r3)
                        q0 += r0 * r0
                        q1 += r1 * r1
                        q2 += r2 * r2
                        q3 += r3 * r3
                else:
                    for j in range(dim):
                        a = anchor[j]
                        r0, r1, r2, r3 = x0[j] - a, x1[j] - a, x2[j] - a, x3[j] - a
                        total[j] += (r0 + r1) + (r2 + r3)
                        q0 += r0 * r0
                        q1 += r1 * r1
                        q2 += r2 * r2
                        q3 += r3 * r3
                if q0 < tiny or q1 < tiny or q2 < tiny or q3 < tiny:
                    for i in (i0, i1, i2, i3):
                        exact = _exact_square(rows[i], anchor)
                        square += exact
                        top = max(top, exact)
                else:
                    square += np.float64(q0) + np.float64(q1) + np.float64(q2) + np.float64(q3)
                    top = max(top, np.float64(max(max(q0, q1), max(q2, q3))))
                p += 4
            while p < last:
                i = order[p]
                x = rows[i]
                q = rows.dtype.type(0)
                for j in range(dim):
                    r = x[j] - anchor[j]
                    if keep:
                        kept[i, j] = r
                    total[j] += r
                    q += r * r
                exact = np.float64(q) if q >= tiny else _exact_square(x, anchor)
                square += exact
                top = max(top, exact)
                p += 1
            for j in range(dim):
                sum_of_all[j] += total[j]
        squares[line] += square
        if not np.isfinite(square):  # a maximum may lose a NaN, a sum does not
            largest[line] = square
        elif top > largest[line]:
            largest[line] = top


@njit(nogil=True, cache=True)
def _touch(rows: Rows) -> float:
    """Read something of each cache line in the order of the memory, so that the processor reads ahead."""
    total = 0.0
    for i in range(len(rows)):
        for j in range(0, rows.shape[1], 64 // rows.itemsize):
            total += rows[i, j]
    return total


@njit(nogil=True, cache=True)
def add_residuals_in_chunks(
    rows: Rows,
    place: IntArray,
    start: int,
    stop: int,
    chunk: int,
    anchors: Rows,
    tiny: float,
    kept: Rows,
    sums: FloatArray,
    squares: FloatArray,
    largest: FloatArray,
) -> float:
    """Do the same for the rows from `start` to `stop` of classes `place` (n,), sorted some `chunk` of rows at a time.

    For classes so few that a chunk has several rows of each: the rows then come nearly as they lie in memory. All
    sums are (P, d) and (P,).
    """
    none, seen = rows[:0], 0.0
    for first in range(start, stop, chunk):
        last = min(first + chunk, stop)
        bounds = np.zeros(len(anchors) + 1, np.int64)
        order = np.empty(last - first, np.int64)
        group(place[first:last], bounds, order)
        if rows.shape[1] <= _SHORT_ROW:
            seen += _touch(rows[first:last])
        own = kept[first:last] if len(kept) > 0 else none
        add_residuals(rows[first:last], order, bounds, 0, last - first, -1, anchors, tiny, own, sums, squares, largest)
    return seen  # of no use, but without it nothing need be touched


@njit(nogil=True, cache=True, fastmath=_FAST)
def _acceptable(rows: Rows, place: IntArray, size: int) -> bool:
    """Whether every entry is finite and every class from 0 to ``size - 1``. It brings the rows to the cache."""
    for k in place:
        if k < 0 or k >= size:
            return False
    zero = total = rows.dtype.type(0)
    for i in range(len(rows)):
        for j in range(rows.shape[1]):
            total += zero * rows[i, j]  # NaN for infinity, too
    return bool(total == zero)


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_rows(
    rows: Rows, place: IntArray, counts: IntArray, anchors: FloatArray, sums: FloatArray, squares: FloatArray
) -> bool:
    """Add rows (n, d) of classes `place` (n,) to moments one by one. False, and nothing done, if something is wrong.

    counts, squares (P,) and anchors, sums (P, d) are those of a
    :class:`~encollapse.measure.moments.state.MomentState`; the first row of a class becomes its anchor.
    """
    if not _acceptable(rows, place, len(counts)):
        return False
    for i in range(len(rows)):
        k = place[i]
        row, anchor, total, square = rows[i], anchors[k], sums[k], 0.0
        if counts[k] == 0:
            anchor[:] = row
        for j in range(len(row)):
            residual = np.float64(row[j]) - anchor[j]
            total[j] += residual
            square += residual * residual
        squares[k] += square
        counts[k] += 1
    return True


@njit(nogil=True, cache=True, fastmath=_FAST)
def copy_rows(rows: Rows, place: IntArray, size: int, kept: Rows, kept_place: IntArray) -> bool:
    """Copy rows (n, d) and their classes (n,) to where they wait. False, and nothing of worth done, if one is wrong."""
    for i in range(len(place)):
        if place[i] < 0 or place[i] >= size:
            return False
        kept_place[i] = place[i]
    zero = total = rows.dtype.type(0)
    for i in range(len(rows)):
        row, copy = rows[i], kept[i]
        for j in range(len(row)):
            copy[j] = row[j]
            total += zero * row[j]  # as in _acceptable, in the same read of the memory
    return bool(total == zero)
