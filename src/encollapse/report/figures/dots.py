"""Dot plots: named rows, one panel a quantity, seeds as error bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from encollapse.report.charts import Mark, Panel, Points, Scale
from encollapse.report.figures.spread import Spread

_ROW = 0.27
"""Inches of a row."""


@dataclass(frozen=True)
class Dot:
    """One value: its row, what series it belongs to, and how that series looks."""

    row: int
    value: Spread
    color: str
    marker: str
    series: str
    filled: bool = True
    shift: float = 0.0
    """Of a row, up is negative."""


def shifts(number: int) -> list[float]:
    """Places of the series of a row within it."""
    step = min(0.24, 0.62 / max(number - 1, 1))
    return [step * (i - (number - 1) / 2) for i in range(number)]


def dot_panel(rows: Sequence[str], scale: Scale, dots: Sequence[Dot], title: str = "") -> Panel:
    """One quantity. A logarithmic axis covers whole decades and leaves values of 0 out."""
    if scale.kind == "log":
        scale = replace(scale, limits=_decades([dot.value for dot in dots]))
    marks: list[Mark] = []
    groups: dict[tuple[str, str, str, bool], list[Dot]] = {}
    for dot in dots:
        if scale.kind != "log" or dot.value.low > 0:
            groups.setdefault((dot.series, dot.color, dot.marker, dot.filled), []).append(dot)
    for (series, color, marker, filled), members in groups.items():
        marks.append(
            Points(
                [dot.value.mean for dot in members],
                [dot.row + dot.shift for dot in members],
                color,
                marker,
                filled=filled,
                low=[dot.value.low for dot in members],
                high=[dot.value.high for dot in members],
                across=True,
                label=series,
                texts=[_text(rows[dot.row], series, dot.value) for dot in members],
            )
        )
    return Panel(scale, Scale("", "category", names=tuple(rows)), marks, title)


def _decades(values: Sequence[Spread]) -> tuple[float, float] | None:
    positive = [value for value in values if value.low > 0]
    if not positive:
        return None
    low, high = min(v.low for v in positive), max(v.high for v in positive)
    first, last = math.floor(math.log10(0.9 * low)), math.ceil(math.log10(1.1 * high))
    return 10.0**first, 10.0**last


def height(rows: int, series: int = 1) -> float:
    """Inches that a panel with so many rows needs."""
    return 0.75 + _ROW * rows * max(1.0, 0.45 * series)


def _text(row: str, series: str, value: Spread) -> str:
    spread = f" ({value.low:.4g} to {value.high:.4g}, {value.number} networks)" if value.number > 1 else ""
    return f"{row}, {series}: {value.mean:.4g}{spread}"
