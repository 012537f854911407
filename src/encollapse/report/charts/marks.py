"""What stands in a panel: curves, points, straight lines, words and matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from encollapse._internal.typing import FloatArray
from encollapse.report.style import GREY, Dash


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
class Rule:
    """A straight line across the panel at one value, with a name at its end."""

    value: float
    across: bool = True
    """Horizontal, at a value of y; otherwise vertical."""
    name: str = ""
    color: str = GREY
    dash: Dash = "dotted"
    after: bool = False
    """Whether the name of a vertical line stands on its right."""


@dataclass(frozen=True)
class Word:
    """A short text at a place in the panel, in fractions of it."""

    text: str
    x: float
    y: float
    color: str = GREY
    align: Literal["left", "center", "right"] = "left"


@dataclass(frozen=True, eq=False)
class Heat:
    """A matrix as colors, row 0 at the top. ``log`` colors by the decimal logarithm."""

    values: FloatArray
    limits: tuple[float, float]
    palette: Literal["diverging", "sequential"] = "sequential"
    log: bool = False
    texts: Sequence[Sequence[str]] | None = None


Mark = Line | Band | Points | Rule | Word | Heat
