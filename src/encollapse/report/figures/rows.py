"""Figures with a row an encoding: a panel a quantity, a series a bias decay, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from encollapse._internal.format import number_label
from encollapse.report.charts import Chart, Key, Panel
from encollapse.report.families import Family
from encollapse.report.figures.choice import common_decays, others, row_pages
from encollapse.report.figures.dots import Dot, height, shifts
from encollapse.report.figures.series import page_name, page_note
from encollapse.report.figures.spread import spread
from encollapse.report.style import MARKERS, shades
from encollapse.study.results import TrialResult

_DECAYS = 5


@dataclass(frozen=True)
class RowSheet:
    """One sheet of such a figure; `rows` takes the numbers of all dots that are asked for."""

    title: str
    members: Sequence[Family]
    names: Sequence[str]
    decays: Sequence[float]
    page: int
    pages: int
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
        """Chart of the panels of this sheet; `room` is for titles of several lines, in inches."""
        return Chart(
            page_name(name, self.page),
            caption + others(self.members, self.decays) + page_note(self.page, self.pages),
            panels,
            self.rows,
            columns=columns,
            height=height(len(self.names), len(self.decays)) + room,
            keys=self.keys if len(self.decays) > 1 else [],
            share="y",
        )


def row_sheets(members: Sequence[Family]) -> list[RowSheet]:
    """Sheets for families of which there is at least one, at up to five bias decays that most of them have."""
    decays, pages = common_decays(members, _DECAYS), row_pages(members)
    return [RowSheet(*page, decays, number, len(pages)) for number, page in enumerate(pages)]
