"""Premises that several laws share, and the problem that a law poses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from encollapse._internal.format import short
from encollapse.diagnosis.laws.law import UNSOLVED, Condition, NoLawError, Setting
from encollapse.diagnosis.observe import Observation
from encollapse.errors import ArgumentError, UnsupportedError

_EXACT = 1e-3  # of the largest feature: what half precision may leave between a tail and what it is read as
_EQUAL = 1e-4  # relative difference below which two sizes count as equal


def head_decays(s: Setting, conditions: list[Condition]) -> tuple[float, float]:
    """Decays of the head's weight and bias on the scale of theory. The head must be trained, decay, and be its own."""
    if s.head_weight is None:
        raise NoLawError(
            "the weight of the head is not a parameter of its own (it is computed, normalized or shared), so its decay "
            "does not price the classifier"
        )
    if not s.decays.by_parameter:
        raise NoLawError("no weight decay is known; give the optimizer, or weight_decay=...")
    decay = s.decays.of(s.head_weight)
    if decay is None:
        raise NoLawError(f"the head {s.head_weight!r} is not trained, so the classifier is fixed")
    if decay == 0:
        raise NoLawError(f"the head {s.head_weight!r} has no weight decay, so the classifier grows without end")
    if s.observed.tied_to:
        raise NoLawError(f"the weight of the head is also that of {s.observed.tied_to!r}, where it does other work")
    bias = math.inf if s.head_bias is None else s.decays.of(s.head_bias)
    if bias is None:
        raise NoLawError(f"the bias {s.head_bias!r} is not trained, so it is fixed")
    conditions.append(
        Condition("the head is an affine map of the features", "holds", f"error {short(s.observed.head_error)}")
    )
    return decay / s.loss.scale, bias / s.loss.scale


def no_dropout(s: Setting) -> None:
    """Dropout behind the last layer or normalization prices features in a way of its own."""
    if s.observed.dropout:
        raise NoLawError(
            f"dropout ({s.observed.dropout}) acts between the normalization or last layer and the head, and it prices "
            "features that theory does not"
        )


def no_other_head(s: Setting, conditions: list[Condition]) -> None:
    """A loss of other outputs would shape the features too."""
    trained = [name for name in s.tail.other_outputs if name in s.decays.by_parameter]
    if trained:
        raise NoLawError(
            f"the network makes outputs of the same features with {trained[0]!r} too, beside those of the head, and "
            "what a loss asks of them shapes the features"
        )
    if s.tail.returned:
        conditions.append(Condition("no loss acts on the other outputs that hold these features", "assumed"))


def kind_of_tail(s: Setting) -> str:
    """The kind of the tail. A vector of gains without a module of its own is recognized by its outputs."""
    if s.tail.kind != "scaled":
        return s.tail.kind
    return s.observed.scaled_kind or "scaled"


def offset_decay(s: Setting) -> float:
    """Decay of the offsets of the last normalization, as `shift_decay` has it."""
    return shift_decay(s, s.tail.offset, "offsets of the last normalization")


def shift_decay(s: Setting, name: str | None, what: str) -> float:
    """Decay of an offset or a bias: infinite where there is none, or where it is 0 and stays there."""
    decay = s.decays.of(name)
    if name is not None and decay is None and s.observed.sizes.get(name, 0.0) > 0:
        raise NoLawError(f"the {what} ({name!r}) are not trained and are not 0, so they are given")
    return math.inf if decay is None else decay


def exact(o: Observation) -> float:
    """Relative difference up to which features count as what the tail makes of them."""
    return max(_EXACT, 4 * float(torch.finfo(o.features.dtype).eps))


def under_ceiling(s: Setting, conditions: list[Condition]) -> None:
    """Behind an activation that is cut at the top (a ReLU6), features must stay below the cut."""
    ceiling, largest = s.tail.ceiling, s.observed.largest_feature
    if ceiling is not None:
        under = largest is not None and largest < ceiling * (1 - _EQUAL)
        detail = "" if largest is None else f"largest feature {largest:.3g}"
        conditions.append(Condition(f"no feature reaches {ceiling:g}", "holds" if under else "violated", detail))


def pose(build: Callable[..., Any], s: Setting, conditions: list[Condition], *data: Any, **settings: Any) -> Any:
    """Pose the problem of a law. None, with a condition that says why, where no method solves it.

    A problem without a minimizer is refused by its own class, and then no law holds.
    """
    if s.loss.class_weights is not None:
        settings["class_weights"] = s.loss.class_weights
    try:
        return build(s.loss.encoding, *data, loss=str(s.loss.kind), **settings)
    except UnsupportedError as error:
        conditions.append(Condition(UNSOLVED, "violated", str(error)))
        return None
    except ArgumentError as error:
        raise NoLawError(str(error)) from None
