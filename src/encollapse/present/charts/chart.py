"""A chart as plain values: panels, their axes, and the marks on them; no drawing library is needed to make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from encollapse._typing import FloatArray
from encollapse.present.charts.bias_axis import BiasAxis
from encollapse.present.style import GREY, INK, Dash


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
class Line:
    """A curve. On a bias axis the values at 0 and ∞ become stubs beyond the breaks."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dash: Dash = "solid"
    width: float = 1.4
    label: str = ""


@dataclass(frozen=True)
class Band:
    """The area between two curves."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


@dataclass(frozen=True)
class Points:
    """Marks, with error bars from `low` to `high` where they are given, and a text each for the pointer."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marker: str = "o"
    filled: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    across: bool = False
    """Whether the bars run along x."""
    size: float = 4.5
    alpha: float = 1.0
    label: str = ""
    texts: Sequence[str] | None = None


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel at one value, with a name at its end."""

    value: float
    across: bool = True
    """Horizontal, at a value of y; otherwise vertical."""
    name: str = ""
    colour: str = GREY
    dash: Dash = "dotted"
    after: bool = False
    """Whether the name of a vertical line stands on its right."""


@dataclass(frozen=True)
class Word:
    """A short text at a place in the panel, in fractions of it."""

    text: str
    x: float
    y: float
    colour: str = GREY
    align: Literal["left", "center", "right"] = "left"


@dataclass(frozen=True, eq=False)
class Heat:
    """A matrix as colours, row 0 at the top. ``log`` colours by the decimal logarithm."""

    values: FloatArray
    limits: tuple[float, float]
    palette: Literal["diverging", "sequential"] = "sequential"
    log: bool = False
    texts: Sequence[Sequence[str]] | None = None


Mark = Line | Band | Points | Rule | Word | Heat


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
    colour: str = INK
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
        What the colour of every `Heat` means; they share one scale.
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
