"""Residuals of a block of rows about the anchors of their classes, and their sums by class.

One read of the features is all that this asks of the memory. On the processor, and where numba is installed, a
compiled loop comes near that for large blocks (:mod:`encollapse.measure.moments.numba_kernels`). Elsewhere
operations of torch on tiles that stay in the cache do the same in several goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch.nn import functional

from encollapse.measure.moments.state import fresh_zeros
from encollapse.measure.moments.threads import even_shares, side_by_side

SMALL, LARGE = 1e-15, 1e15
"""Lengths between which the squares of float32 residuals neither vanish nor overflow."""

COMPILED_FROM = 2**21
"""Entries of a block that repay looking for the compiled loop: a rule by the block alone, so that results repeat."""

_FEW_ANCHORS = 2**16
"""Entries of the anchors of which each thread can have sums of its own."""

_CHUNK_ROWS, _CHUNK_ROWS_A_CLASS = 512, 16
"""Rows sorted at a time at least, and for each class: four of a class are taken at once, and all stay in the cache."""

_ROWS_A_CLASS = 4  # below it sums class by class cost more than one scatter
_TILE_ENTRIES = 2**17  # 512 kB in float32, which a core's cache holds
_SHARE_ENTRIES = 2**19  # least work of a thread, 2 MB in float32


@dataclass(frozen=True, eq=False)
class ResidualSums:
    """What the residuals of a block amount to.

    Parameters
    ----------
    sums : (P, d)
        Sums of the residuals of each class.
    squares : (P,) float64
        Sums of their squared lengths.
    largest : tensor of one number
        Length of the longest, not finite where an entry, or a square, is not.
    """

    sums: torch.Tensor
    squares: torch.Tensor
    largest: torch.Tensor


class RowsByClass(Protocol):
    """The rows of a block, and which of P classes each is of."""

    @property
    def counts(self) -> torch.Tensor:
        """Rows of each class (P,) int64."""
        ...

    @property
    def first_rows(self) -> torch.Tensor:
        """First row of each class (P,), past the end for a class without rows."""
        ...

    def residual_sums(self, rows: torch.Tensor, anchors: torch.Tensor, kept: torch.Tensor | None) -> ResidualSums:
        """Residuals of rows (n, d) about anchors (P, d) of their dtype, put into kept (n, d)."""
        ...


def rows_by_class(rows: torch.Tensor, place: torch.Tensor, size: int, threads: int) -> RowsByClass:
    """Rows (n, d) of classes `place` (n,), numbered from 0 to ``size - 1``, by the quickest means at hand."""
    kernels = compiled(rows.numel(), rows.device) if rows.is_contiguous() else None
    return _ByTensors(place, size, threads) if kernels is None else _Compiled(kernels, place, size, threads)


def compiled(entries: int, device: torch.device) -> Any | None:
    """Return the compiled loops for so many entries, one row after the other; None where there are none for them."""
    return _kernels() if device.type == "cpu" and entries >= COMPILED_FROM else None


@cache
def _kernels() -> Any | None:
    """Return the compiled loops, None where numba is not installed, is told not to compile or cannot."""
    if find_spec("numba") is None:
        return None
    try:
        import numba

        from encollapse.measure.moments import numba_kernels
    except (ImportError, RuntimeError):  # numba for another numpy, or no place to keep compiled code
        return None
    return None if numba.config.DISABLE_JIT else numba_kernels


class _Compiled:
    """By the compiled loops, which take the rows class by class: of a chunk for few classes, of the block for many."""

    def __init__(self, kernels: Any, place: torch.Tensor, size: int, threads: int) -> None:
        self._kernels, self._place, self._threads = kernels, place.contiguous(), threads
        self._bounds = torch.zeros(size + 1, dtype=torch.int64)
        self._order = torch.empty(len(place), dtype=torch.int64)
        kernels.group(self._place.numpy(), self._bounds.numpy(), self._order.numpy())

    @property
    def counts(self) -> torch.Tensor:
        return self._bounds.diff()

    @property
    def first_rows(self) -> torch.Tensor:
        starts = self._bounds[:-1]
        used = starts < self._bounds[1:]
        firsts = torch.full_like(starts, len(self._place))
        firsts[used] = self._order[starts[used]]
        return firsts

    def residual_sums(self, rows: torch.Tensor, anchors: torch.Tensor, kept: torch.Tensor | None) -> ResidualSums:
        number = max(1, min(self._threads, rows.numel() // _SHARE_ENTRIES))
        shares = even_shares(len(rows), number)
        tiny = rows.new_tensor(SMALL**2 if rows.dtype == torch.float32 else 0.0).numpy()[()]
        residuals = rows.new_empty(0, rows.shape[1]) if kept is None else kept
        values = (anchors.numpy(), tiny, residuals.numpy())
        if anchors.numel() <= _FEW_ANCHORS:
            return self._in_chunks(rows, values, shares)
        return self._at_once(rows, values, shares)

    def _in_chunks(self, rows: torch.Tensor, values: tuple[Any, ...], shares: list[tuple[int, int]]) -> ResidualSums:
        size = len(self._bounds) - 1
        chunk = max(_CHUNK_ROWS, _CHUNK_ROWS_A_CLASS * size)
        place, numbers = self._place.numpy(), rows.numpy()

        def add(start: int, stop: int) -> tuple[torch.Tensor, ...]:
            found = _zeros(size, rows.shape[1])
            taken = [part.numpy() for part in found]
            self._kernels.add_residuals_in_chunks(numbers, place, start, stop, chunk, *values, *taken)
            return found

        sums, squares, largest = (torch.stack(parts) for parts in zip(*side_by_side(add, shares), strict=True))
        return ResidualSums(sums.sum(dim=0), squares.sum(dim=0), largest.max().sqrt())

    def _at_once(self, rows: torch.Tensor, values: tuple[Any, ...], shares: list[tuple[int, int]]) -> ResidualSums:
        # A line more for each share, for a class that it has in common with the one before.
        size = len(self._bounds) - 1
        sums, squares, largest = _zeros(size + len(shares), rows.shape[1])
        taken = (sums.numpy(), squares.numpy(), largest.numpy())
        given = (rows.numpy(), self._order.numpy(), self._bounds.numpy())

        def add(start: int, stop: int) -> None:
            spare = size + shares.index((start, stop))
            self._kernels.add_residuals(*given, start, stop, spare, *values, *taken)

        side_by_side(add, shares)
        for spare, (start, _) in enumerate(shares, size):
            owner = int(torch.searchsorted(self._bounds, start, right=True)) - 1
            sums[owner] += sums[spare]
            squares[owner] += squares[spare]
        return ResidualSums(sums[:size], squares[:size], largest.max().sqrt())


def _zeros(size: int, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums (P, d), squares (P,) and largest (P,) of no residuals."""
    return fresh_zeros(size, dim), fresh_zeros(size), fresh_zeros(size)


class _ByTensors:
    """By operations of torch, on any device."""

    def __init__(self, place: torch.Tensor, size: int, threads: int) -> None:
        self._place, self.counts, self._threads = place, torch.bincount(place, minlength=size), threads

    @property
    def first_rows(self) -> torch.Tensor:
        count = len(self._place)
        rows = torch.arange(count, device=self._place.device)
        return torch.full_like(self.counts, count).scatter_reduce_(0, self._place, rows, "amin")

    def residual_sums(self, rows: torch.Tensor, anchors: torch.Tensor, kept: torch.Tensor | None) -> ResidualSums:
        count, norms = len(rows), rows.new_empty(len(rows))
        step = max(1, _TILE_ENTRIES // rows.shape[1]) if rows.device.type == "cpu" else count

        def take(start: int, stop: int) -> torch.Tensor:
            """Lengths, and sums by class, of the residuals of some rows."""
            sums = rows.new_zeros(anchors.shape)
            room = rows.new_empty(min(step, stop - start) if kept is None else 0, rows.shape[1])
            for first in range(start, stop, step):
                last = min(first + step, stop)
                part = room[: last - first] if kept is None else kept[first:last]
                place = self._place[first:last]
                torch.index_select(anchors, 0, place, out=part)
                torch.sub(rows[first:last], part, out=part)
                torch.linalg.vector_norm(part, dim=1, out=norms[first:last])
                _add_by_class(sums, place, part)
            return sums

        sums, *others = side_by_side(take, even_shares(count, self._shares(rows)))
        for other in others:
            sums += other
        largest = norms.max()
        if largest == 0:  # or all squares are below the range of the dtype
            largest = (rows - anchors[self._place]).abs().max()
        squares = norms.double().square_()
        if rows.dtype == torch.float32 and bool(largest > 0):
            small = (norms < SMALL).nonzero().flatten()
            if len(small):  # their squares are below the range of float32
                exact = rows[small] - anchors[self._place[small]]
                squares[small] = exact.double().square().sum(dim=1)
        by_class = torch.zeros_like(self.counts, dtype=torch.float64).index_add_(0, self._place, squares)
        return ResidualSums(sums, by_class, largest)

    def _shares(self, rows: torch.Tensor) -> int:
        """How many threads to spread the rows over: each needs several rows a class, as it has its own sums."""
        if rows.device.type != "cpu":
            return 1
        worthwhile = min(rows.numel() // _SHARE_ENTRIES, len(rows) // (_ROWS_A_CLASS * len(self.counts)))
        return max(1, min(self._threads, worthwhile))


def _add_by_class(sums: torch.Tensor, place: torch.Tensor, rows: torch.Tensor) -> None:
    """``sums[place[i]] += rows[i]`` in place, for sums (P, d) and rows (n, d)."""
    size = len(sums)
    if place.device.type == "cpu" or size > len(rows) // _ROWS_A_CLASS:
        sums.index_add_(0, place, rows)
        return
    # Sorted, as the additions of many rows to few sums would wait for each other there.
    order = torch.argsort(place, stable=True)
    counts = torch.bincount(place, minlength=size)
    sums += functional.embedding_bag(order, rows, torch.cumsum(counts, 0) - counts, mode="sum")
