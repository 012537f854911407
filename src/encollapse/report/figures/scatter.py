"""Predicted against measured, entry by entry, with what is left over beneath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.geometry import ClassGeometry
from encollapse.report.charts import Chart, Drawing, Key, Line, Mark, Panel, Points, Rule, Scale
from encollapse.report.figures.series import FEW
from encollapse.report.style import GREY, Look, looks
from encollapse.study.families import Family, by_panel, measured_kinds

NAME = "scatter"

_GROUPS = 14
"""Kinds of training that marks tell apart."""
_MOST = 12_000
"""Most points that a panel shows. Of more points it shows some, at even steps."""

Pairs = list[tuple[float, float]]


def scatter(members: Sequence[Family]) -> list[Drawing]:
    """Cosines, Gram entries, singular values of the class outputs and bias entries, or none without predictions."""
    groups, what = _groups(members)
    look = dict(zip(groups, looks(len(groups)), strict=True))
    found: dict[str, dict[str, Pairs]] = {name: {} for name, *_ in _QUANTITIES}
    rows: list[dict[str, Any]] = []
    for label, families in groups.items():
        for result in (result for family in families for result in family.trials):
            predicted, measured = result.geometries()
            if predicted is None:
                continue
            for name, _, read in _QUANTITIES:
                pairs = read(predicted, measured)
                found[name].setdefault(label, []).extend(pairs)
                rows += [
                    {"quantity": name, what: label, "trial": result.id, "predicted": p, "measured": m} for p, m in pairs
                ]
    shown = [(name, title) for name, title, _ in _QUANTITIES if any(found[name].values())]
    if not shown:
        return []
    thinned = False
    upper, lower = [], []
    for name, title in shown:
        step = 1 + sum(map(len, found[name].values())) // _MOST
        thinned = thinned or step > 1
        kept = {label: values[::step] for label, values in found[name].items()}
        above, below = _panels(title, kept, look)
        upper.append(above)
        lower.append(below)
    note = " Of many points, an even selection is shown. The data hold all." if thinned else ""
    caption = (
        f"Measured on {measured_kinds(members)} against predicted by theory, one mark an entry. The line is "
        "equality. Beneath, the differences. Cosines: of every pair of uncentered class means. Gram entries: their "
        "inner products, in units of the mean squared norm predicted. Singular values: of the class outputs "
        f"W M diag(√π). Bias: every entry, in units of the labels.{note}"
    )
    names = [Key(label, look[label].color, look[label].marker, dash=None) for label in groups]
    chart = Chart(
        NAME,
        caption,
        [*upper, *lower],
        rows,
        columns=len(shown),
        width=8.6,
        height=1.5,
        keys=names if len(names) > 1 else [],
        row_heights=(2.6, 1.0),
    )
    return [Drawing(chart)]


def _groups(members: Sequence[Family]) -> tuple[dict[str, list[Family]], str]:
    """Families by encoding, or by what else varies where that is fewer things to tell apart."""
    encodings: dict[str, list[Family]] = {}
    for family in members:
        encodings.setdefault(family.encoding, []).append(family)
    kinds = by_panel(members)
    if len(encodings) == 1 or (len(encodings) > FEW and 1 < len(kinds) <= FEW):
        return (kinds, "panel") if len(kinds) <= _GROUPS else ({"every trial": list(members)}, "panel")
    return encodings, "encoding"


def _panels(title: str, pairs: dict[str, Pairs], look: dict[str, Look]) -> tuple[Panel, Panel]:
    everything = np.array([pair for values in pairs.values() for pair in values])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.06 * ((high - low) or 1.0)
    ends = (low - margin, high + margin)
    difference = float(np.abs(everything[:, 1] - everything[:, 0]).max()) or 1e-16
    marks: list[Mark] = [Line(ends, ends, GREY, "solid", 0.8)]
    rest: list[Mark] = [Rule(0.0, dash="solid")]
    for label, values in pairs.items():
        own = look[label]
        x, y = [p for p, _ in values], [m for _, m in values]
        style: dict[str, Any] = {"size": 3.2, "label": label}
        marks.append(Points(x, y, own.color, own.marker, alpha=0.75, **style))
        left = [m - p for p, m in values]
        rest.append(Points(x, left, own.color, own.marker, filled=True, alpha=0.5, **(style | {"size": 2.2})))
    above = Panel(Scale(limits=ends), Scale("measured", limits=ends), marks, title)
    bound = 1.15 * difference
    below = Panel(Scale("predicted", limits=ends), Scale("difference", limits=(-bound, bound)), rest)
    return above, below


def _cosines(predicted: ClassGeometry, measured: ClassGeometry) -> Pairs:
    rows, columns = np.triu_indices(predicted.num_classes, 1)
    return _finite(predicted.cosines()[rows, columns], measured.cosines()[rows, columns])


def _gram(predicted: ClassGeometry, measured: ClassGeometry) -> Pairs:
    index = np.triu_indices(predicted.num_classes)
    scale = float(np.nanmean(np.diag(predicted.feature_gram)))
    if not scale > 0:
        return []
    return _finite(predicted.feature_gram[index] / scale, measured.feature_gram[index] / scale)


def _singular_values(predicted: ClassGeometry, measured: ClassGeometry) -> Pairs:
    if predicted.class_outputs is None or measured.class_outputs is None:
        return []
    priors = np.sqrt(predicted.counts / predicted.counts.sum())
    weighted = [np.nan_to_num(g.class_outputs * priors) for g in (predicted, measured)]
    return _finite(*(np.linalg.svd(matrix, compute_uv=False) for matrix in weighted))


def _bias(predicted: ClassGeometry, measured: ClassGeometry) -> Pairs:
    if predicted.bias is None or measured.bias is None:
        return []
    both = predicted.bias.any() or measured.bias.any()  # a bias that does not exist is zero on both sides
    return _finite(predicted.bias, measured.bias) if both else []


def _finite(predicted: FloatArray, measured: FloatArray) -> Pairs:
    keep = np.isfinite(predicted) & np.isfinite(measured)
    return list(zip(predicted[keep].tolist(), measured[keep].tolist(), strict=True))


_QUANTITIES: tuple[tuple[str, str, Callable[[ClassGeometry, ClassGeometry], Pairs]], ...] = (
    ("cosine", "cosines of class means", _cosines),
    ("gram", "Gram entries", _gram),
    ("singular_value", "singular values", _singular_values),
    ("bias", "bias entries", _bias),
)
