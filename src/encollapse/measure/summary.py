"""A measurement in sentences: which properties of collapse are there, what is worst, and what to look at next."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from encollapse._internal.format import two_digits
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.comparison import compare

HasValues: TypeAlias = Any
"""A :class:`encollapse.measure.Collapse`, which prints its own summary and so stands above this module."""


_SPREAD = 1e-2
"""Share of the spread between the classes up to which the spread within them counts as collapsed."""
_FRAME = 0.1
"""Distance of two shapes, of at most 2, up to which they count as one."""
_NEARLY = 0.7
"""Share of what random features have from which on a value is like theirs."""
_TOLD_APART = 0.9
"""Accuracy of the nearest class mean from which on a classifier far below it is taken for another one's."""
_AGREEMENT = 0.99  # share of samples from which NC4 counts as reached
_ALWAYS = "always"  # the state of what cannot be otherwise
_MOST_CLASSES = 2048
"""Classes up to which every pair is looked at again for the worst one."""


def summary(collapse: HasValues, prediction: Any = None) -> str:
    """Sentences about a measurement. `prediction` is a solution, or a geometry."""
    found = [_spread(collapse), _frame(collapse), _duality(collapse), _decisions(collapse)]
    states = [state for state, _ in found if state]
    spread, decisions = found[0][0], found[3][0]
    merged = _merged(collapse) if spread == "done" else 0
    if not states:
        verdict = "Nothing can be said of collapse: no property has a value."
    elif merged:
        present = int(collapse.geometry.present.sum())
        verdict = f"Collapsed to fewer classes: {merged} of {present} share their mean with another."
    elif set(states) <= {"done", _ALWAYS}:
        verdict = "Collapsed, as far as it was measured." if len(states) < len(found) else "Collapsed."
    elif spread == "done" and decisions == "not":
        verdict = "The features have collapsed, and the classifier does not decide by them."
    elif spread == "not":
        verdict = "Not collapsed."
    else:
        verdict = "Collapse is under way."
    lines = [verdict, *(text for _, text in found)]
    if prediction is not None:
        lines.append(_against(collapse, getattr(prediction, "geometry", prediction)))
    lines += [*_worst(collapse), "Next: " + _next(collapse, spread, found[1][0], merged, prediction)]
    return "\n".join(lines)


def _spread(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc1_trace_ratio
    if value is None:
        return "", f"Spread (NC1): no value, as {collapse.missing['nc1_trace_ratio']}."
    present = int(collapse.geometry.present.sum())
    without = (collapse.num_samples - present) / (present - 1)
    if without == 0.0:
        return "", "Spread (NC1): none can be seen, as every class has a single sample."
    state = _state(value, done=_SPREAD * min(1.0, without), random=min(1.0 / _NEARLY, without))
    return state, (
        f"Spread (NC1): {state}. The spread within the classes is {two_digits(value)} times that between them. "
        f"Features that know nothing of the classes have about {two_digits(without)} times."
    )


def _state(value: float, *, done: float, random: float, least: float = 0.0) -> str:
    """Where a value stands between the least possible one and that of random features."""
    return "done" if value <= done else "not" if value >= least + _NEARLY * (random - least) else "under way"


def _frame(collapse: HasValues) -> tuple[str, str]:
    value, dim = collapse.nc2_etf, int(collapse.geometry.provenance["feature_dim"])
    if value is None:
        return "", f"Frame (NC2): no value, as {collapse.missing['nc2_etf']}."
    present = int(collapse.geometry.present.sum())
    # Of random means the Gram matrix G has (tr G)² / (K - 1) tr G² near d/(d + K), and at most d/(K - 1).
    random = math.sqrt(2.0 - 2.0 * math.sqrt(dim / (dim + present)))
    least = math.sqrt(2.0 - 2.0 * math.sqrt(min(1.0, dim / (present - 1))))
    own = {"a simplex": collapse.nc2_etf_uncentered, "an orthogonal frame": collapse.nc2_orthogonal}
    known = {name: distance for name, distance in own.items() if distance is not None}
    nearest = min(known, key=lambda name: known[name]) if known else ""
    about = f" Uncentered, they are nearest to {nearest} ({known[nearest]:.2g})." if known else ""
    if present == 2:
        return _ALWAYS, f"Frame (NC2): two classes always have one, as their centered means are opposite.{about}"
    if least and random - least < _FRAME:
        return "", (
            f"Frame (NC2): no simplex of {present} classes fits into {dim} dimensions. The centered means are "
            f"{value:.2g} from one, and {least:.2g} is the least. See gnc2_log for their angles."
        )
    state = _state(value, done=least + min(_FRAME, (random - least) / 2), random=random, least=least)
    return state, (
        f"Frame (NC2): {state}. The centered means are {value:.2g} from a simplex. Random ones would be {random:.2g}."
        f"{about}"
    )


def _duality(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc3_self_duality
    if value is None:
        return "", f"Classifier (NC3): no value, as {collapse.missing['nc3_self_duality']}."
    entries = int(collapse.geometry.provenance["feature_dim"]) * (int(collapse.geometry.present.sum()) - 1)
    unrelated = math.sqrt(max(0.0, 2.0 - 4.0 / math.sqrt(entries)))  # two deviations below that of chance
    text = f"It is {value:.2g} from the centered means. An unrelated one would be {math.sqrt(2):.2g}."
    plain = _uncentered_duality(collapse)
    if plain is not None and plain < _NEARLY * value:
        value, text = plain, f"{text} From the means as they are it is {plain:.2g}."
    state = "done" if value <= _FRAME else "not" if value >= min(1.0, unrelated) else "under way"
    return state, f"Classifier (NC3): {state}. {text}"


def _uncentered_duality(collapse: HasValues) -> float | None:
    """Distance of the shapes of the weight and the class means, which keep their mean."""
    source = collapse.source
    if source is None or source.weight is None or not source.statistics.squarable:
        return None
    means, rows = source.statistics.present_means, source.weight[source.statistics.present]
    lengths = float(np.linalg.norm(means)) * float(np.linalg.norm(rows))
    return math.sqrt(max(0.0, 2.0 - 2.0 * float(np.vdot(means, rows)) / lengths)) if lengths else None


def _decisions(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc4_agreement
    if value is None:
        return "", f"Decisions (NC4): no value, as {collapse.missing['nc4_agreement']}."
    halfway = (1.0 + 1.0 / int(collapse.geometry.present.sum())) / 2  # from what guesses have
    state = "done" if value >= _AGREEMENT else "not" if value <= halfway else "under way"
    return state, f"Decisions (NC4): {state}. Classifier and nearest class mean agree on {100 * value:.4g}%."


def _merged(collapse: HasValues) -> int:
    """How many classes have another as near as their own samples are spread."""
    if not _has_pairs(collapse):
        return 0
    return sum(row["distance"] <= row["spread"] for row in collapse.per_class())


def _against(collapse: HasValues, predicted: ClassGeometry) -> str:
    rows = {row.name: row.value for row in compare(predicted, collapse.geometry).rows}
    error = rows.get("shape_error")
    if error is None:
        return "Prediction: its shape cannot be compared."
    state = "reached" if error <= _FRAME else "not reached"
    return f"Prediction: {state}. The shape of the means is {error:.2g} from the predicted one."


def _has_pairs(collapse: HasValues) -> bool:
    """Whether pairs of classes can be looked at again."""
    present = int(collapse.geometry.present.sum())
    return collapse.source is not None and 2 <= present <= _MOST_CLASSES and collapse.source.statistics.squarable


def _worst(collapse: HasValues) -> list[str]:
    if not _has_pairs(collapse):
        return []
    names = getattr(collapse.source.encoding, "classes", None) or range(collapse.num_classes)
    row = collapse.per_class()[0]
    first, second, distance = collapse.nearest_pairs(1)[0]
    own, other = names[int(row["label"] or 0)], names[int(row["nearest"] or 0)]
    return [
        f"Least collapsed: class {own}, with a spread of {row['spread']:.3g} at a distance of {row['distance']:.3g} to "
        f"the mean of class {other}.",
        f"Closest pair: classes {names[first]} and {names[second]}, {distance:.3g} apart.",
    ]


def _next(collapse: HasValues, spread: str, frame: str, merged: int, prediction: Any) -> str:
    accuracy, nearest = collapse.accuracy, collapse.ncc_accuracy
    known = spread in ("done", "under way") and accuracy is not None and nearest is not None
    if known and nearest >= _TOLD_APART and accuracy < nearest / 2:
        return (
            f"accuracy is {accuracy:.4g}, and the nearest class mean has {nearest:.4g}. Check that weight, bias and "
            "labels are of this network and have its order of classes. Of a network, name the layer by head=."
        )
    ratio, floor = collapse.nc1_trace_ratio, collapse.floor
    counts = collapse.geometry.counts[collapse.geometry.present]
    if ratio is not None and floor is not None and 0 < ratio <= 4 * floor:
        return "the spread is rounding of the features. Give them in a wider dtype to see more."
    if accuracy is not None and accuracy < 1.0 and spread != "done":
        return f"accuracy is {accuracy:.4g}. Train on, and see the classes that are confused in per_class()."
    if collapse.missing.get("nc3_self_duality") == "no weight was given":
        return "give weight and bias of the last layer, for NC3 and NC4."
    if merged and (counts == counts[0]).all():
        return "see the classes that share a mean in nearest_pairs(), and whether anything tells their samples apart."
    if frame not in ("done", _ALWAYS) and prediction is None and (counts != counts[0]).any():
        return (
            "the classes have different numbers of samples, and a simplex is not their minimum. Compare with ufm.solve."
        )
    if frame not in ("done", _ALWAYS) and prediction is None:
        return "compare with the frame that your decays predict, by ufm.solve and compare, or with diagnose."
    return "per_class() and nearest_pairs() list every class and pair."
