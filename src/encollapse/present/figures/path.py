"""The exact transition of one problem, without any network: angles and bias against ``λ_b``."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from encollapse import ufm
from encollapse._typing import FloatArray
from encollapse.present.figures import curves
from encollapse.present.figures.axis import BiasAxis
from encollapse.present.figures.figure import Drawing
from encollapse.present.style import BLUE, house_style, panels

NAME = "path"

_RANGE = (1e-3, 1e3)
_POINTS = 121


def path_figure(problem: ufm.Problem) -> Drawing:
    """Mean cosine of the class means, and norm of the bias, of the minimiser against the bias decay.

    Parameters
    ----------
    problem : Problem
        Its own bias decay is ignored; the axis holds 0, ∞ and the critical value.
    """
    critical = problem.critical_bias_decay()
    axis = BiasAxis.covering([*_RANGE, *([] if critical is None else [critical])])
    known = [] if critical is None else [critical]
    decays = np.unique([0.0, *axis.grid(_POINTS), *known, math.inf])
    path = ufm.bias_path(problem, decays)
    norms = np.array([float(np.linalg.norm(solution.bias)) for solution in path.solutions])
    with house_style(NAME):
        figure, grid = panels(2, width=8.6, height=3.3)
        cosines, biases = grid[0]
        _draw(cosines, axis, decays, path.mean_cosine, critical)
        _draw(biases, axis, decays, norms, critical, value=False)
        curves.draw_reference(cosines, -1 / (problem.encoding.num_classes - 1), "simplex\nframe")
        curves.draw_reference(cosines, 0.0, "orthogonal\nframe")
        cosines.margins(y=0.1)
        cosines.set_ylabel("mean cosine of class means")
        biases.set_ylim(bottom=-0.04 * max(norms.max(), 1e-300))
        biases.set_ylabel("|bias|")
    caption = (
        f"Exact minimiser of the unrestricted feature model, {problem.encoding.name} labels, "
        f"{problem.encoding.num_classes} classes: mean cosine between the uncentred class means, and norm of the "
        "bias, against the bias regularisation."
    )
    rows = [
        {"bias_decay": decay, "mean_cosine": cosine, "bias_norm": norm}
        for decay, cosine, norm in zip(
            decays.tolist(), path.mean_cosine.tolist(), norms.tolist(), strict=True
        )
    ]
    return Drawing(NAME, caption, figure, rows)


def _draw(
    axes: Axes,
    axis: BiasAxis,
    decays: FloatArray,
    values: FloatArray,
    critical: float | None,
    *,
    value: bool = True,
) -> None:
    axis.draw(axes)
    curves.draw_theory(axes, axis, decays, values, BLUE)
    if critical is not None and axis.holds(critical):
        curves.draw_critical(axes, critical, float(values[decays == critical][0]), BLUE, value=value)
