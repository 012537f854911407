"""Figures of one measurement: cosines of class means, their distribution, and the spread of each class."""

from __future__ import annotations

import numpy as np

from encollapse._internal.format import fixed
from encollapse.report.charts import Bars, Chart, Drawing, Heat, Line, Panel, Rule, Scale
from encollapse.report.measurement_facts import ClassDetails
from encollapse.report.style import BLUE, VERMILLION

_NAMED = 30
"""Up to so many classes have their number at the axis."""


def cosine_figure(details: ClassDetails) -> Drawing | None:
    """Heat map and histogram of the cosines between centered class means, or None below two classes."""
    size = len(details.shown)
    if size < 2:
        return None
    simplex, label = -1 / (len(details.classes) - 1), "cosine of centered means"
    rows, columns = np.triu_indices(size, 1)
    pairs = details.cosines[rows, columns]
    known = pairs[~np.isnan(pairs)]
    named = size <= _NAMED
    names = tuple(str(k) for k in details.shown)
    classes = Scale("class", "category", names=names) if named else Scale("class")
    matrix = Panel(classes, classes, [Heat(details.cosines, (-1.0, 1.0), "diverging")], bare=not named, square=True)
    ends = min(float(known.min(initial=0.0)), simplex) - 0.02, max(float(known.max(initial=0.0)), simplex) + 0.02
    counts, edges = np.histogram(known, min(60, 8 + len(known) // 4), range=ends)
    width = float(edges[1] - edges[0])
    bars = Bars((edges[:-1] + width / 2).tolist(), counts.tolist(), (BLUE,), width)
    line = Rule(simplex, False, f"simplex: {fixed(simplex, 3)}", VERMILLION, "solid", after=simplex < sum(ends) / 2)
    most = int(counts.max())
    upright = Line([simplex, simplex], [0, most], VERMILLION)  # a rule is behind the bars
    step = next(m * 10**p for p in range(12) for m in (1, 2, 5) if most <= 5 * m * 10**p)  # pairs are whole numbers
    number = Scale("pairs of classes", ticks=tuple(range(0, most + 1, step)))
    histogram = Panel(Scale(label, limits=ends), number, [bars, line, upright])
    some = "" if size == len(details.classes) else f" of {size} of the {len(details.classes)} classes"
    caption = (
        f"Cosines between class means{some} about the global mean. Left: one row and column a class. Right: how they "
        f"are distributed over the {len(known)} pairs. The line is where all of them stand in a simplex "
        "equiangular tight frame."
    )
    data = [
        {"class_1": int(details.shown[i]), "class_2": int(details.shown[j]), "cosine": float(c)}
        for i, j, c in zip(rows, columns, pairs, strict=True)
    ]
    return Drawing(Chart("cosines", caption, [matrix, histogram], data, 2, width=7.6, height=3.2, heat_label=label))


def spread_figure(details: ClassDetails) -> Drawing | None:
    """Noise of each class, in order, or None where it is not known."""
    noise = details.noise
    order = np.flatnonzero(np.isfinite(noise))
    order = order[np.argsort(-noise[order], kind="stable")]
    if not len(order):
        return None
    few = len(order) <= _NAMED
    limits = (-0.6, len(order) - 0.4)
    names = tuple(str(k) for k in details.classes[order])
    across = Scale(f"{len(order)} classes, the noisiest first", limits=limits)
    if few:
        across = Scale("class", "category", limits, names)
    bars = Bars(list(range(len(order))), noise[order].tolist(), (BLUE,), 0.8 if few else 1.0)
    panel = Panel(across, Scale("noise"), [bars, Line(limits, [1.0, 1.0], VERMILLION)])
    caption = (
        "How far each class is from collapsed: root mean square distance of its samples from their mean, over half "
        "the distance to the nearest other mean. Zero is collapsed. At the line, balls of that radius touch, "
        "which in many dimensions is still far from confusion."
    )
    data = [{"class": int(details.classes[i]), "noise": float(noise[i])} for i in order]
    return Drawing(Chart("class-spread", caption, [panel], data, width=7.6, height=2.5))
