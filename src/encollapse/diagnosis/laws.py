"""Which law prices the features of a network: the conditions of each, checked, and the problem that it poses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from encollapse import ufm
from encollapse._internal.format import short
from encollapse._internal.typing import IntArray
from encollapse.diagnosis.objective import LossReading
from encollapse.diagnosis.observe import Observation
from encollapse.diagnosis.optimizer import Decays
from encollapse.diagnosis.tail import Tail
from encollapse.errors import ArgumentError, UnsupportedError

UNSOLVED = "the minimum of the law is known"
"""Premise that fails where the package has no method for the problem of a law."""

_STATISTICS = 0.25  # of a standard deviation: what running averages over batches of 128 are off by at worst
_EQUAL = 1e-4  # relative difference below which two sizes count as equal
_EXACT = 1e-3  # of the largest feature: what half precision may leave between a tail and what it is read as
_EPSILON = 0.01  # of the variance
_NOISE = 0.75  # share of the largest batch to which one small batch may lower the harmonic mean of the sizes


@dataclass(frozen=True)
class Condition:
    """One premise of a law.

    Attributes
    ----------
    text : str
        The premise.
    status : {"holds", "assumed", "violated"}
        Whether it was checked on this network, could not be checked, or fails.
    detail : str
        What was found.
    """

    text: str
    status: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.status:>8}  {self.text}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Law:
    """The law of a training.

    Attributes
    ----------
    name : str
        ``"batch_norm"``, ``"linear_tail"``, ``"sample_norm"``, ``"explicit_feature_decay"`` or ``"none"``.
    reason : str
        Why, in one sentence.
    conditions : tuple of Condition
        The premises, each with what was found.
    problem : Problem or TailProblem or None
        What this training minimizes, on the scale of theory.
    decay : float
        Smallest decay of the optimizer among those that shape the features, or 0 where there is none.
    """

    name: str
    reason: str
    conditions: tuple[Condition, ...] = ()
    problem: Any = None
    decay: float = 0.0


@dataclass(frozen=True)
class Setting:
    """All that a law is decided by.

    `change` is what the network makes of its scores before it returns them, and `still_statistics` is true where its
    last batch normalization does not follow the batches in training mode.
    """

    tail: Tail
    observed: Observation
    decays: Decays
    loss: LossReading
    counts: IntArray
    head_weight: str | None
    head_bias: str | None
    feature_decay: float | None = None
    head_is_last: bool = True
    change: str = ""
    still_statistics: bool = False


class _NoLawError(Exception):
    """A premise fails. The text is the reason."""


def find_law(setting: Setting) -> Law:
    """Decide the law of a training, or ``"none"`` with its reason where no law is known to hold."""
    conditions: list[Condition] = []
    try:
        return _law(setting, conditions)
    except _NoLawError as error:
        return Law("none", str(error), (*conditions, Condition(str(error), "violated")))


def _law(s: Setting, conditions: list[Condition]) -> Law:
    if s.loss.kind is None:
        raise _NoLawError(f"the loss is {s.loss.words}")
    if not s.head_is_last:
        raise _NoLawError(
            "the network does more with the outputs of the head (divides them by a temperature, say), so the loss sees "
            "other outputs than weight decay prices"
        )
    if s.change and not (s.change == "log_softmax" and s.loss.kind == "cross_entropy"):
        raise _NoLawError(
            f"the network returns the {s.change} of its scores, so the loss does not see the scores themselves; return "
            "those"
        )
    if s.loss.of_logarithms and s.change != "log_softmax":
        raise _NoLawError(
            "NLLLoss takes logarithms of probabilities, and the network does not return the log_softmax of its scores"
        )
    weight_decay, bias_decay = _head_decays(s, conditions)
    if not s.decays.coupled:
        raise _NoLawError(
            f"the weight decay of {s.decays.source} is decoupled from the gradient, so this training minimizes no "
            "objective with a penalty; SGD or Adam with weight_decay would"
        )
    _no_other_head(s, conditions)
    if s.feature_decay is not None:
        return _explicit(s, conditions, weight_decay, bias_decay)
    if s.decays.by_parameter and not s.decays.source.startswith("weight_decay"):
        conditions.append(
            Condition(
                "the decay belongs to the objective", "holds", f"{s.decays.source} rests where loss and penalty balance"
            )
        )
    _no_dropout(s, conditions)
    kind = _resolved(s)
    _own_work(s, kind)
    if kind == "batch_norm":
        return _batch_norm(s, conditions, weight_decay, bias_decay)
    if kind in ("layer_norm", "rms_norm"):
        return _sample_norm(s, conditions, weight_decay, bias_decay, kind)
    if kind == "linear" and not s.tail.relu and not s.tail.pooled:
        return _linear_tail(s, conditions, weight_decay, bias_decay)
    raise _NoLawError(_unlawful(s.tail, kind))


def _head_decays(s: Setting, conditions: list[Condition]) -> tuple[float, float]:
    if s.head_weight is None:
        raise _NoLawError(
            "the weight of the head is not a parameter of its own (it is computed, normalized or shared), so its decay "
            "does not price the classifier"
        )
    if not s.decays.by_parameter:
        raise _NoLawError("no weight decay is known; give the optimizer, or weight_decay=...")
    decay = s.decays.of(s.head_weight)
    if decay is None:
        raise _NoLawError(f"the head {s.head_weight!r} is not trained, so the classifier is fixed")
    if decay == 0:
        raise _NoLawError(f"the head {s.head_weight!r} has no weight decay, so the classifier grows without end")
    if s.observed.tied_to:
        raise _NoLawError(f"the weight of the head is also that of {s.observed.tied_to!r}, where it does other work")
    bias = math.inf if s.head_bias is None else s.decays.of(s.head_bias)
    if bias is None:
        raise _NoLawError(f"the bias {s.head_bias!r} is not trained, so it is fixed")
    conditions.append(
        Condition("the head is an affine map of the features", "holds", f"error {short(s.observed.head_error)}")
    )
    return decay / s.loss.scale, bias / s.loss.scale


def _no_dropout(s: Setting, conditions: list[Condition]) -> None:
    if s.observed.dropout:
        raise _NoLawError(
            f"dropout ({s.observed.dropout}) acts between the normalization or last layer and the head, and it prices "
            "features that theory does not"
        )


def _no_other_head(s: Setting, conditions: list[Condition]) -> None:
    """A loss of other outputs would shape the features too."""
    trained = [name for name in s.tail.other_outputs if name in s.decays.by_parameter]
    if trained:
        raise _NoLawError(
            f"the network makes outputs of the same features with {trained[0]!r} too, beside those of the head, and "
            "what a loss asks of them shapes the features"
        )
    if s.tail.returned:
        conditions.append(Condition("no loss acts on the other outputs that hold these features", "assumed"))


def _own_work(s: Setting, kind: str) -> None:
    """A law needs a last normalization that does nothing else, and, but over given activations, layers that learn."""
    if s.observed.runs > 1:
        what = "layer below the head" if kind == "linear" else "normalization before the head"
        raise _NoLawError(
            f"the {what} runs {s.observed.runs} times in one batch, so its decay prices other work beside the features"
        )
    own = {s.tail.gain, s.tail.offset, s.head_weight, s.head_bias}
    if kind in ("batch_norm", "layer_norm", "rms_norm") and s.tail.gain and not set(s.decays.by_parameter) - own:
        raise _NoLawError(
            "no layer below the last normalization is trained, so the features are given but for its gains and offsets"
        )


def _resolved(s: Setting) -> str:
    """The kind of the tail. A vector of gains without a module of its own is recognized by its outputs."""
    if s.tail.kind != "scaled":
        return s.tail.kind
    return s.observed.scaled_kind or "scaled"


def _unlawful(tail: Tail, kind: str) -> str:
    if kind == "residual_sum":
        return (
            "the features are a sum of branches (as at the end of a post-activation residual network), and no law says "
            "how weight decay prices a sum"
        )
    if kind == "group_norm":
        return "the features come from a group normalization, for which no law is known"
    if kind == "scaled":
        return "the features are scaled by a vector of gains, but are normalized neither by sample nor over the set"
    if kind == "convolution":
        return "a convolution makes the features without a normalization behind it, so weight decay prices no feature"
    if kind == "linear":
        what = "a nonlinearity" if tail.relu else "an average over positions"
        return (
            f"{what} stands between the last hidden layer and the head without a normalization, so weight decay prices "
            "parameters and no feature; a batch normalization before the head, or a linear layer below it, would "
            "give a law"
        )
    if kind == "inputs":
        return "the features are not made by trained layers"
    return f"{tail.other} makes the features, and no law covers it"


def _batch_norm(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    tail = s.tail
    if tail.gain is None:
        raise _NoLawError(
            "the last batch normalization has no gains (affine=False), so the size of the features is fixed"
        )
    if s.still_statistics:
        raise _NoLawError(
            "the last batch normalization is in evaluation mode while the network trains, so its statistics are "
            "constants and it is one more linear layer; let it follow the batches, as network.train() does"
        )
    gain, offset = s.decays.of(tail.gain), _offset_decay(s)
    if gain is None:
        raise _NoLawError(f"the gains {tail.gain!r} of the last batch normalization are not trained")
    if gain == 0 and offset in (0, math.inf):
        raise _NoLawError(
            "the last batch normalization has no weight decay, so its gains grow without end and there is no minimum; "
            "put its parameters among those that decay"
        )
    if gain == 0:
        raise _NoLawError(
            "the gains of the last batch normalization have no weight decay, so features grow without end"
        )
    conditions += _batch_norm_conditions(s)
    positions = _positions(s)
    n = int(s.counts.sum()) * positions
    if positions > 1 and offset != gain:
        raise _NoLawError(
            f"a gain and an offset serve {positions} positions each, with different decays, and no law covers that"
        )
    if tail.relu and offset != gain:
        raise _NoLawError(
            "the gains and the offsets of the last batch normalization have different decays, and no law covers that "
            "behind a ReLU; give them the same decay"
        )
    features = "relu" if tail.relu else "linear"
    decays: dict[str, Any] = {"weight_decay": weight_decay, "feature_decay": gain / s.loss.scale / n}
    if offset != gain:
        decays["feature_mean_decay"] = offset / s.loss.scale / n
    problem = _problem(ufm.Problem, s, conditions, s.counts, features=features, bias_decay=bias_decay, **decays)
    activation = " and a ReLU" if tail.relu else ""
    reason = (
        f"a batch normalization{activation} with weight decay on its gains stands before the head, so decay prices the "
        "features as the unrestricted feature model does, with λ_H = λ_γ/N"
    )
    if positions > 1:
        reason += f" over {positions}, as many positions as a gain serves"
    return Law("batch_norm", reason, tuple(conditions), problem, min(gain, s.decays.by_parameter[str(s.head_weight)]))


def _positions(s: Setting) -> int:
    """How many features share a gain, because maps are flattened: a gain is the spread over samples and positions."""
    dim, channels = s.observed.feature_dim, s.observed.channels or s.observed.feature_dim
    if dim % channels or s.observed.tail_error is None:
        raise _NoLawError(
            f"the head takes {dim} of the numbers that the last batch normalization makes with {channels} gains, and "
            "no law says what the others cost"
        )
    return dim // channels


def _offset_decay(s: Setting) -> float:
    return _shift_decay(s, s.tail.offset, "offsets of the last normalization")


def _shift_decay(s: Setting, name: str | None, what: str) -> float:
    """Decay of an offset or a bias: infinite where there is none, or where it is 0 and stays there."""
    decay = s.decays.of(name)
    if name is not None and decay is None and s.observed.sizes.get(name, 0.0) > 0:
        raise _NoLawError(f"the {what} ({name!r}) are not trained and are not 0, so they are given")
    return math.inf if decay is None else decay


def _exact(o: Observation) -> float:
    return max(_EXACT, 4 * float(torch.finfo(o.features.dtype).eps))


def _batch_norm_conditions(s: Setting) -> list[Condition]:
    o, tail = s.observed, s.tail
    found = []
    if o.mean_error is None or o.variance_ratio is None:
        found.append(Condition("the normalization has mean 0 and variance 1 over the training set", "assumed"))
    else:
        near = o.mean_error <= _STATISTICS and abs(o.variance_ratio - 1) <= 2 * _STATISTICS
        found.append(
            Condition(
                "the normalization has mean 0 and variance 1 over these data",
                "holds" if near else "violated",
                f"means within {o.mean_error:.2g}, mean variance {o.variance_ratio:.3g}",
            )
        )
    if o.tail_error is not None and o.tail_error > _exact(o):
        raise _NoLawError(
            f"something else stands between the last batch normalization and the head (error {short(o.tail_error)})"
        )
    if o.tail_error is not None:
        found.append(Condition("nothing else stands between it and the head", "holds", f"error {short(o.tail_error)}"))
    _under_ceiling(s, found)
    if tail.pooled:
        share = "" if o.spatial_share is None else f"{o.spatial_share:.0%} of the price is variation over positions"
        found.append(Condition("maps are constant over positions at the minimum", "assumed", share))
    if tail.epsilon and o.smallest_variance is not None:
        detail, ratio = f"median variance {o.smallest_variance:.2g}", tail.epsilon / max(o.smallest_variance, 1e-300)
        if ratio > _EPSILON:
            # Gains of the same features cost 1 + ε/v times as much, and the Gram matrix goes with the root of λ_W/λ_H.
            detail += f", so the Gram matrix ends about {1 - 1 / math.sqrt(1 + ratio):.0%} short"
        found.append(
            Condition(
                f"ε = {tail.epsilon:g} is far below the variances that it is added to",
                "violated" if ratio > _EPSILON else "holds",
                detail,
            )
        )
    found.append(_batches(o, tail.relu))
    found.append(Condition("the layers below can form any features, and the loader holds the training set", "assumed"))
    return found


def _batches(o: Observation, relu: bool) -> Condition:
    """Training normalizes a batch by its own mean and variance, and the law is about those of the whole set."""
    text = "a batch has the mean and the variance of the training set"
    if o.batches == 1:
        return Condition(text, "holds", "one batch holds all samples")
    if o.noise_batch < _NOISE * o.batch_size:
        detail = (
            f"one of {o.smallest_batch} among batches of {o.batch_size} is normalized by itself, with the noise of "
            f"batches of {o.noise_batch:.0f}; leave it out with drop_last=True"
        )
        return Condition(text, "violated", detail)
    detail = f"batches of {o.batch_size}, whose means are off by 1/√{o.batch_size} of a spread"
    if relu:
        detail += "; behind a ReLU that lifts features which should be 0, unless all classes are alike in every batch"
    return Condition(text, "assumed", detail)


def _problem(build: Callable[..., Any], s: Setting, conditions: list[Condition], *data: Any, **settings: Any) -> Any:
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
        raise _NoLawError(str(error)) from None


_BOUNDED = (
    "GELU",
    "SiLU",
    "Hardswish",
    "ELU",
    "tanh",
    "sigmoid",
    "softplus",
    "Mish",
    "Celu",
    "LogSigmoid",
    "Hardsigmoid",
)
"""Activations that leave values out, negative ones but for those of a ReLU."""


def _explicit(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    assert s.feature_decay is not None
    _no_dropout(s, conditions)
    _free_features(s)
    features = "linear"
    if s.tail.relu:
        features = "relu"
        conditions.append(Condition("features have no negative entry (a ReLU before the head)", "holds"))
    elif s.tail.kind == "other" and s.observed.lowest_feature >= 0:
        features = "relu"
        conditions.append(Condition("features have no negative entry", "holds", f"none is seen behind {s.tail.other}"))
    _under_ceiling(s, conditions)
    conditions.append(Condition("the loss holds λ_H/2 Σ|h|² as said by feature_decay", "assumed"))
    others = [n for n, d in s.decays.by_parameter.items() if d > 0 and n not in (s.head_weight, s.head_bias)]
    conditions.append(
        Condition(
            "nothing else prices the features",
            "violated" if others else "holds",
            f"layers below the head have weight decay too, such as {others[0]!r}" if others else "",
        )
    )
    problem = _problem(
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
    kind = _resolved(s)
    if kind in ("layer_norm", "rms_norm", "group_norm"):
        raise _NoLawError("a normalization of each sample fixes the size of its features, so they are not free")
    if kind == "batch_norm" and s.tail.gain is None:
        raise _NoLawError("the last batch normalization has no gains (affine=False), so the features are not free")
    if kind == "other" and s.tail.other in _BOUNDED:
        raise _NoLawError(f"features behind {s.tail.other} cannot take every value, and no law covers that")


def _under_ceiling(s: Setting, conditions: list[Condition]) -> None:
    ceiling, largest = s.tail.ceiling, s.observed.largest_feature
    if ceiling is not None:
        under = largest is not None and largest < ceiling * (1 - _EQUAL)
        detail = "" if largest is None else f"largest feature {largest:.3g}"
        conditions.append(Condition(f"no feature reaches {ceiling:g}", "holds" if under else "violated", detail))


def _sample_norm(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float, kind: str) -> Law:
    tail = s.tail
    if tail.relu or tail.pooled:
        what = "a ReLU" if tail.relu else "an average over positions"
        raise _NoLawError(f"{what} stands between the normalization of each sample and the head, and no law covers it")
    if tail.gain is None:
        raise _NoLawError(
            "the last normalization has no gains (elementwise_affine=False), so the size of the features is fixed"
        )
    gain = s.decays.of(tail.gain)
    if gain is None or gain == 0:
        raise _NoLawError(
            "the gains of the last normalization are not trained or have no weight decay, so nothing prices the "
            "features"
        )
    dim, error = s.observed.feature_dim, s.observed.tail_error
    if s.observed.channels != dim or (error is not None and error > _exact(s.observed)):
        raise _NoLawError(
            f"the head takes {dim} numbers that are not one row of the {s.observed.channels} which the last "
            "normalization makes at a time, and no law covers that"
        )
    if s.loss.class_weights is not None:
        raise _NoLawError("weighted classes are not covered under a normalization of each sample")
    short = kind.partition("_")[0]
    offset = _offset_decay(s)
    problem = _problem(
        ufm.sample_norm_problem,
        s,
        conditions,
        s.counts,
        kind=short,
        feature_dim=s.observed.feature_dim,
        weight_decay=weight_decay,
        gain_decay=gain / s.loss.scale,
        offset_decay=offset / s.loss.scale,
        bias_decay=bias_decay,
    )
    conditions.append(Condition("rows of normalized features can have equal norm at the minimum", "assumed"))
    title = {"layer": "a layer normalization", "rms": "a root-mean-square normalization"}[short]
    return Law(
        "sample_norm",
        f"{title} of each sample with weight decay on its gains stands before the head",
        tuple(conditions),
        problem,
        min(gain, s.decays.by_parameter[str(s.head_weight)]),
    )


def _linear_tail(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    tail, o = s.tail, s.observed
    inner = [s.decays.of(name) for name in tail.weights]
    if any(decay is None for decay in inner):
        raise _NoLawError("a linear layer below the head is not trained")
    if any(decay == 0 for decay in inner):
        raise _NoLawError("a linear layer below the head has no weight decay, so nothing prices the features")
    if o.activations is None:
        raise _NoLawError("the inputs of the linear layer below the head could not be read")
    if o.tail_error is not None and o.tail_error > _exact(o):
        raise _NoLawError(
            "the head does not see the outputs of the linear layer below it as they are (one row for each sample), and "
            "no law covers that"
        )
    biases = [_shift_decay(s, name, "biases of a linear layer below the head") for name in tail.biases]
    if len(inner) > 1 and any(decay != math.inf for decay in biases[:-1]):
        conditions.append(Condition("inner biases but the lowest are 0", "assumed"))
    if s.loss.class_weights is not None:
        raise _NoLawError("weighted classes are not covered under a linear tail")
    scale = s.loss.scale
    each = [float(d) / scale for d in reversed(inner) if d]
    lowest = biases[-1]
    problem = _problem(
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
