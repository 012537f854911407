"""Every error at a glance: one line a family, one mark a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encollapse._internal.format import number_label
from encollapse.report.charts import Chart, Drawing, Key, Panel, Points, Scale
from encollapse.report.figures.series import numbered, of_trial, parts
from encollapse.report.style import BLUE, VERMILLION
from encollapse.study.families import Family
from encollapse.study.results import TrialResult

NAME = "errors"

_ROWS = 40
_ROUNDING = 1e-12  # errors below are those of values that are zero on both sides
_SHOWN = (
    ("gram_error", "Gram matrix, relative", BLUE, "o", -0.14),
    ("bias_error", "bias, largest entry", VERMILLION, "s", 0.14),
)


def error_overview(members: Sequence[Family]) -> list[Drawing]:
    """Gram and bias errors of every trained network on a logarithmic axis; none if there are none."""
    shown = [f for f in members if any(_drawn(r, name) is not None for r in f.trials for name, *_ in _SHOWN)]
    return numbered([_chart(page) for page in parts(shown, _ROWS)])


def _drawn(result: TrialResult, name: str) -> float | None:
    """An error that is no rounding: one of exactly 0 is that of a bias which does not exist."""
    value = result.record.value(name)
    return value if value is not None and value > _ROUNDING else None


def _chart(members: Sequence[Family]) -> Chart:
    labels = [family.label for family in members]
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
            {"family": labels[place]} | of_trial(result) | {"error": name, "value": value}
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
        "Errors of every trained network against its prediction. Circles: relative error of the Gram matrix of the "
        "class means. Squares: largest error of a bias entry, in units of the labels. "
        f"Errors below {_ROUNDING:g} are rounding and left out."
    )
    panel = Panel(
        Scale("error of the trained network against the exact minimizer", "log"),
        Scale("", "category", names=tuple(labels)),
        marks,
    )
    keys = [Key(meaning, color, marker, filled=True, dash=None) for _, meaning, color, marker, _ in _SHOWN]
    height = 0.55 + 0.28 * len(labels)
    return Chart(NAME, caption, [panel], rows, width=7.2, height=height, keys=keys)
