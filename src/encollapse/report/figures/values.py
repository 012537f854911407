"""Charts of one value each: an encoding, a geometry, a minimizer, a path, a measurement, a comparison, a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from encollapse._internal.format import number_label
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.errors import ArgumentError
from encollapse.metrics import METRICS
from encollapse.report.charts import Bars, BiasAxis, Chart, Heat, Key, Line, Mark, Panel, Points, Rule, Scale
from encollapse.report.figures.series import decades
from encollapse.report.style import BLUE, GREEN, VERMILLION

_LARGEST = 200
"""Most classes that the picture of a matrix shows. Of more classes it shows some, at even steps."""
_NAMED = 14  # classes that have their number at the axis
_WIDE = 10.0  # ratio of the largest to the smallest value from which on an axis is logarithmic
_CURVES = 9  # metrics that are drawn along steps
_SIDE = 2.9  # inches of a matrix

_MEASURED = (
    "nc1_trace_ratio",
    "nc1_normalized",
    "cdnv",
    "nc2_equinorm",
    "nc2_equiangular",
    "nc2_etf",
    "nc2_orthogonal",
    "nc3_self_duality",
)
"""Metrics of a measurement that are 0 at collapse and have one axis."""


def encoding_chart(encoding: Any) -> Chart:
    """Inner products of the codewords."""
    number = encoding.num_classes
    shown = _shown(np.arange(number))
    codewords = encoding.codewords[:, shown]
    gram = codewords.T @ codewords
    limit = float(np.abs(gram).max()) or 1.0
    caption = f"Inner products of the codewords of the encoding {encoding.name}, one row and column a class."
    panel = _matrix(gram, limit, f"{encoding.name}, {number} classes")
    return _of_matrices("encoding", caption + _left_out(shown, number), [panel], "inner product of codewords", shown)


def geometry_chart(geometry: Any) -> Chart:
    """Cosines of the class means, and their norms with the classes in order."""
    shown = _shown(np.flatnonzero(geometry.present))
    norms = np.sqrt(np.clip(np.diag(geometry.feature_gram), 0, None))[shown]
    places = np.arange(len(shown), dtype=float)
    top = float(norms.max(initial=0.0)) or 1.0
    marks = [Points(places.tolist(), norms.tolist(), BLUE, filled=True)]
    lengths = Panel(_classes(shown), Scale("norm of class mean", limits=(0.0, 1.1 * top)), marks, "norms")
    caption = "Cosines between the uncentered class means, and norms of the class means."
    rows = [{"class": int(k), "norm": float(norm)} for k, norm in zip(shown, norms, strict=True)]
    cosines = _cosines(geometry, shown, "cosines of class means")
    return _with_matrix("geometry", caption + _left_out(shown, geometry.num_classes), cosines, [lengths], rows)


def solution_chart(solution: Any) -> Chart:
    """Cosines of the predicted class means, and the singular values that are learned."""
    geometry, values = solution.geometry, solution.singular_values
    shown, order = _shown(np.arange(geometry.num_classes)), _shown(np.arange(len(values)))
    places = np.arange(len(order), dtype=float).tolist()
    marks: list[Mark] = [Points(places, values[order].tolist(), BLUE, filled=True)]
    top = float(values.max(initial=0.0)) or 1.0
    names = tuple(str(i) for i in range(1, len(values) + 1)) if len(values) <= _NAMED else ()
    spectrum = Panel(
        Scale("number", "category", names=names) if names else Scale("number", limits=(-0.6, len(order) - 0.4)),
        Scale("singular value", limits=(-0.03 * top, 1.08 * top)),
        marks,
        f"outputs, rank {solution.rank}",
    )
    caption = (
        "The minimizer of the unrestricted feature model: cosines between the uncentered class means, and singular "
        "values of the class outputs W M diag(√π); those at 0 are not learned."
    )
    rows = [{"number": int(i + 1), "singular_value": float(values[i])} for i in order]
    cosines = _cosines(geometry, shown, "predicted cosines")
    return _with_matrix("solution", caption + _left_out(shown, geometry.num_classes), cosines, [spectrum], rows)


_TURNS = {
    "λ_b*": " Dashed: the critical value, above which the class means turn.",
    "λ_b at 10 %": " Dashed: where the features carry a tenth of what they carry of the mean label without a bias. The "
    "critical value is 0, as every bias decay above it turns the class means.",
}
"""What the mark of a path means, by the name of :meth:`encollapse.ufm.Problem.turning_point`."""


def path_chart(path: Any) -> Chart:
    """Mean cosine of the class means, and norm of the bias, against the bias decay."""
    problem = path.solutions[0].problem
    critical, symbol = problem.turning_point()
    order = np.argsort(path.bias_decays, kind="stable")
    decays = path.bias_decays[order]
    cosines = path.mean_cosine[order]
    norms = np.array([float(np.linalg.norm(path.solutions[i].bias)) for i in order])
    axis = BiasAxis.covering([*decays.tolist(), *([] if critical is None else [critical])])
    along = Scale("bias regularization λ_b", "bias", bias=axis)
    marked = critical if critical is not None and axis.holds(critical) else None
    rule = [] if marked is None else [_at_critical(axis, marked, symbol)]
    classes, top = problem.encoding.num_classes, max(float(norms.max()), 1e-300)
    frames = [Rule(-1 / (classes - 1), name="simplex\nframe"), Rule(0.0, name="orthogonal\nframe")]
    first: list[Mark] = [*frames, *rule, Line(decays.tolist(), cosines.tolist(), BLUE)]
    second: list[Mark] = [*(replace(one, name="") for one in rule), Line(decays.tolist(), norms.tolist(), BLUE)]
    at = np.flatnonzero(decays == marked)
    if len(at):
        for marks, values in ((first, cosines), (second, norms)):
            marks.append(Points([decays[at[0]]], [float(values[at[0]])], BLUE, "D", filled=True, size=5))
    caption = (
        f"Exact minimizer of the unrestricted feature model, {problem.encoding.name} labels, {classes} classes: mean "
        "cosine between the uncentered class means, and norm of the bias, against the bias regularization."
        f"{'' if marked is None else _TURNS[symbol]}"
    )
    rows = [
        {"bias_decay": decay, "mean_cosine": cosine, "bias_norm": norm}
        for decay, cosine, norm in zip(decays.tolist(), cosines.tolist(), norms.tolist(), strict=True)
    ]
    panels = [
        Panel(along, Scale("mean cosine of class means", limits=_with_head(cosines, -1 / (classes - 1))), first),
        Panel(along, Scale("|bias|", limits=(-0.04 * top, 1.06 * top)), second),
    ]
    return Chart("path", caption, panels, rows, columns=2, height=2.8)


def _at_critical(axis: BiasAxis, value: float, symbol: str) -> Rule:
    """The critical bias decay, its name on the side where there is room."""
    left = axis.place(value) < (axis.low + axis.high) / 2
    return Rule(value, False, f"{symbol} = {number_label(value)}", BLUE, "dashed", after=left)


def _with_head(values: FloatArray, simplex: float) -> tuple[float, float]:
    """Limits around values and both frames, with room above for a name."""
    low, high = min(float(np.nanmin(values)), simplex), max(float(np.nanmax(values)), 0.0)
    return low - 0.06 * (high - low), high + 0.16 * (high - low)


def collapse_chart(collapse: Any) -> Chart:
    """Collapse metrics by name on one logarithmic axis, and the cosines of the centered class means."""
    found = {name: collapse.values.get(name) for name in _MEASURED}
    known = {name: value for name, value in found.items() if value is not None and value > 0}
    shown = _shown(np.flatnonzero(collapse.geometry.present))
    cosines = _cosines(collapse.geometry, shown, "centered cosines", centered=True)
    caption = (
        "Collapse of the features: metrics that are 0 at collapse, and cosines between the class means about their "
        "mean. Values of exactly 0 have no place on the axis."
    )
    metrics = _by_name(known, "value, 0 at collapse") if known else []
    rows = [{"metric": name, "value": value} for name, value in known.items()] or [{"metric": "", "value": None}]
    return _with_matrix(
        "measurement", caption + _left_out(shown, collapse.num_classes), cosines, metrics, rows, before=True
    )


def comparison_chart(comparison: Any) -> Chart:
    """Every error of a comparison on a logarithmic axis."""
    known = {row.name: row.value for row in comparison.rows if row.value}
    if not known:
        raise ArgumentError("x: this comparison has no error above 0, so there is nothing to draw; print it")
    rows = [{"error": row.name, "value": row.value} for row in comparison.rows]
    caption = "Errors of the measurement against the prediction. Errors of exactly 0 have no place on the axis."
    panels = _by_name(known, "error")
    return Chart("comparison", caption, panels, rows, width=5.2, height=0.8 + 0.28 * len(known))


def metrics_chart(steps: Sequence[Mapping[str, float]]) -> Chart:
    """Values of metrics by name, and of several steps one curve for each of the chosen few. NaN stands for no value."""
    rows = [{name: float(value) for name, value in step.items()} for step in steps]
    if len(rows) == 1:
        known = {name: value for name, value in rows[0].items() if value > 0 and name != "floor"}
        if not known:
            raise ArgumentError("val: no metric has a value above 0, so there is nothing to draw")
        return Chart("metrics", "", _by_name(known, "value"), rows, width=5.2, height=0.8 + 0.28 * len(known))
    names = [name for name in rows[0] if any(math.isfinite(row[name]) for row in rows)]
    names = [name for name in names if name in _MEASURED or len(names) <= _CURVES][:_CURVES]
    panels = []
    for name in names:
        found = [(float(i), row[name]) for i, row in enumerate(rows) if math.isfinite(row[name])]
        low, high = (pick(y for _, y in found) for pick in (min, max))
        log = low > 0 and high > _WIDE * low
        marks: list[Mark] = [Line([x for x, _ in found], [y for _, y in found], BLUE)]
        marks.append(Points([x for x, _ in found], [y for _, y in found], BLUE, filled=True))
        label = METRICS[name].label if name in METRICS else name
        panels.append(Panel(Scale("step"), Scale("", "log" if log else "linear"), marks, label))
    return Chart("metrics", "", panels, rows, min(3, len(panels)), 8.6 if len(panels) > 1 else 4.4, 2.0)


def plan_chart(plan: Any) -> Chart:
    """Where the trials of each group lie on the axis of bias decays, and the predicted critical value."""
    names = tuple(group.label for group in plan.groups)
    criticals = [(i, g.critical) for i, g in enumerate(plan.groups) if g.critical and math.isfinite(g.critical)]
    axis = BiasAxis.covering([d for group in plan.groups for d in group.bias_decays] + [c for _, c in criticals])
    found = [(decay, i) for i, group in enumerate(plan.groups) for decay in group.bias_decays]
    marks = [
        Points([decay for decay, _ in found], [float(i) for _, i in found], BLUE, label="trials"),
        Points([c for _, c in criticals], [float(i) for i, _ in criticals], VERMILLION, "D", filled=True, size=5),
    ]
    caption = f"Trials of the study {plan.study.name} by bias decay, and the critical value that theory predicts."
    rows = [{"networks": names[i], "bias_decay": decay, "critical": plan.groups[i].critical} for decay, i in found]
    keys = [Key("trials", BLUE, "o", dash=None), Key("critical λ_b*", VERMILLION, "D", filled=True, dash=None)]
    panel = Panel(Scale("bias regularization λ_b", "bias", bias=axis), Scale("", "category", names=names), marks)
    return Chart("plan", caption, [panel], rows, width=7.2, height=0.7 + 0.28 * len(names), keys=keys)


def diagnosis_chart(d: Any) -> Chart:
    """Predicted and measured cosines of the class means, and the parts of the excess where it is known."""
    shown = _shown(np.flatnonzero(d.collapse.geometry.present))
    sides = [("measured", d.collapse.geometry)]
    if d.prediction is not None:
        sides.insert(0, ("predicted", d.prediction.geometry))
    panels = [_cosines(geometry, shown, f"cosines, {name}") for name, geometry in sides]
    caption = "Cosines between the class means, uncentered" + (": predicted and measured." if d.prediction else ".")
    if d.excess is not None:
        caption += " Right: where the excess of the loss over the certified minimum lies."
        e, names = d.excess, ("unbalanced\nlayers", "within\nclasses", "between\nclasses")
        bars = Bars([0, 1, 2], [max(v, 0.0) for v in (e.unbalanced, e.within, e.between)], (BLUE, VERMILLION, GREEN))
        title = f"excess {e.total:.3g}\nover the minimum {e.lower_bound:.3g}"
        panels.append(Panel(Scale("", "category", names=names), Scale("loss"), [bars], title))
    matrices = {name: geometry.cosines() for name, geometry in sides}
    rows = [
        {"class_1": int(k), "class_2": int(l)} | {name: float(c[k, l]) for name, c in matrices.items()}
        for i, k in enumerate(shown)
        for l in shown[:i]  # noqa: E741 (the notation table's letters)
    ]
    width = _SIDE * len(panels) + 0.6
    return Chart("diagnosis", caption, panels, rows, len(panels), width, 2.7, heat_label="cosine")


def _shown(classes: IntArray) -> IntArray:
    return classes[:: -(-len(classes) // _LARGEST) or 1]


def _left_out(shown: IntArray, number: int) -> str:
    return "" if number <= _LARGEST else f" Of {number} classes, {len(shown)} at even steps."


def _classes(shown: IntArray) -> Scale:
    names = tuple(str(k) for k in shown) if len(shown) <= _NAMED else ()
    return Scale("class", "category", names=names) if names else Scale("class", limits=(-0.6, len(shown) - 0.4))


def _matrix(values: FloatArray, limit: float, title: str) -> Panel:
    heat = Heat(values, (-limit, limit), "diverging")
    return Panel(Scale("class"), Scale("class"), [heat], title, bare=True, square=True)


def _cosines(geometry: Any, shown: IntArray, title: str, *, centered: bool = False) -> Panel:
    return _matrix(geometry.cosines(centered=centered)[np.ix_(shown, shown)], 1.0, title)


def _by_name(values: Mapping[str, float], label: str) -> list[Panel]:
    """Values above 0 by their name on a logarithmic axis of whole decades."""
    names = tuple(METRICS[name].label if name in METRICS else name.replace("_", " ") for name in values)
    texts = [f"{name}: {value:.4g}" for name, value in zip(names, values.values(), strict=True)]
    points = Points(list(values.values()), list(map(float, range(len(values)))), BLUE, filled=True, texts=texts)
    return [Panel(Scale(label, "log", limits=decades(values.values())), Scale("", "category", names=names), [points])]


def _of_matrices(name: str, caption: str, panels: Sequence[Panel], label: str, shown: IntArray) -> Chart:
    (heat,) = [mark for mark in panels[0].marks if isinstance(mark, Heat)]
    rows = [
        {"class_1": int(k), "class_2": int(l), "value": float(heat.values[i, j])}
        for i, k in enumerate(shown)
        for j, l in enumerate(shown)  # noqa: E741 (the notation table's letters)
    ]
    return Chart(name, caption, panels, rows, len(panels), _SIDE * len(panels) + 0.9, _SIDE, heat_label=label)


def _with_matrix(
    name: str,
    caption: str,
    matrix: Panel,
    others: Sequence[Panel],
    rows: Sequence[Mapping[str, Any]],
    *,
    before: bool = False,
) -> Chart:
    """A matrix of cosines with further panels beside it, or before it."""
    panels = [*others, matrix] if before else [matrix, *others]
    width = _SIDE * (1 + 1.25 * len(others)) + 0.6
    return Chart(name, caption, panels, rows, len(panels), width, _SIDE, heat_label="cosine")
