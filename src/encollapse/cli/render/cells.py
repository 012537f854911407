"""Cells that tables for the terminal share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text


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


class Colored:
    """Something told by color, and what stands for it where there is none, as in a pipe."""

    def __init__(self, colored: RenderableType, plain: RenderableType) -> None:
        self.colored, self.plain = colored, plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Choose by what the place can show."""
        yield self.plain if console.color_system is None else self.colored


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
