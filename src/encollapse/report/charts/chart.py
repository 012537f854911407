"""A chart as plain values: panels, their axes, and the marks on them; no drawing library is needed to make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from encollapse.report.charts.bias_axis import BiasAxis
from encollapse.report.charts.marks import Mark
from encollapse.report.style import INK, Dash


@dataclass(frozen=True)
class Scale:
    """One axis of a panel.

    Attributes
    ----------
    label : str
        Quantity, with its unit if it has one; ``λ_b`` gets its subscript.
    kind : str
        ``linear``, ``log``, ``bias`` (a bias decay from 0 to ∞, placed by `bias`) or ``category``.
    limits : (low, high), optional
        In data units; the data decide where there are none.
    names : tuple of str
        Of a category axis, from position 0 on.
    """

    label: str = ""
    kind: Literal["linear", "log", "bias", "category"] = "linear"
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()
    bias: BiasAxis | None = None

    def place(self, value: float) -> float:
        """Coordinate of a value: a bias decay goes to its place, all else stays."""
        return value if self.bias is None else self.bias.place(value)


@dataclass(frozen=True)
class Panel:
    """One set of axes. `bare` leaves the ticks out, as a matrix of classes wants it."""

    x: Scale
    y: Scale
    marks: Sequence[Mark]
    title: str = ""
    bare: bool = False
    square: bool = False


@dataclass(frozen=True)
class Key:
    """An entry of the legend: a line, a mark, or both."""

    label: str
    color: str = INK
    marker: str | None = None
    filled: bool = False
    dash: Dash | None = "solid"


@dataclass(frozen=True)
class Chart:
    """Panels in rows of `columns`, a legend, and the numbers shown.

    Attributes
    ----------
    name : str
        Stem of the files.
    caption : str
        What it shows and how to read it, in plain text.
    panels : sequence of Panel
        Row by row.
    rows : sequence of mappings
        The numbers, one mapping a row of the CSV file, all with the same keys.
    width, height : float
        Of the whole figure and of a row of panels, in inches.
    heat_label : str
        What the color of every `Heat` means; they share one scale.
    share : str
        ``"x"``, ``"y"`` or ``"xy"``: axes on which all panels have one range.
    """

    name: str
    caption: str
    panels: Sequence[Panel]
    rows: Sequence[Mapping[str, Any]]
    columns: int = 1
    width: float = 8.6
    height: float = 3.0
    keys: Sequence[Key] = ()
    heat_label: str = ""
    share: Literal["", "x", "y", "xy"] = ""
    row_heights: Sequence[float] = field(default=())
