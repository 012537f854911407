"""Sums over all pairs of class means, gathered in one sweep of tiles that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics.linear_algebra import NUMPY, LinearAlgebra, row_lengths

_ROWS, _COLUMNS = 128, 1024
"""Of a tile that stays in the cache."""
_PANEL_ROWS, _PANEL_COLUMNS = 512, 4096
"""Of one product of matrices, whose threads are worth their while."""
_CLOSE = 1e-3
_DIRECT_ENTRIES = 2**20


class PairSpread:
    """Mean and sum of squared deviations of many numbers, kept as sums about one of them."""

    def __init__(self) -> None:
        self._center = float("nan")
        self._count = self._first = self._second = 0.0

    def add(self, values: FloatArray, *, diagonal: int | None = None, weight: float = 1.0) -> None:
        """Take in a tile, which is overwritten, each entry `weight` times.

        Where the diagonal of the whole matrix crosses the tile, `diagonal` is the column in which it enters at the
        first row; its entries are left out.
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


@dataclass(frozen=True, eq=False)
class PairSums:
    """What the metrics over pairs ``k < l`` of P class means are made of.

    Lengths are in units of `peak`, the longest centered mean, unless said otherwise.

    Parameters
    ----------
    peak : float
        Length of the longest centered mean, in units of the features.
    norms : (P,)
        Lengths of the centered means.
    centered, uncentered : PairSpread
        Inner products of centered means, and of the means themselves in units of `uncentered_peak`.
    uncentered_norms : (P,)
        Lengths of the means in units of the longest.
    cosines, logs : PairSpread
        Cosines of centered means, and ``log(1/|û_k - û_l|)`` of their directions û.
    closest : tuple of float and two ints
        Least distance of two means, and which two.
    closest_directions : float
        Least distance of two directions.
    inverse_squares : (P,)
        ``Σ_l≠k 1/|m_k - m_l|²``.
    from_widest : float
        Mean of ``|cos + 1/(P - 1)|``.
    """

    peak: float
    norms: FloatArray
    uncentered_norms: FloatArray
    inverse_squares: FloatArray
    centered: PairSpread = field(default_factory=PairSpread)
    uncentered: PairSpread = field(default_factory=PairSpread)
    cosines: PairSpread = field(default_factory=PairSpread)
    logs: PairSpread = field(default_factory=PairSpread)
    closest: tuple[float, int, int] = (float("inf"), 0, 0)
    closest_directions: float = float("inf")
    from_widest: float = 0.0


def pair_sums(deviations: FloatArray, global_mean: FloatArray, algebra: LinearAlgebra = NUMPY) -> PairSums:
    """Sweep the pairs of class means ``m_k = μ + deviation_k``; deviations (P, d), P at least 2."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Sweep(deviations, global_mean, algebra).sums()


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


class _Part(TypedDict, total=False):
    diagonal: int
    weight: float


class _Sweep:
    def __init__(self, deviations: FloatArray, global_mean: FloatArray, algebra: LinearAlgebra) -> None:
        self._algebra = algebra
        lengths = row_lengths(deviations)
        self._peak = float(lengths.max())
        if not 1e-140 < self._peak < 1e140:  # squares left the range: take lengths of scaled rows
            largest = float(np.abs(deviations).max())
            lengths = np.linalg.norm(deviations / (largest or 1.0), axis=1)
            self._peak = float(lengths.max()) * largest
        self._points = deviations / self._peak if self._peak > 0 else deviations
        self._squares = np.einsum("pd,pd->p", self._points, self._points)
        self._norms = np.sqrt(self._squares)
        self._inverse = 1.0 / self._norms
        # Inner products of the means follow from those of the deviations: no second product of matrices.
        scale = float(np.abs(global_mean).max()) + self._peak
        ratio, mean = self._peak / scale, global_mean / scale
        self._ratio = ratio**2
        self._tilt = ratio * (self._points @ mean) + 0.5 * float(mean @ mean)
        own = np.sqrt((self._ratio * self._squares + 2.0 * self._tilt).clip(min=0.0))
        longest = float(own.max())
        self._ratio /= longest**2
        self._tilt /= longest**2
        size = len(deviations)
        self._widest = -1.0 / (size - 1)
        self._found = PairSums(self._peak, self._norms, own / longest, np.zeros(size))
        self._closest = self._found.closest
        self._directions, self._far = float("inf"), 0.0
        self._room = np.empty(_ROWS * _COLUMNS)

    def sums(self) -> PairSums:
        size, found = len(self._norms), self._found
        for rows, columns in _cut(slice(0, size), slice(0, size), _PANEL_ROWS, _PANEL_COLUMNS):
            panel = self._algebra.product(self._points[rows], self._points[columns].T)
            for part, across in _cut(rows, columns, _ROWS, _COLUMNS):
                gram = panel[_within(part, rows), _within(across, columns)]
                self._add(gram, part, across, diagonal=part.start == across.start)
        return PairSums(
            found.peak,
            found.norms,
            found.uncentered_norms,
            found.inverse_squares,
            found.centered,
            found.uncentered,
            found.cosines,
            found.logs,
            self._closest,
            float(np.sqrt(max(self._directions, 0.0))),
            self._far / (size * (size - 1) / 2),
        )

    def _add(self, gram: FloatArray, rows: slice, columns: slice, *, diagonal: bool) -> None:
        found = self._found
        work = self._room[: gram.size].reshape(gram.shape)
        # Of a symmetric tile one half counts.
        own: _Part = {"diagonal": 0, "weight": 0.5} if diagonal else {}
        np.copyto(work, gram)
        found.centered.add(work, **own)
        np.multiply(gram, self._ratio, out=work)
        work += self._tilt[rows, None]
        work += self._tilt[None, columns]
        found.uncentered.add(work, **own)
        self._distances(gram, work, rows, columns, diagonal=diagonal)
        cosines = np.multiply(gram, self._inverse[rows, None], out=gram)
        cosines *= self._inverse[None, columns]
        self._kernel(cosines, work, rows, columns, diagonal=diagonal)
        np.clip(cosines, -1.0, 1.0, out=cosines)
        np.subtract(cosines, self._widest, out=work)
        np.abs(work, out=work)
        far = float(work.sum())
        self._far += 0.5 * (far - float(work.trace())) if diagonal else far
        found.cosines.add(cosines, **own)

    def _distances(self, gram: FloatArray, work: FloatArray, rows: slice, columns: slice, *, diagonal: bool) -> None:
        squares, found = self._squares, self._found
        np.multiply(gram, -2.0, out=work)
        work += squares[rows, None]
        work += squares[None, columns]
        if diagonal:
            np.fill_diagonal(work, np.inf)
        if work.min() < _CLOSE * (squares[rows].max() + squares[columns].max()):
            limit = _CLOSE * (squares[rows, None] + squares[None, columns])
            _directly(work, work < limit, self._points[rows], self._points[columns])
        place = int(work.argmin())
        least = float(work.flat[place])
        if least < self._closest[0] ** 2:
            k, l = divmod(place, work.shape[1])  # noqa: E741
            first, second = sorted((rows.start + k, columns.start + l))
            self._closest = (float(np.sqrt(max(least, 0.0))), first, second)
        np.divide(1.0, work, out=work)
        found.inverse_squares[rows] += work.sum(axis=1)
        if not diagonal:
            found.inverse_squares[columns] += work.sum(axis=0)

    def _kernel(self, cosines: FloatArray, work: FloatArray, rows: slice, columns: slice, *, diagonal: bool) -> None:
        np.multiply(cosines, -2.0, out=work)
        work += 2.0
        if diagonal:
            np.fill_diagonal(work, 2.0)
        least = float(work.min())
        if least < 2 * _CLOSE:
            left, right = (self._points[side] * self._inverse[side, None] for side in (rows, columns))
            _directly(work, work < 2 * _CLOSE, left, right)
            least = float(work.min())
        self._directions = min(self._directions, least)
        own: _Part = {"diagonal": 0, "weight": 0.5} if diagonal else {}
        np.log(work, out=work)
        work *= -0.5
        self._found.logs.add(work, **own)


def _cut(rows: slice, columns: slice, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of a block that cover every pair of it once: of a block on the diagonal its upper half."""
    on_diagonal = rows.start == columns.start
    for start in range(rows.start, rows.stop, height):
        part = slice(start, min(start + height, rows.stop))
        if on_diagonal:
            yield part, part
        left = part.stop if on_diagonal else columns.start
        for first in range(left, columns.stop, width):
            yield part, slice(first, min(first + width, columns.stop))


def _within(part: slice, whole: slice) -> slice:
    """Return the part counted from where the whole starts."""
    return slice(part.start - whole.start, part.stop - whole.start)


def _directly(squares: FloatArray, which: np.ndarray[Any, np.dtype[np.bool_]], a: FloatArray, b: FloatArray) -> None:
    """Compute squared distances of nearby points again from the differences, for ``|a|² + |b|² - 2<a, b>``
    has lost their digits.
    """
    rows, columns = np.nonzero(which)
    step = max(1, _DIRECT_ENTRIES // a.shape[1])
    for i in range(0, len(rows), step):
        k, l = rows[i : i + step], columns[i : i + step]  # noqa: E741
        difference = a[k] - b[l]
        squares[k, l] = np.einsum("pd,pd->p", difference, difference)
