"""Which law prices the features of a network: premises that every law has are checked, then the tail decides."""

from __future__ import annotations

from encollapse.diagnosis.laws.batch_norm import batch_norm
from encollapse.diagnosis.laws.explicit_feature_decay import explicit_feature_decay
from encollapse.diagnosis.laws.law import Condition, Law, NoLawError, Setting
from encollapse.diagnosis.laws.linear_tail import linear_tail
from encollapse.diagnosis.laws.premises import head_decays, kind_of_tail, no_dropout, no_other_head
from encollapse.diagnosis.laws.sample_norm import sample_norm
from encollapse.diagnosis.tail import Tail


def find_law(setting: Setting) -> Law:
    """Decide the law of a training, or ``"none"`` with its reason where no law is known to hold."""
    conditions: list[Condition] = []
    try:
        return _law(setting, conditions)
    except NoLawError as error:
        return Law("none", str(error), (*conditions, Condition(str(error), "violated")))


def _law(s: Setting, conditions: list[Condition]) -> Law:
    if s.loss.kind is None:
        raise NoLawError(f"the loss is {s.loss.words}")
    if not s.head_is_last:
        raise NoLawError(
            "the network does more with the outputs of the head (divides them by a temperature, say), so the loss sees "
            "other outputs than weight decay prices"
        )
    if s.change and not (s.change == "log_softmax" and s.loss.kind == "cross_entropy"):
        raise NoLawError(
            f"the network returns the {s.change} of its scores, so the loss does not see the scores themselves; return "
            "those"
        )
    if s.loss.of_logarithms and s.change != "log_softmax":
        raise NoLawError(
            "NLLLoss takes logarithms of probabilities, and the network does not return the log_softmax of its scores"
        )
    weight_decay, bias_decay = head_decays(s, conditions)
    if not s.decays.coupled:
        raise NoLawError(
            f"the weight decay of {s.decays.source} is decoupled from the gradient, so this training minimizes no "
            "objective with a penalty; SGD or Adam with weight_decay would"
        )
    no_other_head(s, conditions)
    if s.feature_decay is not None:
        return explicit_feature_decay(s, conditions, weight_decay, bias_decay)
    if s.decays.by_parameter and not s.decays.source.startswith("weight_decay"):
        conditions.append(
            Condition(
                "the decay belongs to the objective", "holds", f"{s.decays.source} rests where loss and penalty balance"
            )
        )
    no_dropout(s)
    kind = kind_of_tail(s)
    _own_work(s, kind)
    if kind == "batch_norm":
        return batch_norm(s, conditions, weight_decay, bias_decay)
    if kind in ("layer_norm", "rms_norm"):
        return sample_norm(s, conditions, weight_decay, bias_decay, kind)
    if kind == "linear" and not s.tail.relu and not s.tail.pooled:
        return linear_tail(s, conditions, weight_decay, bias_decay)
    raise NoLawError(_unlawful(s.tail, kind))


def _own_work(s: Setting, kind: str) -> None:
    """A law needs a last normalization that does nothing else, and, but over given activations, layers that learn."""
    if s.observed.runs > 1:
        what = "layer below the head" if kind == "linear" else "normalization before the head"
        raise NoLawError(
            f"the {what} runs {s.observed.runs} times in one batch, so its decay prices other work beside the features"
        )
    own = {s.tail.gain, s.tail.offset, s.head_weight, s.head_bias}
    if kind in ("batch_norm", "layer_norm", "rms_norm") and s.tail.gain and not set(s.decays.by_parameter) - own:
        raise NoLawError(
            "no layer below the last normalization is trained, so the features are given but for its gains and offsets"
        )


def _unlawful(tail: Tail, kind: str) -> str:
    """Why no law holds for what stands before the head."""
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
