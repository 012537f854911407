"""Figures of one measurement: cosines of class means, their distribution, and the spread of each class."""

from __future__ import annotations

import numpy as np

from encollapse._internal.format import fixed
from encollapse.report.charts import Drawing
from encollapse.report.measurement_facts import ClassDetails
from encollapse.report.style import BLUE, DIVERGING, GREY, INK, VERMILLION, house_style, panels

_NAMED = 30
"""Up to so many classes have their number at the axis."""


def cosine_figure(details: ClassDetails) -> Drawing | None:
    """Heat map and histogram of the cosines between centered class means, or None below two classes."""
    size = len(details.shown)
    if size < 2:
        return None
    name, simplex = "cosines", -1 / (len(details.classes) - 1)
    rows, columns = np.triu_indices(size, 1)
    pairs = details.cosines[rows, columns]
    known = pairs[~np.isnan(pairs)]
    with house_style(name):
        figure, grid = panels(2, width=7.6, height=3.4)
        left, right = grid[0]
        image = left.imshow(details.cosines, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="none")
        image.set_gid("cosine-matrix")
        ticks = range(size) if size <= _NAMED else []
        left.set_xticks(ticks, [str(details.shown[i]) for i in ticks])
        left.set_yticks(ticks, [str(details.shown[i]) for i in ticks])
        left.tick_params(length=0, labelsize=7 if size <= 15 else 5)
        for spine in left.spines.values():
            spine.set(visible=True, linewidth=0.6, color=GREY)
        left.set_xlabel("class")
        left.set_ylabel("class")
        left.set_title("cosine of centered means", fontsize=8)
        bar = figure.colorbar(image, ax=left, shrink=0.85)
        bar.outline.set(linewidth=0.5, edgecolor=GREY)
        low = min(float(known.min(initial=0.0)), simplex)
        high = max(float(known.max(initial=0.0)), simplex)
        edges = np.linspace(low - 0.02, high + 0.02, min(60, 8 + len(known) // 4) + 1)
        right.hist(known, edges.tolist(), color=BLUE, alpha=0.85)
        right.axvline(simplex, color=VERMILLION, linewidth=1.2)
        right.annotate(
            f"simplex: {fixed(simplex, 3)}",
            (simplex, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2),
            textcoords="offset points",
            color=VERMILLION,
            fontsize=7.5,
            va="top",
        )
        right.set_xlabel("cosine of centered means")
        right.set_ylabel("pairs of classes")
    some = "" if size == len(details.classes) else f" of {size} of the {len(details.classes)} classes"
    caption = (
        f"Cosines between class means{some} about the global mean. Left: one row and column a class. Right: how they "
        f"are distributed over the {len(known)} pairs; the line is where all of them stand in a simplex "
        "equiangular tight frame."
    )
    data = [
        {"class_1": int(details.shown[i]), "class_2": int(details.shown[j]), "cosine": float(c)}
        for i, j, c in zip(rows, columns, pairs, strict=True)
    ]
    return Drawing(name, caption, data, drawn=figure)


def spread_figure(details: ClassDetails) -> Drawing | None:
    """Noise of each class, in order, or None where it is not known."""
    noise = details.noise
    order = np.flatnonzero(np.isfinite(noise))
    order = order[np.argsort(-noise[order], kind="stable")]
    if not len(order):
        return None
    name = "class-spread"
    with house_style(name):
        figure, grid = panels(1, width=7.6, height=2.5)
        axes = grid[0][0]
        places = np.arange(len(order))
        axes.bar(places, noise[order], width=0.8 if len(order) <= _NAMED else 1.0, color=BLUE)
        axes.axhline(1, color=VERMILLION, linewidth=1)
        ticks = places if len(order) <= _NAMED else places[:0]
        axes.set_xticks(ticks, [str(details.classes[order[i]]) for i in ticks])
        axes.set_xlim(-0.6, len(order) - 0.4)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("class" if len(ticks) else f"{len(order)} classes, the noisiest first", color=INK)
        axes.set_ylabel("noise")
    caption = (
        "How far each class is from collapsed: root mean square distance of its samples from their mean, over half "
        "the distance to the nearest other mean. Zero is collapsed; at the line, balls of that radius touch, "
        "which in many dimensions is still far from confusion."
    )
    data = [{"class": int(details.classes[i]), "noise": float(noise[i])} for i in order]
    return Drawing(name, caption, data, drawn=figure)
