"""Linear layers with weight decay before the head, over activations that are given."""

from __future__ import annotations

import math

from encollapse import ufm
from encollapse.diagnosis.laws.law import Condition, Law, NoLawError, Setting
from encollapse.diagnosis.laws.premises import exact, pose, shift_decay


def linear_tail(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    """Law of linear layers that decay, given the activations below them, as in `ufm.TailProblem`."""
    tail, o = s.tail, s.observed
    inner = [s.decays.of(name) for name in tail.weights]
    if any(decay is None for decay in inner):
        raise NoLawError("a linear layer below the head is not trained")
    if any(decay == 0 for decay in inner):
        raise NoLawError("a linear layer below the head has no weight decay, so nothing prices the features")
    if o.activations is None:
        raise NoLawError("the inputs of the linear layer below the head could not be read")
    if o.tail_error is not None and o.tail_error > exact(o):
        raise NoLawError(
            "the head does not see the outputs of the linear layer below it as they are (one row for each sample), and "
            "no law covers that"
        )
    biases = [shift_decay(s, name, "biases of a linear layer below the head") for name in tail.biases]
    if len(inner) > 1 and any(decay != math.inf for decay in biases[:-1]):
        conditions.append(Condition("inner biases but the lowest are 0", "assumed"))
    scale = s.loss.scale
    each = [float(d) / scale for d in reversed(inner) if d]
    lowest = biases[-1]
    problem = pose(
        ufm.TailProblem,
        s,
        conditions,
        o.labels,
        o.activations,
        weight_decay=weight_decay,
        inner_decay=each[0] if len(each) == 1 else each,
        inner_bias_decay=lowest / scale,
        bias_decay=bias_decay,
        layers=len(inner) + 1,
    )
    conditions.append(
        Condition("the layers below are as they are now", "holds", "the prediction is given their activations")
    )
    return Law(
        "linear_tail",
        "linear layers with weight decay stand before the head, so decay prices the features that they make of the "
        "activations below",
        tuple(conditions),
        problem,
        min(min(float(d) for d in inner if d), s.decays.by_parameter[str(s.head_weight)]),
    )
