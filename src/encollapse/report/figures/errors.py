"""The errors of a study: at a glance, one line a family, and over the grid of two varied parameters as a map."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from encollapse._internal.format import number_label, power, short
from encollapse.errors import ArgumentError
from encollapse.report.charts import Chart, Drawing, Heat, Key, Panel, Points, Scale
from encollapse.report.figures.rows import height
from encollapse.report.figures.series import numbered, of_trial, parts
from encollapse.report.style import BLUE, VERMILLION
from encollapse.report.varied_settings import SEED, Parameter, varied
from encollapse.study.families import Family, measured_kinds, told_apart
from encollapse.study.results import TrialResult

_OVERVIEW = "errors"

_ROWS = 40  # of one sheet, which fills a screen
_ROUNDING = 1e-12  # errors below are those of values that are zero on both sides
_SHOWN = (
    ("gram_error", "Gram matrix, relative", BLUE, "o", -0.14),
    ("bias_error", "bias, largest entry", VERMILLION, "s", 0.14),
)


def error_overview(members: Sequence[Family]) -> list[Drawing]:
    """Gram and bias errors of every trained network on a logarithmic axis, or none if there are none."""
    shown = [f for f in members if any(_drawn(r, name) is not None for r in f.trials for name, *_ in _SHOWN)]
    return numbered([_overview(page) for page in parts(shown, _ROWS)])


def _drawn(result: TrialResult, name: str) -> float | None:
    """An error that is no rounding: one of exactly 0 is that of a bias which does not exist."""
    value = result.record.value(name)
    return value if value is not None and value > _ROUNDING else None


def _overview(members: Sequence[Family]) -> Chart:
    shared, labels = told_apart(members)
    rows: list[dict[str, Any]] = []
    marks = []
    for name, meaning, color, marker, shift in _SHOWN:
        found = [
            (place, result, value)
            for place, family in enumerate(members)
            for result in family.trials
            if (value := _drawn(result, name)) is not None
        ]
        rows += [
            {"family": members[place].label} | of_trial(result) | {"error": name, "value": value}
            for place, result, value in found
        ]
        marks.append(
            Points(
                [value for *_, value in found],
                [place + shift for place, *_ in found],
                color,
                marker,
                filled=True,
                alpha=0.75,
                label=meaning,
                texts=[
                    f"{labels[place]}, λ_b = {number_label(result.settings['bias_decay'])}, "
                    f"seed {result.settings['seed']}: {value:.2g}"
                    for place, result, value in found
                ],
            )
        )
    caption = (
        f"Errors of every {measured_kinds(members, plural=False)} against its prediction"
        f"{', ' + shared if shared else ''}. "
        "Circles: relative error of the Gram matrix of the class means. "
        "Squares: largest error of a bias entry, in units of the labels. "
        f"Errors below {power(_ROUNDING)} are rounding and left out."
    )
    panel = Panel(
        Scale("error of the measurement against the prediction", "log"),
        Scale("", "category", names=tuple(labels)),
        marks,
    )
    keys = [Key(meaning, color, marker, filled=True, dash=None) for _, meaning, color, marker, _ in _SHOWN]
    return Chart(_OVERVIEW, caption, [panel], rows, width=7.2, height=height(labels), keys=keys)


_MAP = "error-map"

_ERROR = "gram_error"
_LONG = 30
"""More values than these make no axis."""


def error_maps(trials: Sequence[TrialResult], axes: tuple[str, str] | None = None) -> list[Drawing]:
    """Largest Gram error of a network at every point of the grid, and with `axes` of exact minimizers too.

    Parameters
    ----------
    axes : (str, str), optional
        Keys of the settings along rows and columns, such as ``("encoding", "bias_decay")``. Default: the two
        parameters with most values. What else varies makes panels, seeds apart.

    Raises
    ------
    ArgumentError
        If an axis is not a parameter that the study varies.
    """
    known = [result for result in trials if result.record.value(_ERROR) and (result.trained or axes is not None)]
    parameters = [p for p in varied(result.settings for result in known) if p.key != SEED]
    chosen = _chosen(parameters, axes)
    if chosen is None:
        return []
    down, across = chosen
    others = [p for p in parameters if p not in chosen]
    groups: dict[str, list[TrialResult]] = {}
    for result in known:
        groups.setdefault(", ".join(p.of(result.settings) for p in others), []).append(result)
    if axes is None and _sparse(groups.values(), down, across):
        return []
    per_page = 1 if len(across.values) > 8 else 3 if len(across.values) <= 5 and len(groups) not in (2, 4) else 2
    rows_of_panels = max(1, min(4, 24 // len(down.values)))
    errors = [result.record.value(_ERROR) or 1.0 for result in known]
    # Whole decades, so that the color bar has ticks.
    limits = (10.0 ** math.floor(math.log10(min(errors))), 10.0 ** math.ceil(math.log10(max(errors))))
    pages = parts(list(groups.items()), per_page * rows_of_panels)
    return numbered([_map(page, down, across, limits, per_page) for page in pages])


def _chosen(parameters: Sequence[Parameter], axes: tuple[str, str] | None) -> tuple[Parameter, Parameter] | None:
    by_key = {p.key: p for p in parameters}
    if axes is not None:
        for key in axes:
            if key not in by_key:
                have = ", ".join(map(repr, by_key)) or "none"
                raise ArgumentError(f"map: the study does not vary {key!r}; it varies: {have}")
        if axes[0] == axes[1]:
            raise ArgumentError(f"map: expected two different parameters, got {axes[0]!r} twice")
        return by_key[axes[0]], by_key[axes[1]]
    fitting = [p for p in parameters if len(p.values) <= _LONG]
    if len(fitting) < 2:
        return None
    first, second = fitting[:2]
    # Words need the width of a row, numbers fit above a column.
    length = {p.key: max(map(len, p.values)) for p in (first, second)}
    return (first, second) if length[first.key] >= length[second.key] else (second, first)


def _sparse(groups: Iterable[list[TrialResult]], down: Parameter, across: Parameter) -> bool:
    """Whether most cells of every map stay empty: then the study is no grid of these two."""
    size = len(down.values) * len(across.values)
    filled = [len({(down.of(r.settings), across.of(r.settings)) for r in group}) for group in groups]
    return max(filled) < size / 2


def _map(
    groups: Sequence[tuple[str, list[TrialResult]]],
    down: Parameter,
    across: Parameter,
    limits: tuple[float, float],
    columns: int,
) -> Chart:
    rows: list[dict[str, Any]] = []
    panels = []
    for title, trials in groups:
        values = np.full((len(down.values), len(across.values)), np.nan)
        for result in trials:
            cell = (down.values.index(down.of(result.settings)), across.values.index(across.of(result.settings)))
            values[cell] = np.nanmax([values[cell], result.record.value(_ERROR) or np.nan])
            rows.append(
                {
                    "panel": title,
                    down.key: down.of(result.settings),
                    across.key: across.of(result.settings),
                    "trial": result.id,
                    "seed": result.settings["seed"],
                    _ERROR: result.record.value(_ERROR),
                }
            )
        texts = [[_cell(value) for value in line] for line in values.tolist()]
        panels.append(
            Panel(
                Scale(across.name, "category", names=across.values),
                Scale(down.name, "category", names=down.values),
                [Heat(values, limits, log=True, texts=texts)],
                title,
            )
        )
    caption = (
        f"Relative error of the Gram matrix of the class means over the grid of {down.name} and {across.name}: in "
        "each cell the largest over seeds"
        + (". " if any(title for title, _ in groups) or len(groups) == 1 else " and over whatever else varies. ")
        + "Empty cells have not been run, or have no such error."
    )
    columns = min(columns, len(panels))
    return Chart(
        _MAP,
        caption,
        panels,
        rows,
        columns=columns,
        width=8.6,
        height=0.9 + 0.27 * len(down.values),
        heat_label="relative Gram error",
        share="y",
    )


def _cell(value: float) -> str:
    return "" if np.isnan(value) else short(value)
