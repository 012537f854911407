"""Cells that tables for the terminal share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from encollapse._internal.format import count, fixed

_SHOWN = 10  # different entries of a vector before it is cut


def plain_table(*heads: str) -> Table:
    """Empty table with these heads."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


class Narrowing:
    """A table, and what stands for it in a terminal of fewer columns than it needs."""

    def __init__(self, table: RenderableType, columns: int, narrow: RenderableType) -> None:
        self.table, self.columns, self.narrow = table, columns, narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Choose by the width that there is."""
        yield self.table if options.max_width >= self.columns else self.narrow


def align_right(table: Table, columns: int) -> None:
    """Align the first columns to the right."""
    for column in table.columns[:columns]:
        column.justify = "right"


def fact_table(pairs: Sequence[tuple[str, Any]]) -> Table:
    """Names on the left, what is known of them on the right."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return table


def vector(values: np.ndarray[Any, Any]) -> str:
    """A few entries of a vector, equal neighbors together, and how many there are."""
    rounding = 1e-12 * np.abs(values).max(initial=0.0)
    steps = np.cumsum(np.abs(np.diff(values, prepend=values[:1])) > rounding)
    runs = [[float(values[i]) for i in run] for _, run in groupby(range(len(values)), key=steps.__getitem__)]
    shown = [f"{run[0]:.6g}" + (f" ({len(run)} times)" if len(run) > 1 else "") for run in runs[:_SHOWN]]
    text = "  ".join(shown)
    return text if len(runs) <= _SHOWN else f"{text}  … ({len(values)} in all)"


def cosine_range(cosines: np.ndarray[Any, Any]) -> str:
    """Mean and range of the cosines above the diagonal."""
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    known = pairs[~np.isnan(pairs)]
    if not len(known):
        return "undefined: every class mean is zero"
    low, high = float(known.min()), float(known.max())
    undefined = f"; undefined for {count(len(pairs) - len(known), 'pair')}" if len(known) < len(pairs) else ""
    if high - low < 1e-9:
        return f"{fixed(low, 6)} for every pair{undefined}"
    return f"mean {fixed(float(known.mean()), 6)}, from {fixed(low, 6)} to {fixed(high, 6)}{undefined}"
