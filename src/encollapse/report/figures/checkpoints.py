"""A film of checkpoints: metrics and drift along the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.metrics import METRICS
from encollapse.report.charts import Chart, Drawing, Key, Line, Mark, Panel, Points, Scale
from encollapse.report.style import BLUE, GREY, INK

HasResults: TypeAlias = Any
"""Checkpoints of :mod:`encollapse.measure`, which draw themselves by this module."""

_FIRST = (
    "nc1_trace_ratio",
    "cdnv",
    "nc2_equinorm",
    "nc2_equiangular",
    "nc2_etf",
    "nc3_self_duality",
    "nc4_agreement",
    "accuracy",
)
_DRIFTS = {
    "means_moved": "class means, moved",
    "means_procrustes": "class means, Procrustes",
    "subspace": "span of the means",
    "features_cka": "features, 1 - CKA",
}
_WIDE = 30.0
"""Positive values over a range wider than this ratio are drawn on a logarithmic axis."""


def checkpoints_drawing(film: HasResults, metrics: Sequence[str] | None = None) -> Drawing:
    """Draw one panel a metric, and one for each kind of drift, over the steps.

    Raises
    ------
    ArgumentError
        If a metric is unknown.
    """
    names = list(_FIRST if metrics is None else metrics)
    rows = film.rows()
    for name in names:
        if name not in rows[0]:
            meant = checks.did_you_mean(name, rows[0])
            raise ArgumentError(f"metrics: none is called {name!r}; {meant or 'see encollapse.metrics.METRICS'}")
    steps, axis = _axis([float(step) for step in film.steps])
    panels = []
    for name in names:
        values = [row[name] for row in rows]
        if any(value is not None for value in values):
            title = METRICS[name].label if name in METRICS else name
            panels.append(_panel(title, steps, axis, [(values, INK, "")]))
    of_metrics = len(panels)
    drifts: list[dict[str, Any]] = [dict(row) for row in film.drift_rows]
    for name, title in _DRIFTS.items():
        curves = []
        for key, color, label in ((name, BLUE, "from the checkpoint before"), (f"{name}_to_last", GREY, "to the last")):
            values = [row.get(key) for row in drifts]
            if name == "features_cka":
                values = [None if value is None else 1.0 - value for value in values]
            curves.append((values, color, label))
        if any(value is not None for values, _, _ in curves for value in values):
            panels.append(_panel(title, steps, axis, curves))
    if not panels:
        raise ArgumentError("checkpoints: nothing has a value that could be drawn")
    caption = (
        f"Metrics of {len(rows)} checkpoints over the steps of the training. The last panels show how far class means, "
        "their span and the features of some samples moved: blue since the checkpoint before, grey up to the last one."
        + (
            " Step 0 stands at the left end of the logarithmic axis."
            if axis.kind == "log" and film.steps[0] == 0
            else ""
        )
    )
    table = [
        {key: value for key, value in row.items() if key != "missing"} | drift
        for row, drift in zip(rows, drifts, strict=True)
    ]
    columns = min(4, len(panels))
    drift_keys = [Key("since the checkpoint before", BLUE), Key("up to the last checkpoint", GREY, dash="dashed")]
    keys = drift_keys if len(panels) > of_metrics else []
    return Drawing(Chart("checkpoints", caption, panels, table, columns, 8.6, 1.75, keys=keys, share="x"))


def _axis(steps: list[float]) -> tuple[list[float], Scale]:
    """Steps: logarithmic, with 0 at the left end, where half of the looks fall into the first seventh."""
    positive = [step for step in steps if step > 0]
    if positive and steps[len(steps) // 2] < steps[-1] / 7 and steps[-1] > _WIDE * positive[0]:
        low = positive[0] / 2
        return [max(step, low) for step in steps], Scale("step", "log", limits=(low * 0.9, steps[-1] * 1.1))
    return steps, Scale("step")


def _panel(title: str, steps: list[float], axis: Scale, curves: Sequence[tuple[list[Any], str, str]]) -> Panel:
    shown = [value for values, _, _ in curves for value in values if value is not None and value > 0]
    every = [value for values, _, _ in curves for value in values if value is not None]
    log = len(shown) > 0 and min(every) >= 0 and max(shown) > _WIDE * min(shown)
    marks: list[Mark] = []
    for values, color, label in curves:
        known = [(x, y) for x, y in zip(steps, values, strict=True) if y is not None and (y > 0 or not log)]
        if known:
            x, y = (list(part) for part in zip(*known, strict=True))
            marks.append(Line(x, y, color, "dashed" if color == GREY else "solid", 1.2, label=label))
            marks.append(Points(x, y, color, filled=True, size=2.5))
    return Panel(axis, Scale("", "log" if log else "linear"), marks, title)
