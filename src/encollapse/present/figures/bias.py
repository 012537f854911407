"""What the bias takes up of the label mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from encollapse.present.families import Family, by_panel
from encollapse.present.figures import curves
from encollapse.present.figures.axis import BiasAxis
from encollapse.present.figures.figure import Drawing
from encollapse.present.style import house_style

NAME = "bias"

_CENTRED = 1e-12  # a label mean shorter than this is zero up to rounding, and no ratio can be formed


def bias_curves(members: Sequence[Family]) -> Drawing | None:
    """Norm of the bias, in units of the label mean's, against ``λ_b``.

    Returns
    -------
    Drawing or None
        None if no family with an uncentred encoding has networks at two bias decays or more.
    """
    candidates = curves.varied(members)
    shown = [family for family in candidates if family.label_mean_norm > _CENTRED]
    if not shown:
        return None
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    groups, looks = by_panel(shown), curves.looks(candidates)
    rows: list[dict[str, Any]] = []
    with house_style(NAME):
        figure, all_axes = curves.curve_panels(list(groups), axis, height=3.3)
        for axes, group in zip(all_axes, groups.values(), strict=True):
            curves.draw_reference(axes, 1.0, "label mean" if axes is all_axes[-1] else None)
            for family in group:
                rows += _draw_theory(axes, axis, family, looks[family][0])
                rows += _draw_networks(axes, axis, family, looks[family])
        all_axes[0].set_ylim(-0.06, 1.14)
        all_axes[0].set_ylabel("|bias| / |label mean|")
        curves.legend(figure, groups.values(), looks)
    centred = [family.label for family in candidates if family not in shown]
    note = f" Left out, for the mean of their labels is zero: {'; '.join(centred)}." if centred else ""
    caption = (
        "Norm of the last layer's bias, in units of the norm of the label mean ē = Σ π_k e_k. Lines: the exact "
        "minimiser. Open marks: trained networks. A free bias (λ_b = 0) equals the label mean and centres the "
        f"labels; the more it is regularised, the more of the label mean the features must carry.{note}"
    )
    return Drawing(NAME, caption, figure, rows)


def _draw_theory(axes: Axes, axis: BiasAxis, family: Family, colour: str) -> list[dict[str, Any]]:
    decays = curves.theory_grid(axis, family)
    path = family.path(decays)
    if path is None:
        return []
    norms = np.array([float(np.linalg.norm(solution.bias)) for solution in path.solutions])
    curves.draw_theory(axes, axis, decays, norms / family.label_mean_norm, colour)
    return [
        _row(family, "predicted", decay, "", norm)
        for decay, norm in zip(decays.tolist(), norms.tolist(), strict=True)
    ]


def _draw_networks(axes: Axes, axis: BiasAxis, family: Family, look: tuple[str, str]) -> list[dict[str, Any]]:
    points, rows = [], []
    for result in family.trials:
        bias = result.geometries()[1].bias
        if bias is not None:
            norm, decay = float(np.linalg.norm(bias)), float(result.settings["bias_decay"])
            points.append((decay, norm / family.label_mean_norm))
            rows.append(_row(family, "measured", decay, result.settings["seed"], norm))
    curves.draw_points(axes, axis, points, look)
    return rows


def _row(family: Family, kind: str, decay: float, seed: Any, norm: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "encoding": family.encoding,
        "panel": family.panel,
        "bias_decay": decay,
        "seed": seed,
        "bias_norm": norm,
        "label_mean_norm": family.label_mean_norm,
    }
