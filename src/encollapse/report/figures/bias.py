"""What the bias takes up of the label mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse.report.charts import Chart, Drawing, Mark, Panel, Rule, Scale
from encollapse.report.charts.bias_axis import BiasAxis
from encollapse.report.figures import series
from encollapse.report.figures.series import BARS, Series, Sheet, spread
from encollapse.study.families import Family
from encollapse.study.results import TrialResult

NAME = "bias"

_CENTRED = 1e-12  # a label mean shorter than this is zero up to rounding, and no ratio can be formed


def bias_curves(members: Sequence[Family]) -> list[Drawing]:
    """Norm of the bias, in units of the label mean's, against ``λ_b``.

    Returns
    -------
    list of Drawing
        None if no family with an uncentered encoding has networks at two bias decays or more.
    """
    candidates = series.varied(members)
    shown = [family for family in candidates if family.label_mean_norm > _CENTRED]
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    centered = dict.fromkeys(family.encoding for family in candidates if family not in shown)
    note = f" Left out, for the mean of their labels is zero: {'; '.join(centered)}." if centered else ""
    return series.numbered([_chart(sheet, axis, note) for sheet in series.sheets(candidates, keep=shown.__contains__)])


def _chart(sheet: Sheet, axis: BiasAxis, note: str) -> Chart:
    rows: list[dict[str, Any]] = []
    panels = []
    for place, (title, group) in enumerate(sheet.panels):
        last = place == sheet.columns - 1 or len(sheet.panels) == 1
        marks: list[Mark] = [Rule(1.0, name="label mean" if last else "")]
        for one in series.in_gray(group):
            marks += _theory(one, axis, rows)
        for one in group:
            marks += _networks(one, rows)
        panels.append(
            Panel(series.bias_scale(axis), Scale("|bias| / |label mean|", limits=(-0.06, 1.14)), marks, title)
        )
    caption = (
        "Norm of the last layer's bias, in units of the norm of the label mean ē = Σ π_k e_k. Lines: the exact "
        f"minimizer. Open marks: trained networks; {BARS}. A free bias (λ_b = 0) equals the label mean and centers "
        "the labels; the more it is regularized, the more of the label mean the features must carry."
        f"{note}"
    )
    return sheet.chart(NAME, caption, panels, rows, heights=(3.0, 2.4))


def _theory(one: Series, axis: BiasAxis, rows: list[dict[str, Any]]) -> list[Mark]:
    family = one.family
    decays = series.theory_grid(axis, family)
    path = family.path(decays)
    if path is None:
        return []
    norms = np.array([float(np.linalg.norm(solution.bias)) for solution in path.solutions])
    rows += [
        _row(family, "predicted", decay, "", norm) for decay, norm in zip(decays.tolist(), norms.tolist(), strict=True)
    ]
    return [series.theory_line(decays, norms / family.label_mean_norm, one)]


def _networks(one: Series, rows: list[dict[str, Any]]) -> list[Mark]:
    family = one.family
    norms: dict[str, float] = {}
    for result in family.trials:
        bias = result.geometries()[1].bias
        if bias is not None:
            norms[result.id] = float(np.linalg.norm(bias))
            decay = float(result.settings["bias_decay"])
            rows.append(_row(family, "measured", decay, result.settings["seed"], norms[result.id]))

    def ratio(result: TrialResult) -> float | None:
        return norms[result.id] / family.label_mean_norm if result.id in norms else None

    found = [(decay, spread(family.at(decay), ratio)) for decay in family.bias_decays]
    kept = [(decay, value) for decay, value in found if value is not None]
    return [series.network_points(kept, one, "|bias| / |label mean|")]


def _row(family: Family, kind: str, decay: float, seed: Any, norm: float) -> dict[str, Any]:
    ratio = {"bias_norm": norm, "label_mean_norm": family.label_mean_norm}
    return series.csv_row(family, kind, decay, seed, **ratio)
