"""Rare and frequent classes: lengths of the class means and distances to the nearest, in the order of the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal.format import number_label
from encollapse._internal.typing import FloatArray
from encollapse.geometry import ClassGeometry
from encollapse.report.charts import Chart, Drawing, Key, Line, Mark, Panel, Points, Scale
from encollapse.report.figures.series import chosen_decays, numbered, of_trial, parts
from encollapse.report.style import MARKERS, shades
from encollapse.study.families import Family, counts_of, measured_kinds, told_apart

NAME = "imbalance"

_DECAYS = 4  # marks of one class that can be told apart
_COLUMNS = 4  # what a line of the page holds
_MARKED = 60
"""Above so many classes, marks are drawn without their edge."""


def imbalance(members: Sequence[Family]) -> list[Drawing]:
    """Norms of the class means and distances between them, predicted and measured, or none without rare classes."""
    shown = [f for f in members if f.has_rare_classes]
    return numbered([_chart(page) for page in parts(shown, _COLUMNS)])


def _chart(members: Sequence[Family]) -> Chart:
    rows: list[dict[str, Any]] = []
    decays = sorted({decay for family in members for decay in chosen_decays(family, _DECAYS)})
    colors = dict(zip(decays, shades(len(decays)), strict=True))
    markers = dict(zip(decays, MARKERS * (1 + len(decays) // len(MARKERS)), strict=False))
    norms: list[Panel] = []
    distances: list[Panel] = []
    shared, titles = told_apart(members) if len(members) > 1 else ("", [members[0].label])
    for family, title in zip(members, titles, strict=True):
        counts = np.sort(family.counts)[::-1]
        names = _names(counts)
        marks: tuple[list[Mark], list[Mark]] = ([], [])
        for decay in chosen_decays(family, _DECAYS):
            _draw(family, decay, colors[decay], markers[decay], marks, rows)
        scale = Scale("classes by count", limits=(-0.6, len(counts) - 0.4))
        ticks = Scale("samples of the class", "category", names=names) if names else scale
        for panels, label, name, drawn in (
            (norms, "norm of class mean", title, marks[0]),
            (distances, "distance to nearest", "", marks[1]),
        ):
            panels.append(Panel(ticks, Scale(label, limits=_from_zero(drawn)), drawn, name))
    alike = [*{family.encoding for family in members}, shared]
    about = ", ".join(part for part in alike if part) if len(members) > 1 and len(alike) == 2 else shared
    caption = (
        f"Class means by the size of their class{f', {about}' if about else ''}. The largest class is on the left. "
        "Above, the norm of the uncentered mean. Below, the distance to the nearest other class mean. A distance of 0 "
        "means that classes have merged, and a norm of 0 that the class is not learned at all. Lines: the exact "
        f"minimizer. Marks: {measured_kinds(members)}, mean over seeds with bars from the lowest to the highest."
    )
    keys = [Key(f"λ_b = {number_label(d)}", colors[d], markers[d]) for d in decays]
    return Chart(
        NAME,
        caption,
        [*norms, *distances],
        rows,
        columns=len(members),
        width=8.6 if len(members) > 1 else 7.2,
        height=2.3,
        keys=keys,
        row_heights=(1.0, 1.0),
    )


def _draw(
    family: Family,
    decay: float,
    color: str,
    marker: str,
    marks: tuple[list[Mark], list[Mark]],
    rows: list[dict[str, Any]],
) -> None:
    found = [(result, *result.geometries()) for result in family.at(decay)]
    orders = {result.id: np.argsort(-counts_of(result), kind="stable") for result, *_ in found}
    first, predicted, _ = found[0]
    places = np.arange(len(orders[first.id]), dtype=float)
    for panel, read in zip(marks, (_norms, _nearest), strict=True):
        if predicted is not None:
            panel.append(Line(places.tolist(), read(predicted)[orders[first.id]].tolist(), color))
        values = np.array([read(measured)[orders[result.id]] for result, _, measured in found])
        panel.append(
            Points(
                places.tolist(),
                values.mean(axis=0).tolist(),
                color,
                marker,
                size=4.0 if len(places) <= _MARKED else 2.0,
                low=values.min(axis=0).tolist(),
                high=values.max(axis=0).tolist(),
                label=f"λ_b = {number_label(decay)}",
            )
        )
    for result, predicted, measured in found:
        for k, count in enumerate(counts_of(result).tolist()):
            rows.append(
                {"family": family.label}
                | of_trial(result)
                | {
                    "class": k,
                    "count": count,
                    "norm_predicted": None if predicted is None else float(_norms(predicted)[k]),
                    "norm_measured": float(_norms(measured)[k]),
                    "nearest_predicted": None if predicted is None else float(_nearest(predicted)[k]),
                    "nearest_measured": float(_nearest(measured)[k]),
                }
            )


def _from_zero(marks: Sequence[Mark]) -> tuple[float, float]:
    """Limits from 0, where a class is lost, to a little above the highest mark."""
    highs = [
        max(mark.high if isinstance(mark, Points) and mark.high else mark.y)
        for mark in marks
        if isinstance(mark, Line | Points)
    ]
    top = max(highs, default=1.0) or 1.0
    return -0.04 * top, 1.08 * top


def _norms(geometry: ClassGeometry) -> FloatArray:
    return np.sqrt(np.clip(np.diag(geometry.feature_gram), 0.0, None))


def _nearest(geometry: ClassGeometry) -> FloatArray:
    """Distance of each class mean to the nearest other."""
    squares = np.diag(geometry.feature_gram)
    between = squares[:, None] + squares[None, :] - 2 * geometry.feature_gram
    np.fill_diagonal(between, np.inf)
    return np.asarray(np.sqrt(np.clip(np.nanmin(between, axis=1), 0.0, None)))


def _names(counts: Any) -> tuple[str, ...]:
    """Counts as ticks where there is room. Where neighbors agree, only the first is written."""
    if len(counts) > 14:
        return ()
    return tuple(str(n) if i == 0 or n != counts[i - 1] else "" for i, n in enumerate(counts.tolist()))
