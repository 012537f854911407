"""Dot plots: named rows, a family each, a panel a quantity, a series a bias decay, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from encollapse._internal.format import number_label
from encollapse.report.charts import Chart, Key, Mark, Panel, Points, Scale, beside
from encollapse.report.figures.series import Spread, common_decays, decades, parts, spread
from encollapse.report.style import MARKERS, shades
from encollapse.report.varied_settings import named, without_axes
from encollapse.study.families import Family, by_panel, told_apart
from encollapse.study.results import TrialResult

_DECAYS = 5  # marks of one row that can be told apart
_ROWS = 18
"""Rows of a sheet."""
_ROW = 0.27
"""Inches of a row."""


_EDGE = 0.2
"""Part of a decade beyond the last ticks, so that their labels and those of the next panel stay apart."""


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
        scale = replace(scale, limits=_limits([dot.value for dot in dots]))
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
                texts=[f"{rows[dot.row]}, {series}: {dot.value.mean:.5g}{dot.value.seeds}" for dot in members],
            )
        )
    return Panel(scale, Scale("", "category", names=tuple(rows)), marks, title)


def _limits(values: Sequence[Spread]) -> tuple[float, float] | None:
    return decades([end for value in values if value.low > 0 for end in (value.low, value.high)], edge=_EDGE)


def height(names: Sequence[str], series: int = 1) -> float:
    """Inches that a panel with rows of such names needs, the longest of which take several lines."""
    lines = max((beside(name).count("\n") + 1 for name in names), default=1)
    return 0.75 + _ROW * len(names) * max(1.0, 0.45 * series, 0.62 * lines)


@dataclass(frozen=True)
class RowSheet:
    """One sheet of such a figure. `rows` takes the numbers of all dots that are asked for."""

    title: str
    members: Sequence[Family]
    names: Sequence[str]
    decays: Sequence[float]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def keys(self) -> list[Key]:
        """Legend of the bias decays: the stronger, the darker."""
        return [
            Key(f"λ_b = {number_label(decay)}", color, MARKERS[i], filled=True, dash=None)
            for i, (decay, color) in enumerate(zip(self.decays, shades(len(self.decays)), strict=True))
        ]

    @property
    def of(self) -> str:
        """What the sheet is about, to be put behind what a caption speaks of."""
        return f", {self.title}" if self.title else ""

    @property
    def each(self) -> str:
        """What a row stands for, by what its families differ in: ``one row for each width``."""
        return f"one row for each {named(without_axes(f.trials[0].settings for f in self.members))}"

    @property
    def at(self) -> str:
        """``λ_b = 0, 0.1 and ∞``."""
        names = [number_label(decay) for decay in self.decays]
        return f"λ_b = {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"λ_b = {names[0]}"

    def dots(self, quantity: str, *, unit: float = 1.0) -> list[Dot]:
        """Dots of one quantity, times `unit`."""

        def read(result: TrialResult) -> float | None:
            value = result.record.value(quantity)
            return None if value is None else unit * value

        dots = []
        keys, places = self.keys, shifts(len(self.decays))
        for row, (family, label) in enumerate(zip(self.members, self.names, strict=True)):
            for decay, key, shift in zip(self.decays, keys, places, strict=True):
                trials = family.at(decay)
                value = spread(trials, read)
                self.rows.extend(
                    {
                        "row": label,
                        "panel": family.panel,
                        "bias_decay": decay,
                        "seed": result.settings["seed"],
                        "quantity": quantity,
                        "value": result.record.value(quantity),
                    }
                    for result in trials
                )
                if value is not None:
                    dots.append(Dot(row, value, key.color, key.marker or "o", key.label, True, shift))
        return dots

    def chart(self, name: str, caption: str, panels: Sequence[Panel], *, columns: int, room: float = 0.0) -> Chart:
        """Chart of the panels of this sheet. `room` is for titles of several lines, in inches."""
        return Chart(
            name,
            caption + _others(self.members, self.decays),
            panels,
            self.rows,
            columns=columns,
            height=height(self.names, len(self.decays)) + room,
            keys=self.keys if len(self.decays) > 1 else [],
            share="y",
        )


def row_sheets(members: Sequence[Family]) -> list[RowSheet]:
    """Sheets for these families, at up to five bias decays that most of them have."""
    if not members:
        return []
    decays = common_decays(members, _DECAYS)
    members = [family for family in members if any(family.at(decay) for decay in decays)]
    return [RowSheet(*page, decays) for page in _row_pages(members)]


def _others(members: Sequence[Family], decays: Sequence[float]) -> str:
    """Say how many bias decays a figure leaves out, at the end of a caption."""
    left = {decay for family in members for decay in family.bias_decays} - set(decays)
    return f" Not shown: {len(left)} other value{'s' if len(left) > 1 else ''} of λ_b." if left else ""


def _row_pages(members: Sequence[Family]) -> list[tuple[str, list[Family], list[str]]]:
    """Families as the rows of dot plots: (title, families, names of the rows) of each sheet."""
    if len(members) <= _ROWS:
        groups = [members]
    else:
        groups = [part for group in by_panel(members).values() for part in parts(group, _ROWS)]
        if len(groups) > len(members) / 2:  # hardly any share a sheet
            groups = parts(members, _ROWS)
    pages = []
    for group in groups:
        shared, names = told_apart(group)
        pages.append(("" if len(groups) == 1 else shared, list(group), names))
    return pages
