"""A measurement in sentences: which properties of collapse are there, what is worst, and what to look at next."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.comparison import compare

HasValues: TypeAlias = Any
"""A :class:`encollapse.measure.Collapse`, which prints its own summary and so stands above this module."""


_SPREAD = 1e-2
"""Share of the spread between the classes up to which the spread within them counts as collapsed."""
_FRAME = 0.1
"""Distance of two shapes, of at most 2, up to which they count as one."""
_AGREEMENT = 0.99  # share of samples from which NC4 counts as reached
_MOST_CLASSES = 2048
"""Classes up to which every pair is looked at again for the worst one."""


def summary(collapse: HasValues, prediction: Any = None) -> str:
    """Sentences about a measurement. `prediction` is a solution, or a geometry."""
    found = [_spread(collapse), _frame(collapse), _duality(collapse), _decisions(collapse)]
    states = [state for state, _ in found if state]
    if not states:
        verdict = "Nothing can be said of collapse: no property has a value."
    elif set(states) == {"done"}:
        verdict = "Collapsed, as far as it was measured." if len(states) < len(found) else "Collapsed."
    elif found[0][0] == "not":
        verdict = "Not collapsed."
    else:
        verdict = "Collapse is under way."
    lines = [verdict, *(text for _, text in found)]
    if prediction is not None:
        lines.append(_against(collapse, getattr(prediction, "geometry", prediction)))
    lines += [*_worst(collapse), "Next: " + _next(collapse, found[0][0], found[1][0], prediction)]
    return "\n".join(lines)


def _spread(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc1_trace_ratio
    if value is None:
        return "", f"Spread (NC1): no value, as {collapse.missing['nc1_trace_ratio']}."
    present = int(collapse.geometry.present.sum())
    without = (collapse.num_samples - present) / (present - 1)
    state = "done" if value <= _SPREAD else "not" if value >= min(1.0, without) else "under way"
    return state, (
        f"Spread (NC1): {state}. The spread within the classes is {value:.2g} of that between them; features that know "
        f"nothing of the classes have about {without:.2g}."
    )


def _frame(collapse: HasValues) -> tuple[str, str]:
    value, dim = collapse.nc2_etf, int(collapse.geometry.provenance["feature_dim"])
    if value is None:
        return "", f"Frame (NC2): no value, as {collapse.missing['nc2_etf']}."
    present = int(collapse.geometry.present.sum())
    # Of random means the Gram matrix G has (tr G)² / (K - 1) tr G² near d/(d + K).
    random = math.sqrt(2.0 - 2.0 * math.sqrt(dim / (dim + present)))
    state = "done" if value <= min(_FRAME, random / 2) else "not" if value >= random else "under way"
    text = (
        f"Frame (NC2): {state}. The centered means are {value:.2g} from a simplex; random ones would be {random:.2g}."
    )
    own = {"a simplex": collapse.nc2_etf_uncentered, "an orthogonal frame": collapse.nc2_orthogonal}
    known = {name: distance for name, distance in own.items() if distance is not None}
    if known:
        nearest = min(known, key=lambda name: known[name])
        text += f" Uncentered, they are nearest to {nearest} ({known[nearest]:.2g})."
    return state, text


def _duality(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc3_self_duality
    if value is None:
        return "", f"Classifier (NC3): no value, as {collapse.missing['nc3_self_duality']}."
    state = "done" if value <= _FRAME else "not" if value >= 1.0 else "under way"
    return state, (
        f"Classifier (NC3): {state}. It is {value:.2g} from the centered means; an unrelated one would be "
        f"{math.sqrt(2):.2g}."
    )


def _decisions(collapse: HasValues) -> tuple[str, str]:
    value = collapse.nc4_agreement
    if value is None:
        return "", f"Decisions (NC4): no value, as {collapse.missing['nc4_agreement']}."
    state = "done" if value >= _AGREEMENT else "not" if value <= 0.5 else "under way"
    return state, f"Decisions (NC4): {state}. Classifier and nearest class mean agree on {100 * value:.4g} %."


def _against(collapse: HasValues, predicted: ClassGeometry) -> str:
    rows = {row.name: row.value for row in compare(predicted, collapse.geometry).rows}
    error = rows.get("shape_error")
    if error is None:
        return "Prediction: its shape cannot be compared."
    state = "reached" if error <= _FRAME else "not reached"
    return f"Prediction: {state}. The shape of the means is {error:.2g} from the predicted one."


def _worst(collapse: HasValues) -> list[str]:
    present = int(collapse.geometry.present.sum())
    if collapse.source is None or not 2 <= present <= _MOST_CLASSES or not collapse.source.statistics.squarable:
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


def _next(collapse: HasValues, spread: str, frame: str, prediction: Any) -> str:
    ratio, floor, accuracy = collapse.nc1_trace_ratio, collapse.floor, collapse.accuracy
    counts = collapse.geometry.counts[collapse.geometry.present]
    if ratio is not None and floor is not None and 0 < ratio <= 4 * floor:
        return "the spread is rounding of the features; give them in a wider dtype to see more."
    if accuracy is not None and accuracy < 1.0 and spread != "done":
        return f"accuracy is {accuracy:.4g}; train on, and see the classes that are confused in per_class()."
    if collapse.missing.get("nc3_self_duality") == "no weight was given":
        return "give weight and bias of the last layer, for NC3 and NC4."
    if frame != "done" and prediction is None and (counts != counts[0]).any():
        return (
            "the classes have different numbers of samples, and a simplex is not their minimum; compare with ufm.solve."
        )
    if frame != "done" and prediction is None:
        return "compare with the frame that your decays predict, by ufm.solve and compare, or with diagnose."
    return "per_class() and nearest_pairs() list every class and pair."
