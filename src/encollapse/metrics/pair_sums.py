"""Sums over all pairs of class means, gathered in one sweep of tiles that stay in the cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics.linear_algebra import NUMPY, LinearAlgebra, row_lengths
from encollapse.metrics.pairs import CLOSE, PairSpread, cut, recompute

_ROWS, _COLUMNS = 128, 1024
"""Of a tile that stays in the cache."""
_PANEL_ROWS, _PANEL_COLUMNS = 512, 4096
"""Of one product of matrices, whose threads are worth their while."""


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
    """Sweep the pairs of class means ``m_k = μ + deviation_k``, with deviations (P, d), P at least 2."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Sweep(deviations, global_mean, algebra).sums()


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
        for rows, columns in cut(slice(0, size), slice(0, size), _PANEL_ROWS, _PANEL_COLUMNS):
            panel = self._algebra.product(self._points[rows], self._points[columns].T)
            for part, across in cut(rows, columns, _ROWS, _COLUMNS):
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
        if work.min() < CLOSE * (squares[rows].max() + squares[columns].max()):
            limit = CLOSE * (squares[rows, None] + squares[None, columns])
            recompute(work, work < limit, self._points[rows], self._points[columns])
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
        if least < 2 * CLOSE:
            left, right = (self._points[side] * self._inverse[side, None] for side in (rows, columns))
            recompute(work, work < 2 * CLOSE, left, right)
            least = float(work.min())
        self._directions = min(self._directions, least)
        own: _Part = {"diagonal": 0, "weight": 0.5} if diagonal else {}
        np.log(work, out=work)
        work *= -0.5
        self._found.logs.add(work, **own)


def _within(part: slice, whole: slice) -> slice:
    """Return the part counted from where the whole starts."""
    return slice(part.start - whole.start, part.stop - whole.start)
