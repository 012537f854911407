"""What a study varies as an axis: collapse, angles, errors and accuracy against weight decay, width and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encollapse._internal.json_values import finite
from encollapse.report.charts import Chart, Drawing, Key, Line, Mark, Panel, Points, Scale
from encollapse.report.figures.series import Spread, decades, of_trial, spread
from encollapse.report.style import Look, looks
from encollapse.report.varied_settings import SEED, Parameter, named, numeric, varied
from encollapse.study.families import Family, measured_kind
from encollapse.study.results import TrialResult

_SERIES = 8
"""Series of a figure. Of more, the first are shown, and the caption names how many."""
_TICKS = 8
"""Up to so many values have a tick each."""
_CLOSE = 0.02
"""Cosines and shares that are closer are drawn as near to each other."""
_WIDE = 8.0
"""Ratio of the largest to the smallest value from which on an axis is logarithmic."""


@dataclass(frozen=True)
class _Number:
    """What is drawn: its key in the records, the words at the axis, whether it is drawn on a logarithmic axis."""

    key: str
    label: str
    log: bool = False
    predicted: Callable[[TrialResult], float | None] = lambda result: None


def _predicted_cosine(result: TrialResult) -> float | None:
    prediction = result.record.prediction
    return None if prediction is None else finite(prediction.mean_cosine)


_QUANTITIES = (
    _Number("mean_cosine", "mean cosine of class means", predicted=_predicted_cosine),
    _Number("gram_error", "relative Gram error", log=True),
    _Number("nc1_trace_ratio", "NC1, tr Σ_W / tr Σ_B", log=True),
    _Number("test_accuracy", "accuracy on the hold-out"),
    _Number("accuracy", "accuracy on the training set"),
)
_PANELS = 4  # what a line of the page holds


def against_settings(members: Sequence[Family]) -> list[Drawing]:
    """A figure for each number that the study varies besides the bias decay, or none where it varies none."""
    trials = [result for family in members for result in family.trials]
    found = numeric(result.settings for result in trials)
    others = varied(result.settings for result in trials)
    made: list[Drawing] = []
    for parameter in found:
        chart = _chart(trials, parameter, [p for p in others if p.key not in (parameter.key, SEED)])
        made += [] if chart is None else [Drawing(chart)]
    return made


def _chart(trials: Sequence[TrialResult], parameter: Parameter, others: Sequence[Parameter]) -> Chart | None:
    """One figure, or None where no two trainings differ in this parameter alone."""
    groups: dict[str, list[TrialResult]] = {}
    for result in trials:
        label = ", ".join(_named_value(p, result) for p in others)
        groups.setdefault(label, []).append(result)
    curves = {k: own for k, own in groups.items() if len({_value(parameter, result) for result in own}) > 1}
    shown = list(curves.values())[:_SERIES]
    trials = [result for own in shown for result in own]
    if not trials:
        return None
    others = [p for p in others if len({p.of(own[0].settings) for own in shown}) > 1]  # what tells these apart
    kept = [(", ".join(_named_value(p, own[0]) for p in others), own) for own in shown]
    known = [q for q in _QUANTITIES if any(r.record.value(q.key) is not None for _, group in kept for r in group)]
    known = known[:_PANELS]
    values = sorted({_value(parameter, result) for result in trials})
    logarithmic = values[0] > 0 and values[-1] >= _WIDE * values[0]
    margin = 1.25 if logarithmic else 0.06 * (values[-1] - values[0])
    limits = (values[0] / margin, values[-1] * margin) if logarithmic else (values[0] - margin, values[-1] + margin)
    ticks = tuple(values) if len(values) <= _TICKS else ()
    along = Scale(parameter.name, "log" if logarithmic else "linear", limits=limits, ticks=ticks)
    rows: list[dict[str, Any]] = []
    series = list(zip(kept, looks(len(kept)), strict=True))
    panels = []
    for quantity in known:
        marks: list[Mark] = []
        for (label, group), look in series:
            marks += _marks(quantity, parameter, label, group, look)
            rows += [
                {"setting": parameter.key, "at": _value(parameter, result), "series": label}
                | of_trial(result)
                | {"quantity": quantity.key, "value": result.record.value(quantity.key)}
                for result in group
            ]
        if marks:  # an NC1 of exactly 0, as of every minimizer, has no place on a logarithmic axis
            panels.append(Panel(along, _scale(quantity, marks), marks))
    if not panels:
        return None
    what = measured_kind(trials).capitalize()
    left = len(curves) - len(kept)
    each = f", one series for each {named(others)}" if len(kept) > 1 else ""
    caption = (
        f"{what} against {parameter.name}{each}. Marks are means over seeds, with bars from the lowest to "
        "the highest. Lines join them, but for the mean cosine, where they are the exact minimizer."
        + (f" Not shown: {left} further series." if left else "")
    )
    keys = [Key.of(label, look) for (label, _), look in series]
    return Chart(
        "against-" + parameter.key.replace(".", "-").replace("_", "-"),
        caption,
        panels,
        rows,
        columns=min(2, len(panels)),
        height=2.5,
        keys=keys if len(keys) > 1 else [],
    )


def _scale(quantity: _Number, marks: Sequence[Mark]) -> Scale:
    """The axis of a quantity. Where all values are nearly one, it does not enlarge their differences without end."""
    found = [y for mark in marks if isinstance(mark, Line | Points) for y in mark.y]
    found += [y for mark in marks if isinstance(mark, Points) for y in [*(mark.low or ()), *(mark.high or ())]]
    if quantity.log:
        return Scale(quantity.label, "log", limits=decades(found))
    low, high = min(found, default=0.0), max(found, default=1.0)
    return Scale(quantity.label, limits=None if high - low > _CLOSE else (low - _CLOSE, high + _CLOSE))


def _named_value(parameter: Parameter, result: TrialResult) -> str:
    """A value as a legend says it: an encoding by its name alone, a number with what it is a number of."""
    value = parameter.of(result.settings)
    if parameter.key in ("encoding", "dataset", "model", "features"):
        return value
    symbol = parameter.name.rpartition(" ")[2] if "λ" in parameter.name else parameter.name
    return f"{symbol} = {value}"


def _value(parameter: Parameter, result: TrialResult) -> float:
    return float(parameter.raw(result.settings))


def _marks(quantity: _Number, parameter: Parameter, label: str, group: Sequence[TrialResult], look: Look) -> list[Mark]:
    found: list[tuple[float, Spread]] = []
    theory: list[tuple[float, float]] = []
    for value in sorted({_value(parameter, result) for result in group}):
        own = [result for result in group if _value(parameter, result) == value]
        measured = spread(own, lambda r: r.record.value(quantity.key))
        if measured is not None and (measured.low > 0 or not quantity.log):
            found.append((value, measured))
        predicted = [p for result in own if (p := quantity.predicted(result)) is not None]
        if predicted:
            theory.append((value, float(np.mean(predicted))))
    line = theory or [(value, known.mean) for value, known in found]
    if not found:
        return []
    return [
        Line([x for x, _ in line], [y for _, y in line], look.color, look.dash, 1.1, label=label),
        Points(
            [x for x, _ in found],
            [known.mean for _, known in found],
            look.color,
            look.marker,
            low=[known.low for _, known in found],
            high=[known.high for _, known in found],
            label=label,
            texts=[f"{label}, {parameter.name} {x:g}: {known.mean:.4g}" for x, known in found],
        ),
    ]
