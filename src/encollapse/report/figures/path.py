"""The exact transition of one problem, without any network: angles and bias against ``λ_b``."""

from __future__ import annotations

import math

import numpy as np

from encollapse import ufm
from encollapse._internal.format import number_label
from encollapse._internal.typing import FloatArray
from encollapse.report.charts import Chart, Drawing, Line, Mark, Panel, Points, Rule, Scale, drawing
from encollapse.report.charts.bias_axis import BiasAxis
from encollapse.report.figures import series
from encollapse.report.style import BLUE

NAME = "path"

_RANGE = (1e-3, 1e3)
_POINTS = 121


def path_figure(problem: ufm.Problem) -> Drawing:
    """Mean cosine of the class means, and norm of the bias, of the minimizer against the bias decay.

    Parameters
    ----------
    problem : Problem
        Its own bias decay is ignored; the axis holds 0, ∞ and the critical value.
    """
    critical = problem.critical_bias_decay()
    known = [] if critical is None else [critical]
    axis = BiasAxis.covering([*_RANGE, *known])
    decays = np.unique([0.0, *axis.grid(_POINTS), *known, math.inf])
    path = ufm.bias_path(problem, decays)
    norms = np.array([float(np.linalg.norm(solution.bias)) for solution in path.solutions])
    marked = critical if critical is not None and axis.holds(critical) else None
    scale = series.bias_scale(axis)
    simplex = -1 / (problem.encoding.num_classes - 1)
    cosines = [
        Rule(simplex, name="simplex\nframe"),
        Rule(0.0, name="orthogonal\nframe"),
        *_marks(decays, path.mean_cosine, marked, named=True),
    ]
    biases = _marks(decays, norms, marked, named=False)
    caption = (
        f"Exact minimizer of the unrestricted feature model, {problem.encoding.name} labels, "
        f"{problem.encoding.num_classes} classes: mean cosine between the uncentered class means, and norm of the "
        "bias, against the bias regularization."
    )
    rows = [
        {"bias_decay": decay, "mean_cosine": cosine, "bias_norm": norm}
        for decay, cosine, norm in zip(decays.tolist(), path.mean_cosine.tolist(), norms.tolist(), strict=True)
    ]
    top = max(float(norms.max()), 1e-300)
    panels = [
        Panel(scale, Scale("mean cosine of class means"), cosines),
        Panel(scale, Scale("|bias|", limits=(-0.04 * top, 1.06 * top)), biases),
    ]
    return drawing(Chart(NAME, caption, panels, rows, columns=2, height=2.8))


def _marks(decays: FloatArray, values: FloatArray, critical: float | None, *, named: bool) -> list[Mark]:
    marks: list[Mark] = [Line(decays.tolist(), values.tolist(), BLUE)]
    if critical is not None:
        at = float(values[decays == critical][0])
        name = f"λ_b* = {number_label(critical)}" if named else ""
        marks.append(Rule(critical, across=False, name=name, color=BLUE, dash="dashed"))
        marks.append(Points([critical], [at], BLUE, "D", filled=True, size=5))
    return marks
