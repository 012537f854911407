"""The transition: how the angles of the uncentred class means follow the bias regularisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from encollapse.present.families import Family, by_panel
from encollapse.present.figures import curves
from encollapse.present.figures.axis import BiasAxis
from encollapse.present.figures.figure import Drawing
from encollapse.present.style import house_style

NAME = "transition"


def transition(members: Sequence[Family]) -> Drawing | None:
    """Mean cosine of uncentred class means against ``λ_b``: theory as lines, networks as points.

    Returns
    -------
    Drawing or None
        None if no family has networks at two bias decays or more.
    """
    shown = curves.varied(members)
    if not shown:
        return None
    axis = BiasAxis.covering(value for family in shown for value in family.bias_decays)
    groups, looks = by_panel(shown), curves.looks(shown)
    rows: list[dict[str, Any]] = []
    with house_style(NAME):
        figure, all_axes = curves.curve_panels(list(groups), axis, height=3.7)
        for axes, group in zip(all_axes, groups.values(), strict=True):
            for family in group:
                rows += _draw_theory(axes, axis, family, looks[family][0])
                rows += _draw_networks(axes, axis, family, looks[family])
            num_classes = len(group[0].trials[0].record["counts"])
            last = axes is all_axes[-1]
            curves.draw_reference(axes, -1 / (num_classes - 1), "simplex\nframe" if last else None)
            curves.draw_reference(axes, 0.0, "orthogonal\nframe" if last else None)
        all_axes[0].margins(y=0.1)
        all_axes[0].set_ylabel("mean cosine of class means")
        curves.legend(figure, groups.values(), looks)
    caption = (
        "Mean cosine between the uncentred class means against the bias regularisation. Lines: the exact "
        "minimiser of the unrestricted feature model. Open marks: trained networks, one a seed. Filled diamond "
        "and vertical line: the critical bias decay λ_b*, above which the class means have a common component. "
        "Dotted: the simplex equiangular tight frame and the orthogonal frame. 0 and ∞ stand beyond the breaks of "
        "the axis."
    )
    return Drawing(NAME, caption, figure, rows)


def _draw_theory(axes: Axes, axis: BiasAxis, family: Family, colour: str) -> list[dict[str, Any]]:
    decays = curves.theory_grid(axis, family)
    path = family.path(decays)
    if path is None:
        return []
    curves.draw_theory(axes, axis, decays, path.mean_cosine, colour)
    critical = family.critical
    at_critical = None if critical is None or not axis.holds(critical) else family.path([critical])
    if critical is not None and at_critical is not None:
        curves.draw_critical(axes, critical, float(at_critical.mean_cosine[0]), colour)
    return [
        _row(family, "predicted", decay, "", cosine)
        for decay, cosine in zip(decays.tolist(), path.mean_cosine.tolist(), strict=True)
    ]


def _draw_networks(axes: Axes, axis: BiasAxis, family: Family, look: tuple[str, str]) -> list[dict[str, Any]]:
    measured = [
        (float(result.settings["bias_decay"]), result.settings["seed"], result.record["mean_cosine"])
        for result in family.trials
    ]
    # Where a class has no predicted mean, the angles of what was measured there are noise.
    defined = [(result.record["prediction"] or {"mean_cosine": 0})["mean_cosine"] for result in family.trials]
    points = [
        (decay, cosine)
        for (decay, _, cosine), prediction in zip(measured, defined, strict=True)
        if cosine is not None and prediction is not None
    ]
    curves.draw_points(axes, axis, points, look)
    return [_row(family, "measured", decay, seed, cosine) for decay, seed, cosine in measured]


def _row(family: Family, kind: str, decay: float, seed: Any, cosine: float | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "encoding": family.encoding,
        "panel": family.panel,
        "bias_decay": decay,
        "seed": seed,
        "mean_cosine": "" if cosine is None else cosine,
    }
