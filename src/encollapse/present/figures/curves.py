"""What the figures over the bias regularisation share: panels, theory as lines, networks as points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from encollapse._typing import FloatArray
from encollapse.present.families import Family, by_panel
from encollapse.present.figures.axis import BiasAxis
from encollapse.present.style import GREY, MARKERS, SERIES, panels
from encollapse.study.trials import number_label

_STUB = 0.16  # half the length, in decades, of the line that stands for the value at 0 or ∞

_CRITICAL = "_critical"
_SAME = 0.02  # decades within which two critical bias decays are drawn as one


def varied(members: Sequence[Family]) -> list[Family]:
    """Families with networks at two bias decays or more."""
    return [family for family in members if len(family.bias_decays) > 1]


def looks(members: Sequence[Family]) -> dict[Family, tuple[str, str]]:
    """Colour and marker of each family, the same in every figure of a report."""
    return {
        family: (SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)])
        for group in by_panel(members).values()
        for i, family in enumerate(group)
    }


def curve_panels(titles: Sequence[str], axis: BiasAxis, height: float) -> tuple[Figure, list[Axes]]:
    """Axes side by side, one a panel, sharing the vertical scale."""
    figure, grid = panels(len(titles), width=8.6 if len(titles) > 1 else 7.2, height=height)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
        axis.draw(axes)
        if axes is not grid[0][0]:
            axes.sharey(grid[0][0])
    return figure, grid[0]


def theory_grid(axis: BiasAxis, family: Family) -> FloatArray:
    """Ascending bias decays at which a theory line is computed: 0 first, ∞ last, the networks' among them."""
    return np.unique([0.0, *axis.grid(), *family.bias_decays, math.inf])


def draw_theory(axes: Axes, axis: BiasAxis, decays: FloatArray, values: FloatArray, colour: str) -> None:
    """Draw a line over the finite bias decays and a stub at either end."""
    finite = (decays > 0) & np.isfinite(decays)
    axes.plot(np.log10(decays[finite]), values[finite], color=colour, zorder=3)
    for end in (0, -1):
        place = axis.place(float(decays[end]))
        axes.plot([place - _STUB, place + _STUB], [values[end]] * 2, color=colour, zorder=3)


def draw_points(
    axes: Axes, axis: BiasAxis, points: Sequence[tuple[float, float]], look: tuple[str, str]
) -> None:
    """Draw networks as open marks at (bias decay, value)."""
    colour, marker = look
    axes.plot(
        [axis.place(decay) for decay, _ in points],
        [value for _, value in points],
        linestyle="none",
        marker=marker,
        color=colour,
        markerfacecolor="white",
        markeredgewidth=1.2,
        zorder=4,
    )


def draw_reference(axes: Axes, height: float, name: str | None) -> None:
    """Draw a dotted horizontal line with its name to the right of the axes."""
    axes.axhline(height, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    if name is not None:
        axes.annotate(
            name,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            verticalalignment="center",
            linespacing=1.1,
            color=GREY,
            fontsize=7.5,
        )


def draw_critical(axes: Axes, decay: float, height: float, colour: str, *, value: bool = True) -> None:
    """Mark a critical bias decay on its line; its value is written once, by the first family that has it."""
    x = math.log10(decay)
    axes.plot(x, height, marker="D", color=colour, markersize=5, linestyle="none", zorder=3.5)
    known = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_label() == _CRITICAL]
    if any(abs(x - other) < _SAME for other in known):
        return
    axes.axvline(x, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, label=_CRITICAL)
    if not value:
        return
    axes.annotate(
        f"$\\lambda_b^*$ = {number_label(decay)}",
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -2),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="top",
        color=colour,
        fontsize=8,
    )


def legend(
    figure: Figure, groups: Iterable[Sequence[Family]], looks: Mapping[Family, tuple[str, str]]
) -> None:
    """One legend above the panels, an entry for each encoding: line for theory, mark for networks."""
    entries: dict[str, Line2D] = {}
    for family in (family for group in groups for family in group):
        colour, marker = looks[family]
        mark: dict[str, Any] = {"marker": marker, "markerfacecolor": "white", "markeredgewidth": 1.2}
        entries.setdefault(family.encoding, Line2D([], [], color=colour, label=family.encoding, **mark))
    figure.legend(handles=list(entries.values()), loc="outside upper left", ncols=4, handlelength=2.4)
