"""The transition: how the angles of the uncentered class means follow the bias regularization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encollapse._internal.format import number_label
from encollapse.report.charts import Chart, Drawing, Mark, Panel, Points, Rule, Scale
from encollapse.report.charts.bias_axis import BiasAxis
from encollapse.report.figures import series
from encollapse.report.figures.series import BARS, Series, Sheet, spread
from encollapse.study.families import Family
from encollapse.study.results import TrialResult

NAME = "transition"

_SAME = 0.02  # relative difference below which two critical bias decays are drawn as one


def transition(members: Sequence[Family]) -> list[Drawing]:
    """Mean cosine of uncentered class means against ``λ_b``: theory as lines, networks as points.

    Returns
    -------
    list of Drawing
        Sheets of up to twelve panels; none if no family has networks at two bias decays or more.
    """
    shown = series.varied(members)
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    return series.numbered([_chart(sheet, axis) for sheet in series.sheets(shown)])


def _chart(sheet: Sheet, axis: BiasAxis) -> Chart:
    rows: list[dict[str, Any]] = []
    panels = []
    for place, (title, group) in enumerate(sheet.panels):
        last = place == sheet.columns - 1 or len(sheet.panels) == 1
        marks: list[Mark] = [
            Rule(-1 / (len(group[0].family.counts) - 1), name="simplex\nframe" if last else ""),
            Rule(0.0, name="orthogonal\nframe" if last else ""),
        ]
        for one in series.in_gray(group):
            marks += _theory(one, axis, marks, rows, named=len(sheet.panels) <= 3)
        for one in group:
            marks += _networks(one, rows)
        panels.append(Panel(series.bias_scale(axis), Scale("mean cosine of class means"), marks, title))
    caption = (
        "Mean cosine between the uncentered class means against the bias regularization. Lines: the exact "
        f"minimizer of the unrestricted feature model. Open marks: trained networks; {BARS}. Filled diamond "
        "and vertical line: the critical bias decay λ_b*, above which the class means have a common component. "
        "Dotted: the simplex equiangular tight frame and the orthogonal frame. 0 and ∞ stand beyond the breaks of "
        "the axis."
    )
    return sheet.chart(NAME, caption, panels, rows, heights=(3.4, 2.6))


def _theory(
    one: Series, axis: BiasAxis, before: Sequence[Mark], rows: list[dict[str, Any]], *, named: bool
) -> list[Mark]:
    family = one.family
    critical = family.critical if family.critical is not None and axis.holds(family.critical) else None
    decays = series.theory_grid(axis, family, critical)
    path = family.path(decays)
    if path is None:
        return []
    cosines = path.mean_cosine
    rows += [
        series.csv_row(family, "predicted", decay, "", mean_cosine=cosine)
        for decay, cosine in zip(decays.tolist(), cosines.tolist(), strict=True)
    ]
    marks: list[Mark] = [series.theory_line(decays, cosines, one)]
    if critical is None:
        return marks
    at = float(cosines[decays == critical][0])
    marks.append(Points([critical], [at], one.look.color, "D", filled=True, size=5, label=one.label))
    marked = [mark.value for mark in before if isinstance(mark, Rule) and not mark.across]
    if not any(abs(critical / other - 1) < _SAME for other in marked):
        name = f"λ_b* = {number_label(critical)}" if named and not marked else ""
        marks.append(Rule(critical, across=False, name=name, color=one.look.color, dash="dashed"))
    return marks


def _networks(one: Series, rows: list[dict[str, Any]]) -> list[Mark]:
    family = one.family
    rows += [
        series.csv_row(
            family, "measured", float(r.settings["bias_decay"]), r.settings["seed"], mean_cosine=_measured(r)
        )
        for r in family.trials
    ]
    found = [(decay, spread(family.at(decay), _shown)) for decay in family.bias_decays]
    return [series.network_points([(decay, value) for decay, value in found if value is not None], one, "mean cosine")]


def _measured(result: TrialResult) -> float | None:
    return result.record.mean_cosine


def _shown(result: TrialResult) -> float | None:
    """The measured cosine; where a class has no predicted mean, the angles of what was measured are noise."""
    prediction = result.record.prediction
    if prediction is not None and prediction.mean_cosine is None:
        return None
    return _measured(result)
