"""``rowsᵀ rows`` added to a total: the product that a covariance cannot do without.

Only what lies on and above the diagonal is asked for, half of the work. torch has no such product. numpy has one,
for a matrix times its own transpose, and it is taken for the squares on the diagonal where each thread gets its own
part of the total: a library that shares one product over threads leaves them spinning.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, chain, combinations, pairwise

import numpy as np
import torch

from encollapse.measure.moments.threads import one_library, side_by_side

_ROWS = 2**13  # rows of a product, so that copies in float64 stay small
_PANELS = 4  # of columns: five eighths of the work of the whole
_PANEL_COLUMNS = 64  # fewer do not repay a product of their own

_LEAST_COLUMNS, _MOST_COLUMNS = 192, 1024
"""Columns of a part of the total: of fewer products are slow, of more numpy's copy below the diagonal is."""


def add_gram(
    total: torch.Tensor, rows: torch.Tensor, *, sign: int = 1, unit: float = 1.0, threads: int | None = None
) -> None:
    """``total += sign · rowsᵀ rows`` in place, for the entries on and above the diagonal, with rows in units of `unit`.

    In blocks of rows, as rounding within a product grows with their number. `threads` are those of torch if not given.
    """
    number = torch.get_num_threads() if threads is None else threads
    scale = sign * unit * unit
    shared = in_parts(rows.shape[1], rows.device, number)
    for block in torch.split(rows, _ROWS):
        if shared:
            _add_in_parts(total, block, scale, number)
        else:
            _add_in_panels(total, block, scale)


def in_parts(columns: int, device: torch.device, threads: int) -> bool:
    """Whether each thread takes parts of the product alone, so that torch need not share any over its threads."""
    return device.type == "cpu" and columns >= threads * _LEAST_COLUMNS


def _add_in_panels(total: torch.Tensor, rows: torch.Tensor, scale: float) -> None:
    columns = rows.shape[1]
    width = max(_PANEL_COLUMNS, -(-columns // _PANELS))
    for start in range(0, columns, width):
        panel = rows[:, start : start + width].T @ rows[:, start:]
        total[start : start + width, start:].add_(panel, alpha=scale)


def _add_in_parts(total: torch.Tensor, rows: torch.Tensor, scale: float, threads: int) -> None:
    values, sums = rows.detach().numpy(), total.numpy()
    shares = even_parts(rows.shape[1], threads)

    def add(start: int, stop: int) -> None:
        with np.errstate(all="ignore"):  # as torch, which leaves it to the result to say that it is not finite
            for left, right in chain.from_iterable(shares[start:stop]):
                product = values[:, left].T @ values[:, right]
                sums[left, right] += product if scale == 1.0 else scale * product

    with one_library():
        side_by_side(add, [(i, i + 1) for i in range(threads)])


def even_parts(columns: int, threads: int) -> list[list[tuple[slice, slice]]]:
    """Parts of a total on and above its diagonal, as spans of rows and of columns, for each thread.

    A square on the diagonal is half of the work of one above it. With as many spans as threads all have the same.
    """
    number = max(threads, -(-columns // _MOST_COLUMNS))
    spans = [slice(*bounds) for bounds in pairwise(columns * i // number for i in range(number + 1))]
    parts = [*combinations(spans, 2), *((span, span) for span in spans)]
    ends = list(accumulate(1 if left is right else 2 for left, right in parts))
    bounds = [0, *(bisect_left(ends, ends[-1] * i / threads) + 1 for i in range(1, threads + 1))]
    return [parts[start:stop] for start, stop in pairwise(bounds)]
