"""What figures of families share: which bias decays they show, seeds taken together, panels, sheets and looks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from encollapse.report.charts import Chart, Drawing, Key, Panel
from encollapse.report.style import Look, looks
from encollapse.study.families import Family, by_panel
from encollapse.study.results import TrialResult

T = TypeVar("T")

FEW = 6
"""Up to so many series share a panel without trouble."""

PANELS = 12
"""Panels on one sheet."""


@dataclass(frozen=True)
class Spread:
    """Values of several seeds: mean, lowest and highest, and how many."""

    mean: float
    low: float
    high: float
    number: int

    @property
    def seeds(self) -> str:
        """The range in brackets, where there are several seeds."""
        return f" ({self.low:.5g} to {self.high:.5g}, {self.number} seeds)" if self.number > 1 else ""


def spread(trials: Iterable[TrialResult], read: Callable[[TrialResult], float | None]) -> Spread | None:
    """Take the values of trials together, or None where no trial has one."""
    values = [value for value in map(read, trials) if value is not None]
    if not values:
        return None
    # The mean of equal values may differ from them by rounding, and must not leave their range.
    mean = float(np.clip(np.mean(values), min(values), max(values)))
    return Spread(mean, min(values), max(values), len(values))


def decades(values: Iterable[float], *, edge: float = 0.0) -> tuple[float, float] | None:
    """Limits of a logarithmic axis that reach from a power of ten to another, and `edge` decades further."""
    positive = [value for value in values if value > 0]
    if not positive:
        return None
    first, last = math.floor(math.log10(0.9 * min(positive))), math.ceil(math.log10(1.1 * max(positive)))
    return 10.0 ** (first - edge), 10.0 ** (last + edge)


@dataclass(frozen=True)
class Series:
    """A family with its look, the same in every figure of a report."""

    label: str
    look: Look
    family: Family


@dataclass(frozen=True)
class Sheet:
    """Panels, each with a title and its series."""

    panels: tuple[tuple[str, tuple[Series, ...]], ...]

    @property
    def series(self) -> list[Series]:
        """Every series."""
        return [one for _, group in self.panels for one in group]

    @property
    def keys(self) -> list[Key]:
        """Entries of the legend, none twice, none at all where a single unnamed series is shown."""
        entries = {one.label: Key.of(one.label, one.look) for one in self.series}
        return list(entries.values())

    @property
    def columns(self) -> int:
        """Panels in a row."""
        number = len(self.panels)
        return number if number <= 3 else 2 if number == 4 else 3 if number <= 9 else 4

    @property
    def width(self) -> float:
        """Of the figure, in inches."""
        return 7.2 if len(self.panels) == 1 else 8.6

    def chart(
        self,
        name: str,
        caption: str,
        panels: Sequence[Panel],
        rows: Sequence[Mapping[str, Any]],
        *,
        heights: tuple[float, float],
    ) -> Chart:
        """Chart of these panels, all with one range. `heights` are those of a row of up to two, and of more."""
        return Chart(
            name,
            caption,
            panels,
            rows,
            columns=self.columns,
            width=self.width,
            height=heights[self.columns > 2],
            keys=self.keys,
            share="xy" if len(self.panels) > 1 else "",
        )


def sheets(members: Sequence[Family], *, keep: Callable[[Family], bool] | None = None) -> list[Sheet]:
    """Arrange families in panels.

    Encodings share a panel where there are few. Else what varies beside the encoding shares one, and each encoding
    has its own. Looks come from `members`, so figures that `keep` only some of them agree on them.
    """
    encodings = list(dict.fromkeys(family.encoding for family in members))
    kinds = list(by_panel(members))
    by_kind = len(encodings) <= FEW or len(kinds) > len(encodings)
    shared = encodings if by_kind else kinds
    look = dict(zip(shared, looks(len(shared)), strict=True))
    groups: dict[str, list[Series]] = {}
    for family in members:
        title, label = (family.panel, family.encoding) if by_kind else (family.encoding, family.panel)
        if keep is None or keep(family):
            groups.setdefault(title, []).append(Series(label, look[label], family))
    panels = [(title, tuple(group)) for title, group in groups.items()]
    return [Sheet(tuple(part)) for part in parts(panels, PANELS)]


def varied(members: Sequence[Family]) -> list[Family]:
    """Families with networks at two bias decays or more."""
    return [family for family in members if len(family.bias_decays) > 1]


def parts(values: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a sequence into pieces of nearly equal size, none longer than `size`."""
    number = math.ceil(len(values) / size)
    ends = [round(i * len(values) / number) for i in range(number + 1)] if number else []
    return [values[a:b] for a, b in pairwise(ends)]


def numbered(charts: Sequence[Chart]) -> list[Drawing]:
    """Draw the sheets of one figure: ``name``, ``name-2``, …, each with its number in the caption."""
    number = len(charts)
    if number == 1:
        return [Drawing(charts[0])]
    return [
        Drawing(
            replace(
                chart,
                name=chart.name if page == 1 else f"{chart.name}-{page}",
                caption=f"{chart.caption} Sheet {page} of {number}.",
            )
        )
        for page, chart in enumerate(charts, start=1)
    ]


def of_trial(result: TrialResult) -> dict[str, Any]:
    """Columns of a CSV file that say which network a number belongs to."""
    settings = result.settings
    return {"trial": result.id, "bias_decay": settings["bias_decay"], "seed": settings["seed"]}


def spread_out(number: int, wanted: int, *, also: Sequence[int] = ()) -> list[int]:
    """Positions of `wanted` out of `number`: both ends, those in `also`, and what lies farthest from them."""
    if number <= wanted:
        return list(range(number))
    picked = {0, number - 1, *also}
    candidates = np.rint(np.linspace(0, number - 1, 2 * wanted)).astype(int).tolist()
    while len(picked) < wanted:
        picked.add(max(candidates, key=lambda i: min(abs(i - p) for p in picked)))
    return sorted(picked)


def chosen_decays(family: Family, wanted: int) -> list[float]:
    """Up to `wanted` bias decays of a family: both ends, and the one closest to the critical."""
    decays, critical = family.bias_decays, family.critical
    also = [] if critical is None else [int(np.argmin([abs(decay - critical) for decay in decays]))]
    return [decays[i] for i in spread_out(len(decays), wanted, also=also)]


def common_decays(members: Sequence[Family], wanted: int) -> list[float]:
    """Up to `wanted` bias decays, ends included, of those that most families have."""
    found = Counter(decay for family in members for decay in family.bias_decays)
    most = max(found.values())
    shared = sorted(decay for decay, number in found.items() if 2 * number > most)
    return [shared[i] for i in spread_out(len(shared), wanted)]
