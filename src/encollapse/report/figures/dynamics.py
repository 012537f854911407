"""How metrics move along the training: a chosen few, all others on a second sheet, seeds as bands, phases marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encollapse._internal.format import number_label
from encollapse._internal.json_values import finite
from encollapse._internal.typing import FloatArray
from encollapse.metrics import METRICS
from encollapse.report.charts import Band, Chart, Drawing, Key, Line, Mark, Panel, Rule, Scale
from encollapse.report.figures.series import chosen_decays, common_decays, numbered, of_trial, parts
from encollapse.report.style import BLUE, Dash, looks, shades
from encollapse.study.families import Family, by_panel, told_apart
from encollapse.study.results import TrialResult

NAME = "dynamics"

EXCESS = "excess_loss"

CHOSEN = (
    EXCESS,
    "loss",
    "stationarity",
    "mean_cosine",
    "accuracy",
    "test_accuracy",
    "nc1_trace_ratio",
    "nc2_etf",
    "nc3_self_duality",
    "gram_error",
)
"""Metrics of the first sheet, the most telling first. All others come on a sheet of their own."""
_LEFT_OUT = ("epoch", "phase", "descent", "escape", "seconds", "floor", "num_samples", "num_classes")
_DECAYS = 5  # lines of one panel that can be told apart
_LINES = 7  # colors of the palette
_WIDE = 30.0
"""Positive values over a range wider than this ratio are drawn on a logarithmic axis."""
_FLOOR = 1e-6
"""A floor further below the data than this is not drawn but told."""


@dataclass(frozen=True, eq=False)
class _History:
    """The rows of a training's history, and what is known of the training besides them.

    `about` says which training it is, in columns of the CSV file. `minimum` is the loss of the minimum that it leads
    to, and `floor` what rounding of the features alone makes of NC1.
    """

    about: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    minimum: float | None
    floor: float | None

    @classmethod
    def of(cls, result: TrialResult) -> _History:
        """History of a trial, without rows where none were kept."""
        record = result.record
        minimum = None
        if record.prediction is not None and record.prediction_kind == "minimum":
            minimum = finite(record.prediction.loss)
        try:
            rows = result.history()
        except FileNotFoundError:
            rows = []
        trial = of_trial(result)
        return cls({"trial": result.id, "label": result.label, **trial}, rows, minimum, record.value("floor"))

    def value(self, row: Mapping[str, Any], name: str) -> float | None:
        """A finite number of a row, or the excess of its loss over the minimum."""
        if name != EXCESS:
            return finite(row.get(name))
        loss = finite(row.get("loss"))
        return None if loss is None or not self.minimum else loss / self.minimum - 1

    def series(self, name: str) -> list[tuple[float, float]]:
        """Passes and values, where both are known."""
        found = [(finite(row.get("epoch")), self.value(row, name)) for row in self.rows]
        return [(epoch, value) for epoch, value in found if epoch is not None and value is not None]


@dataclass(frozen=True)
class _Curve:
    """Trainings that differ in their seed alone."""

    label: str
    color: str
    dash: Dash
    runs: Sequence[_History]


def dynamics(members: Sequence[Family], *, rest: bool = False) -> list[Drawing]:
    """Histories along the bias decay for one family, and of every family at one bias decay.

    Parameters
    ----------
    members : sequence of Family
        Whose trainings are shown.
    rest : bool
        Every metric that the chosen few leave out, instead of these.
    """
    runs = {f: [run for result in f.trials if len((run := _History.of(result)).rows) > 1] for f in members}
    known = [family for family in members if runs[family]]
    if not known:
        return []
    plans: list[tuple[str, list[_Curve]]] = []
    if len(known[0].bias_decays) > 1:
        decays = chosen_decays(known[0], _DECAYS)
        lines = [
            _Curve(f"λ_b = {number_label(decay)}", color, "solid", _at(runs[known[0]], decay))
            for decay, color in zip(decays, shades(len(decays)), strict=True)
        ]
        plans.append((known[0].label, lines))
    if len(known) > 1 or not plans:
        decay = common_decays(known, 2)[-1]
        shown = [family for family in known if _at(runs[family], decay)]
        kinds = by_panel(shown)
        one_each = len(kinds) > max(_LINES, len(shown) / 2) or all(len(group) == 1 for group in kinds.values())
        for title, group in ({"": shown} if one_each else kinds).items():
            sheets = parts(group, _LINES)
            for number, part in enumerate(sheets):
                shared, labels = told_apart(part)
                lines = [
                    _Curve(label, look.color, look.dash, _at(runs[family], decay))
                    for family, label, look in zip(part, labels, looks(len(part)), strict=True)
                ]
                what = f"{title or shared}, " if title or shared else ""
                which = f" (part {number + 1} of {len(sheets)})" if len(sheets) > 1 else ""
                plans.append((f"{what}λ_b = {number_label(decay)}{which}", lines))
    charts = [_chart(title, lines, rest=rest) for title, lines in plans]
    return numbered([chart for chart in charts if chart.panels])


def run_chart(run: Any) -> Chart:
    """The history of one :class:`encollapse.train.Run`, its chosen few metrics."""
    about = {"trial": "run", "label": repr(run), "bias_decay": run.settings.bias_decay, "seed": run.settings.seed}
    minimum = run.predicted_loss if run.prediction_kind == "minimum" else None
    history = _History(about, run.history, minimum, run.collapse.floor)
    title = f"{run.settings.model_name} on {run.dataset}, {run.encoding} labels"
    return _chart(title, [_Curve("", BLUE, "solid", [history])])


def _at(runs: Sequence[_History], decay: float) -> list[_History]:
    return [run for run in runs if float(run.about["bias_decay"]) == decay]


_TITLES = {
    "mean_cosine": "mean cosine",
    "test_accuracy": "accuracy, hold-out",
    "test_balanced_accuracy": "balanced, hold-out",
    "test_minority_accuracy": "rare classes, hold-out",
}
"""Short names of what is recorded besides metrics."""


def _title(name: str) -> str:
    """Short name for the title of a panel. An unknown one is written as words."""
    return METRICS[name].label if name in METRICS else _TITLES.get(name, name.replace("_", " "))


_SEEDS = (
    "Lines are means over seeds, bands run from the lowest to the highest. A training that ended before the others "
    "keeps its last values. "
)


def _chart(title: str, lines: Sequence[_Curve], *, rest: bool = False) -> Chart:
    runs = [run for line in lines for run in line.runs]
    names = [name for name in _names(runs) if (name in CHOSEN) != rest]
    epochs = _scale(runs)
    switch = _switch(runs)
    told: list[str] = []
    panels = []
    for place, name in enumerate(names):
        marks: list[Mark] = []
        if switch is not None:
            name_of_phase = "L-BFGS" if place == 0 else ""
            marks.append(Rule(switch, across=False, name=name_of_phase, dash="dashed", after=True))
        lowest: list[FloatArray] = []
        for line in lines:
            marks += _curve(line, name, epochs, lowest)
        values = np.concatenate(lowest) if lowest else np.array([1.0])
        log = bool((values > 0).all() and values.max() > _WIDE * values.min())
        if name.startswith("nc1"):
            marks += _floor(runs, float(values.min()), told)
        panels.append(Panel(epochs, Scale("", "log" if log else "linear"), marks, _title(name)))
    caption = (
        f"{'Further metrics' if rest else 'Chosen metrics'} after so many passes over the data, {title}. "
        + (_SEEDS if len(runs) > 1 else "")
        + ("At the dashed line L-BFGS on the whole set takes over from minibatches. " if switch else "")
        + ("Excess loss is the loss over the predicted minimum, less 1. " if EXCESS in names else "")
        + ("The start stands at the left end of the logarithmic axis. " if epochs.kind == "log" else "")
        + " ".join(told)
    )
    keys = [Key(line.label, line.color, dash=line.dash) for line in lines]
    return Chart(
        f"{NAME}-all" if rest else NAME,
        caption.strip(),
        panels,
        _rows(runs, names),
        columns=_columns(len(panels)),
        width=8.6,
        height=1.75,
        keys=keys if len(keys) > 1 else [],
        share="x",
    )


def _columns(panels: int) -> int:
    """Three or four, whichever fills the last row better."""
    return max(1, min(panels, max((4, 3), key=lambda columns: -(-panels % columns))))


def _names(runs: Sequence[_History]) -> list[str]:
    """Names of the metrics that the histories hold, the most telling first."""
    found = dict.fromkeys(
        key
        for run in runs
        for row in run.rows
        for key, value in row.items()
        if key not in _LEFT_OUT and not key.startswith("loss_") and finite(value) is not None
    )
    # What only the last row knows makes no curve.
    found = {key: None for key in found if any(len(run.series(key)) > 1 for run in runs)}
    if any(run.minimum for run in runs):
        found = {EXCESS: None} | {key: None for key in found if key != "loss"}
    return [key for key in CHOSEN if key in found] + sorted(key for key in found if key not in CHOSEN)


def _scale(runs: Sequence[_History]) -> Scale:
    """Passes: logarithmic where half of the looks fall into the first seventh of the training."""
    epochs = sorted(finite(row.get("epoch")) or 0.0 for run in runs for row in run.rows)
    positive = [epoch for epoch in epochs if epoch > 0]
    if positive and epochs[len(epochs) // 2] < epochs[-1] / 7 and epochs[-1] > _WIDE * positive[0]:
        return Scale("passes over the data", "log", limits=(positive[0] / 2, epochs[-1] * 1.05))
    return Scale("passes over the data")


def _switch(runs: Sequence[_History]) -> float | None:
    """Where L-BFGS takes over: the middle between the looks before and after, if all trainings agree."""
    places = set()
    for run in runs:
        rows = run.rows
        after = [i for i, row in enumerate(rows) if row.get("phase") == "lbfgs"]
        if after and after[0]:
            places.add((float(rows[after[0] - 1]["epoch"]) + float(rows[after[0]]["epoch"])) / 2)
    return places.pop() if len(places) == 1 else None


def _curve(line: _Curve, name: str, epochs: Scale, values: list[FloatArray]) -> list[Mark]:
    runs = [found for run in line.runs if (found := run.series(name))]
    if not runs:
        return []
    grid = np.array(sorted({epoch for run in runs for epoch, _ in run}))
    table = np.array([np.interp(grid, [e for e, _ in run], [v for _, v in run]) for run in runs])
    values.append(table.ravel())
    x = np.maximum(grid, epochs.limits[0]) if epochs.kind == "log" and epochs.limits else grid
    marks: list[Mark] = []
    if len(runs) > 1:
        low, high = table.min(axis=0).tolist(), table.max(axis=0).tolist()
        marks.append(Band(x.tolist(), low, high, line.color))
    mean = table.mean(axis=0).tolist()
    return [*marks, Line(x.tolist(), mean, line.color, line.dash, 1.2, label=line.label)]


def _floor(runs: Sequence[_History], lowest: float, told: list[str]) -> list[Mark]:
    floors = [run.floor for run in runs if run.floor]
    if not floors:
        return []
    if max(floors) > _FLOOR * lowest:
        return [Rule(max(floors), name="floor")]
    if not told:
        told.append(f"What rounding of the features alone makes of NC1, {max(floors):.1g}, lies far below. ")
    return []


def _rows(runs: Sequence[_History], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {**run.about, "epoch": row.get("epoch"), "phase": row.get("phase")}
        | {name: run.value(row, name) for name in names}
        for run in runs
        for row in run.rows
    ]
