"""Curves over the bias regularization: the angles of the class means and the bias, predicted and trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.format import number_label
from encollapse._internal.typing import FloatArray
from encollapse.report.charts import BiasAxis, Chart, Drawing, Line, Mark, Panel, Points, Rule, Scale
from encollapse.report.figures.series import Series, Sheet, numbered, sheets, spread, varied
from encollapse.report.figures.values import path_chart
from encollapse.report.style import GREY, Look
from encollapse.study.families import Family, measured_kinds
from encollapse.study.results import TrialResult

_BARS = "error bars run from the lowest to the highest seed, a mark without them is a single seed"
_SAME = 0.02  # relative difference below which two critical bias decays are drawn as one
_CENTERED = 1e-12  # a label mean shorter than this is zero up to rounding, and no ratio can be formed

_SMALL = 91  # points of a curve in one of many panels, in place of 181

_PATH_RANGE, _PATH_POINTS = (1e-3, 1e3), 121  # bias decays of a curve, besides those of the trials


@dataclass(frozen=True)
class _Quantity:
    """What is drawn against the bias decay.

    Attributes
    ----------
    name : str
        Stem of the figure's files.
    column : str
        Name in the CSV file.
    text : str
        What the pointer is told.
    scale : Scale
        The axis along y.
    heights : (float, float)
        Of a row of up to two panels, and of more, in inches.
    predicted : callable
        Its values along a path of minimizers.
    measured : callable
        Its value of a trained network, or None where there is none.
    rules : callable
        Lines across a panel, with their names where the panel ends its row.
    hidden : callable
        Whether a network is left out of the picture.
    critical : bool
        Whether the critical bias decay is marked.
    unit : str
        Attribute of a family that the quantity is drawn in units of, a column of the CSV file too.
    """

    name: str
    column: str
    text: str
    scale: Scale
    heights: tuple[float, float]
    predicted: Callable[[ufm.BiasPath], FloatArray]
    measured: Callable[[TrialResult], float | None]
    rules: Callable[[Sequence[Series], bool], list[Mark]]
    hidden: Callable[[TrialResult], bool] = lambda result: False
    critical: bool = False
    unit: str = ""

    def row(self, family: Family, kind: str, decay: float, seed: Any, value: float | None) -> dict[str, Any]:
        """One number of a curve for the CSV file."""
        row = {"kind": kind, "encoding": family.encoding, "panel": family.panel, "bias_decay": decay, "seed": seed}
        return row | {self.column: value} | ({self.unit: getattr(family, self.unit)} if self.unit else {})

    def scaled(self, family: Family, value: Any) -> Any:
        """The value in its unit."""
        return value / getattr(family, self.unit) if self.unit else value


def transition(members: Sequence[Family]) -> list[Drawing]:
    """Mean cosine of uncentered class means against ``λ_b``: theory as lines, networks as points.

    Returns
    -------
    list of Drawing
        Sheets of up to twelve panels, or none if no family has networks at two bias decays or more.
    """
    shown = varied(members)
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    caption = (
        "Mean cosine between the uncentered class means against the bias regularization. Lines: the exact "
        f"minimizer of the unrestricted feature model. Open marks: {measured_kinds(shown)}; {_BARS}. Filled diamond "
        "and vertical line: the critical bias decay λ_b*, above which the class means have a common component, "
        "or where imbalance puts it to 0 the value at which they carry a tenth of what they carry without a bias. "
        "Dotted: the simplex equiangular tight frame and the orthogonal frame. 0 and ∞ stand beyond the breaks of "
        "the axis."
    )
    return numbered([_chart(sheet, axis, _COSINE, caption) for sheet in sheets(shown)])


def bias_curves(members: Sequence[Family]) -> list[Drawing]:
    """Norm of the bias, in units of the label mean's, against ``λ_b``.

    Returns
    -------
    list of Drawing
        None if no family with an uncentered encoding has networks at two bias decays or more.
    """
    candidates = varied(members)
    shown = [family for family in candidates if family.label_mean_norm > _CENTERED]
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    centered = dict.fromkeys(family.encoding for family in candidates if family not in shown)
    note = f" Left out, for the mean of their labels is zero: {'; '.join(centered)}." if centered else ""
    caption = (
        "Norm of the last layer's bias, in units of the norm of the label mean ē = Σ π_k e_k. Lines: the exact "
        f"minimizer. Open marks: {measured_kinds(shown)}; {_BARS}. A free bias (λ_b = 0) equals the label mean and "
        "centers the labels. The more it is regularized, the more of the label mean the features must carry."
        f"{note}"
    )
    return numbered([_chart(sheet, axis, _BIAS, caption) for sheet in sheets(candidates, keep=shown.__contains__)])


def path_figure(problem: ufm.Problem) -> Drawing:
    """Mean cosine of the class means, and norm of the bias, of the minimizer against the bias decay.

    Parameters
    ----------
    problem : Problem
        Its own bias decay is ignored. The axis holds 0, ∞ and the critical value.
    """
    critical, _ = problem.turning_point()
    known = [] if critical is None else [critical]
    axis = BiasAxis.covering([*_PATH_RANGE, *known])
    decays = np.unique([0.0, *axis.grid(_PATH_POINTS), *known, math.inf])
    return Drawing(path_chart(ufm.bias_path(problem, decays)))


def _chart(sheet: Sheet, axis: BiasAxis, quantity: _Quantity, caption: str) -> Chart:
    rows: list[dict[str, Any]] = []
    panels = []
    for place, (title, group) in enumerate(sheet.panels):
        marks = quantity.rules(group, place == sheet.columns - 1 or len(sheet.panels) == 1)
        for one in _in_gray(group):
            marks += _theory(one, axis, quantity, marks, rows, large=len(sheet.panels) <= 3)
        marks += [_networks(one, quantity, rows) for one in group]
        panels.append(Panel(_along(axis), quantity.scale, marks, title))
    return sheet.chart(quantity.name, caption, panels, rows, heights=quantity.heights)


def _along(axis: BiasAxis) -> Scale:
    return Scale("bias regularization λ_b", "bias", bias=axis)


def _theory(
    one: Series, axis: BiasAxis, quantity: _Quantity, before: list[Mark], rows: list[dict[str, Any]], *, large: bool
) -> list[Mark]:
    """The prediction: 0 first, ∞ last, the networks' bias decays among those computed."""
    family = one.family
    critical, symbol = family.turning_point
    critical = critical if critical is not None and axis.holds(critical) else None
    grid = axis.grid() if large else axis.grid(_SMALL)
    # The same for every quantity, so that the path is solved once.
    decays = np.unique([0.0, *grid, *family.bias_decays, *([] if critical is None else [critical]), math.inf])
    path = family.path(decays)
    if path is None:
        return []
    values = quantity.predicted(path)
    found = zip(decays.tolist(), values.tolist(), strict=True)
    rows += [quantity.row(family, "predicted", decay, "", value) for decay, value in found]
    drawn = quantity.scaled(family, values)
    line = Line(decays.tolist(), drawn.tolist(), one.look.color, one.look.dash, label=one.label)
    others = [mark.value for mark in before if isinstance(mark, Rule) and not mark.across]
    if not quantity.critical:
        return [line]
    marks = _critical(decays, drawn, critical, one.look.color, symbol if large and not others else "", label=one.label)
    drawn_before = critical is not None and any(abs(critical / other - 1) < _SAME for other in others)
    return [line, *marks[drawn_before:]]


def _critical(
    decays: FloatArray, values: FloatArray, critical: float | None, color: str, symbol: str = "", *, label: str = ""
) -> list[Mark]:
    """The critical bias decay as a vertical line and a diamond on the curve."""
    if critical is None:
        return []
    name = f"{symbol} = {number_label(critical)}" if symbol else ""
    at = float(values[decays == critical][0])
    return [
        Rule(critical, across=False, name=name, color=color, dash="dashed"),
        Points([critical], [at], color, "D", filled=True, size=5, label=label),
    ]


def _networks(one: Series, quantity: _Quantity, rows: list[dict[str, Any]]) -> Mark:
    """Networks as open marks with error bars over seeds."""
    family = one.family
    values = {result.id: quantity.measured(result) for result in family.trials}
    rows += [
        quantity.row(family, "measured", float(r.settings["bias_decay"]), r.settings["seed"], values[r.id])
        for r in family.trials
    ]

    def drawn(result: TrialResult) -> float | None:
        value = values[result.id]
        return None if value is None or quantity.hidden(result) else float(quantity.scaled(family, value))

    spreads = [(decay, spread(family.at(decay), drawn)) for decay in family.bias_decays]
    found = [(decay, value) for decay, value in spreads if value is not None]
    return Points(
        [decay for decay, _ in found],
        [value.mean for _, value in found],
        one.look.color,
        one.look.marker,
        low=[value.low for _, value in found],
        high=[value.high for _, value in found],
        label=one.label,
        texts=[
            f"{one.label}, λ_b = {number_label(decay)}: {quantity.text} {value.mean:.5g}{value.seeds}"
            for decay, value in found
        ],
    )


def _in_gray(group: Sequence[Series]) -> list[Series]:
    """The series whose theory is to be drawn: one in gray if all have the same prediction, else all."""
    first = group[0].family
    same = len(group) > 1 and all(
        one.family.encoding == first.encoding and _same(one.family.problem, first.problem) for one in group
    )
    return [Series("", Look(GREY, "o", "solid"), first)] if same else list(group)


def _same(one: ufm.Problem | None, other: ufm.Problem | None) -> bool:
    """Equal minimizers up to a common factor: class frequencies, threshold and kind agree."""
    return bool(
        one is not None
        and other is not None
        and np.allclose(one.counts / one.counts.sum(), other.counts / other.counts.sum())
        and np.isclose(one.threshold, other.threshold)
        and (one.loss, one.features) == (other.loss, other.features)
    )


def _frames(num_classes: int, named: bool) -> list[Mark]:
    return [
        Rule(-1 / (num_classes - 1), name="simplex\nframe" if named else ""),
        Rule(0.0, name="orthogonal\nframe" if named else ""),
    ]


def _bias_norms(path: ufm.BiasPath) -> FloatArray:
    return np.array([float(np.linalg.norm(solution.bias)) for solution in path.solutions])


def _bias_norm(result: TrialResult) -> float | None:
    bias = result.geometries()[1].bias
    return None if bias is None else float(np.linalg.norm(bias))


def _without_means(result: TrialResult) -> bool:
    """Where a class has no predicted mean, the angles of what was measured are noise."""
    prediction = result.record.prediction
    return prediction is not None and prediction.mean_cosine is None


_COSINE = _Quantity(
    "transition",
    "mean_cosine",
    "mean cosine",
    Scale("mean cosine of class means"),
    (3.4, 2.6),
    predicted=lambda path: path.mean_cosine,
    measured=lambda result: result.record.mean_cosine,
    rules=lambda group, last: _frames(len(group[0].family.counts), last),
    hidden=_without_means,
    critical=True,
)

_BIAS = _Quantity(
    "bias",
    "bias_norm",
    "|bias| / |label mean|",
    Scale("|bias| / |label mean|", limits=(-0.06, 1.14)),
    (3.0, 2.4),
    predicted=_bias_norms,
    measured=_bias_norm,
    rules=lambda group, last: [Rule(1.0, name="label mean" if last else "")],
    unit="label_mean_norm",
)
