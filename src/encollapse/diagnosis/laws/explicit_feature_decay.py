"""A loss that prices the features itself: the unrestricted feature model as it stands."""

from __future__ import annotations

from encollapse import ufm
from encollapse.diagnosis.laws.law import Condition, Law, NoLawError, Setting
from encollapse.diagnosis.laws.premises import kind_of_tail, no_dropout, pose, under_ceiling

_BOUNDED = frozenset(
    ["GELU", "SiLU", "Hardswish", "ELU", "tanh", "sigmoid", "softplus", "Mish", "Celu", "LogSigmoid", "Hardsigmoid"]
)
"""Activations that leave values out, negative ones but for those of a ReLU."""


def explicit_feature_decay(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    """Law of a loss that holds ``λ_H/2 Σ|h|²``. Features must be free, or free but for their sign."""
    assert s.feature_decay is not None
    no_dropout(s)
    _free_features(s)
    features = "linear"
    if s.tail.relu:
        features = "relu"
        conditions.append(Condition("features have no negative entry (a ReLU before the head)", "holds"))
    elif s.tail.kind == "other" and s.observed.lowest_feature >= 0:
        features = "relu"
        conditions.append(Condition("features have no negative entry", "holds", f"none is seen behind {s.tail.other}"))
    under_ceiling(s, conditions)
    conditions.append(Condition("the loss holds λ_H/2 Σ|h|² as said by feature_decay", "assumed"))
    others = [n for n, d in s.decays.by_parameter.items() if d > 0 and n not in (s.head_weight, s.head_bias)]
    conditions.append(
        Condition(
            "nothing else prices the features",
            "violated" if others else "holds",
            f"layers below the head have weight decay too, such as {others[0]!r}" if others else "",
        )
    )
    problem = pose(
        ufm.Problem,
        s,
        conditions,
        s.counts,
        features=features,
        weight_decay=weight_decay,
        feature_decay=s.feature_decay,
        bias_decay=bias_decay,
    )
    return Law(
        "explicit_feature_decay",
        "the loss prices the features themselves, so the unrestricted feature model holds as it stands",
        tuple(conditions),
        problem,
        s.decays.by_parameter[str(s.head_weight)],
    )


def _free_features(s: Setting) -> None:
    """The model needs features that can take any value, or any that is not negative."""
    kind = kind_of_tail(s)
    if kind in ("layer_norm", "rms_norm", "group_norm"):
        raise NoLawError("a normalization of each sample fixes the size of its features, so they are not free")
    if kind == "batch_norm" and s.tail.gain is None:
        raise NoLawError("the last batch normalization has no gains (affine=False), so the features are not free")
    if kind == "other" and s.tail.other in _BOUNDED:
        raise NoLawError(f"features behind {s.tail.other} cannot take every value, and no law covers that")
