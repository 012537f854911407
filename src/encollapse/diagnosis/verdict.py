"""What a diagnosis comes to, in sentences."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from encollapse.diagnosis.decay_time import ENOUGH

HasParts: TypeAlias = Any
"""A :class:`encollapse.Diagnosis`, whose verdict this is and which so stands above this module."""

_DONE = 0.05  # error of a Gram matrix, or share of the loss, that counts as arrived
_SHAPE = 0.1  # distance of a frame up to which a geometry is called by its name
_EXACT = 1e-4  # distance below which no percentage is said: predictions are exact to far less


def verdict(d: HasParts) -> str:
    """Say how far the network is from what its training leads to, and what is left."""
    if d.law == "none":
        return " ".join(["No law predicts the geometry of this training: " + d.reason + ".", *_collapsed(d)])
    if d.prediction is None:
        why = d.missing.get("prediction", d.reason)
        return " ".join([f"The law is known, but its minimum is not: {why}.", *_collapsed(d)])
    return " ".join([*_where(d), *_how_far(d), *_left(d), *_premises(d), *_time(d)])


def _collapsed(d: HasParts) -> list[str]:
    c = d.collapse
    said = []
    if c.nc1_trace_ratio is not None:
        state = "have collapsed to their class means" if c.nc1_trace_ratio < 0.05 else "still vary within classes"
        said.append(f"The features {state} (NC1 by traces {c.nc1_trace_ratio:.3g}).")
    errors = {"a simplex equiangular tight frame": c.nc2_etf, "an orthogonal frame": c.nc2_orthogonal}
    known = {name: value for name, value in errors.items() if value is not None}
    if known:
        name = min(known, key=lambda key: known[key])
        near = "form" if known[name] < _SHAPE else "are nearest to"
        said.append(f"The class means {near} {name} (distance {known[name]:.3g}).")
    return said


def _where(d: HasParts) -> list[str]:
    assert d.prediction is not None
    geometry = d.prediction.geometry
    if not d.prediction.rank:
        return ["By the law nothing can be learned at these decays: all class means shrink to one point."]
    shape = _shape(geometry)
    critical = getattr(d.problem, "critical_bias_decay", lambda: None)()
    decay = getattr(d.problem, "bias_decay", None)
    said = f"By the law the class means go to {shape}"
    if critical is not None and decay is not None and 0 < critical < math.inf and decay < math.inf:
        side = "below" if decay <= critical else "above"
        said += f", as the bias decay {decay:.3g} is {side} its critical value {critical:.3g}"
    return [said + "."]


def _shape(geometry: object) -> str:
    from encollapse.geometry import ClassGeometry

    assert isinstance(geometry, ClassGeometry)
    etf, orthogonal = geometry.distance("simplex_etf"), geometry.distance("orthogonal")
    for distance, frame in ((etf, "a simplex equiangular tight frame"), (orthogonal, "an orthogonal frame")):
        if distance < _EXACT:
            return frame
        if distance < _DONE:
            return f"a frame within {distance:.1%} of {frame}"
    centered = geometry.distance("simplex_etf", centered=True)
    common = "with a common part" if centered < 1e-3 else "of its own"
    return f"a frame {common} (distance {etf:.2g} from a simplex, {orthogonal:.2g} from an orthogonal frame)"


def _how_far(d: HasParts) -> list[str]:
    if d.comparison is None:
        return []
    row = {entry.name: entry.value for entry in d.comparison.rows}
    gram, shape = row.get("gram_error"), row.get("shape_error")
    if gram is None or shape is None:
        return []
    if gram <= _DONE:
        return [f"The network has arrived: the Gram matrix of its class means is within {gram:.1%} of the prediction."]
    if shape <= _DONE:
        return [f"The shape has arrived (error {shape:.1%}), the size has not: the Gram matrix is {gram:.0%} off."]
    return [f"It is not there yet: the Gram matrix of the class means is {gram:.0%} off, its shape {shape:.0%}."]


def _left(d: HasParts) -> list[str]:
    e = d.excess
    if e is None or not e.total > 0:
        return []
    parts = {
        "within classes: samples of a class still differ, so the network needs time or capacity": e.within,
        "between classes: the class means are not where the law puts them": e.between,
        "in layers that are not balanced: the sizes of classifier and features have not settled": e.unbalanced,
    }
    name = max(parts, key=lambda key: parts[key])
    share = parts[name] / e.total
    relative = e.total / max(abs(e.lower_bound), 1e-300)
    share_above = f"{relative:.1%}" if relative >= 0.01 else f"{100 * relative:.1g}%"
    height = f"{share_above} above" if relative < 1 else f"{1 + relative:.3g} times"
    return [f"Its loss is {height} the certified minimum; {share:.0%} of that is {name}."]


def _premises(d: HasParts) -> list[str]:
    failing = [f"{c.text} ({c.detail})" if c.detail else c.text for c in d.conditions if c.status == "violated"]
    if not failing:
        return []
    many = "A premise does" if len(failing) == 1 else f"{len(failing)} premises do"
    return [f"{many} not hold: that " + ", and that ".join(failing) + "."]


def _time(d: HasParts) -> list[str]:
    if d.law == "explicit_feature_decay":
        return []  # the features are priced themselves, and no parameter's decay has to settle first
    t = d.decay_time
    if t is None:
        return [
            "How long it has trained is not known; give the optimizer and steps=, or the scheduler, to see it in units "
            "of decay time."
        ]
    if not t.exact:
        return [
            f"Learning rate and weight decay come to τ = {t.spent:.2g}, but this optimizer rescales its gradients, so "
            "how long sizes take to settle does not follow from it."
        ]
    spent, note = f"It has trained for τ = {t.spent:.2g} decay times", f" ({t.note})" if "counted" in t.note else ""
    if t.spent >= ENOUGH:
        return [f"{spent}, and {ENOUGH:g} are enough for the sizes to settle{note}."]
    times = ENOUGH / t.spent if t.spent > 0 else math.inf
    return [
        f"{spent} of about {ENOUGH:g}: train about {times:.2g} times longer, or raise the product of learning rate and "
        f"weight decay{note}."
    ]
