"""A chart as plain values: axes, the marks on them, panels. No drawing library is needed to make one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from encollapse._internal.format import SUPERSCRIPTS, wrapped
from encollapse._internal.typing import FloatArray
from encollapse.report.style import GREY, INK, Dash, Look

_GAP = 0.55  # of a decade, between the last finite value and the end that stands for 0 or ∞
_MARGIN = 0.35  # decades between the last value and the edge


@dataclass(frozen=True)
class BiasAxis:
    """Places of bias decays from 0 to ∞ on a line: logarithmic in between, with 0 and ∞ beyond its broken ends.

    ``low`` and ``high`` are the finite range in decades.
    """

    low: float
    high: float

    @staticmethod
    def covering(values: Iterable[float]) -> BiasAxis:
        """Make an axis wide enough for every finite value given."""
        decades = [math.log10(value) for value in values if 0 < value < math.inf] or [0.0]
        return BiasAxis(min(decades) - 2 * _MARGIN, max(decades) + 2 * _MARGIN)

    def holds(self, value: float) -> bool:
        """Whether a bias decay lies on the unbroken part."""
        return 0 < value < math.inf and self.low < math.log10(value) < self.high

    def place(self, value: float) -> float:
        """Position of a bias decay."""
        if value == 0:
            return self.low - _GAP
        return self.high + _GAP if math.isinf(value) else math.log10(value)

    def grid(self, points: int = 181) -> FloatArray:
        """Finite bias decays that fill the axis evenly."""
        return np.logspace(self.low, self.high, points)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and names of the ticks: 0, about six decades, ∞."""
        decades = range(math.ceil(self.low), math.floor(self.high) + 1)
        step = max(1, math.ceil(len(decades) / 6))
        shown = [d for d in decades if d % step == 0]
        names = ["0", *map(_decade_label, shown), "∞"]
        return [self.place(0.0), *map(float, shown), self.place(math.inf)], names

    def minor_ticks(self) -> list[float]:
        """Places of 2, 3, …, 9 times each decade."""
        decades = range(math.floor(self.low), math.floor(self.high) + 1)
        minor = [d + math.log10(m) for d in decades for m in range(2, 10)]
        return [m for m in minor if self.low <= m <= self.high]

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis, beyond the places of 0 and ∞."""
        return self.low - _GAP - _MARGIN, self.high + _GAP + _MARGIN

    @property
    def breaks(self) -> tuple[float, float]:
        """Places at which the axis is broken."""
        return self.low - _GAP / 2, self.high + _GAP / 2


def _decade_label(decade: int) -> str:
    return f"{10.0**decade:g}" if -3 < decade < 4 else f"10{str(decade).translate(SUPERSCRIPTS)}"


_NAME_LENGTH = 50  # characters of a name beside an axis on paper


def beside(name: str) -> str:
    """A name to stand beside an axis on paper, long ones in several lines."""
    return wrapped(name, _NAME_LENGTH, brackets=False)


@dataclass(frozen=True)
class Scale:
    """One axis of a panel.

    Attributes
    ----------
    label : str
        Quantity, with its unit if it has one. ``λ_b`` gets its subscript.
    kind : str
        ``linear``, ``log``, ``bias`` (a bias decay from 0 to ∞, placed by `bias`) or ``category``.
    limits : (low, high), optional
        In data units. The data decide where there are none.
    names : tuple of str
        Of a category axis, from position 0 on.
    ticks : tuple of float
        Where a linear or logarithmic axis has its ticks. Default: where it suits.
    """

    label: str = ""
    kind: Literal["linear", "log", "bias", "category"] = "linear"
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()
    bias: BiasAxis | None = None
    ticks: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Coordinate of a value: a bias decay goes to its place, all else stays."""
        return value if self.bias is None else self.bias.place(value)


@dataclass(frozen=True)
class Line:
    """A curve. On a bias axis the values at 0 and ∞ become stubs beyond the breaks."""

    x: Sequence[float]
    y: Sequence[float]
    color: str
    dash: Dash = "solid"
    width: float = 1.4
    label: str = ""


@dataclass(frozen=True)
class Band:
    """The area between two curves."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    color: str


@dataclass(frozen=True)
class Points:
    """Marks, with error bars from `low` to `high` where they are given, and a text each for the pointer."""

    x: Sequence[float]
    y: Sequence[float]
    color: str
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
class Bars:
    """Bars from 0 up to `y` at the places `x`, each as wide as `width` in units of x."""

    x: Sequence[float]
    y: Sequence[float]
    colors: Sequence[str]
    width: float = 0.7


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel at one value, with a name at its end."""

    value: float
    across: bool = True
    """Horizontal, at a value of y, otherwise vertical."""
    name: str = ""
    color: str = GREY
    dash: Dash = "dotted"
    after: bool = False
    """Whether the name of a vertical line stands on its right."""


@dataclass(frozen=True, eq=False)
class Heat:
    """A matrix as colors, row 0 at the top. ``log`` colors by the decimal logarithm."""

    values: FloatArray
    limits: tuple[float, float]
    palette: Literal["diverging", "sequential"] = "sequential"
    log: bool = False
    texts: Sequence[Sequence[str]] | None = None


Mark = Line | Band | Points | Bars | Rule | Heat


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

    @classmethod
    def of(cls, label: str, look: Look) -> Key:
        """Entry of a series with this look."""
        return cls(label, look.color, look.marker, dash=look.dash)


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
        What the color of every `Heat` means. They share one scale.
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
