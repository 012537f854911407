"""A batch normalization before the head, also with a ReLU or an average over positions behind it."""

from __future__ import annotations

import math
from typing import Any

from encollapse import ufm
from encollapse._internal.format import short
from encollapse.diagnosis.laws.law import Condition, Law, NoLawError, Setting
from encollapse.diagnosis.laws.premises import exact, offset_decay, pose, under_ceiling
from encollapse.diagnosis.observe import Observation

_STATISTICS = 0.25  # of a standard deviation: what running averages over batches of 128 are off by at worst
_EPSILON = 0.01  # of the variance
_NOISE = 0.75  # share of the largest batch to which one small batch may lower the harmonic mean of the sizes


def batch_norm(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float) -> Law:
    """Law of a batch normalization whose gains decay: ``λ_H = λ_γ/N``, as in `ufm.batch_norm_problem`."""
    tail = s.tail
    if tail.gain is None:
        raise NoLawError(
            "the last batch normalization has no gains (affine=False), so the size of the features is fixed"
        )
    if s.still_statistics:
        raise NoLawError(
            "the last batch normalization is in evaluation mode while the network trains, so its statistics are "
            "constants and it is one more linear layer; let it follow the batches, as network.train() does"
        )
    gain, offset = s.decays.of(tail.gain), offset_decay(s)
    if gain is None:
        raise NoLawError(f"the gains {tail.gain!r} of the last batch normalization are not trained")
    if gain == 0 and offset in (0, math.inf):
        raise NoLawError(
            "the last batch normalization has no weight decay, so its gains grow without end and there is no minimum; "
            "put its parameters among those that decay"
        )
    if gain == 0:
        raise NoLawError("the gains of the last batch normalization have no weight decay, so features grow without end")
    conditions += _batch_norm_conditions(s)
    positions = _positions(s)
    n = int(s.counts.sum()) * positions
    if positions > 1 and offset != gain:
        raise NoLawError(
            f"a gain and an offset serve {positions} positions each, with different decays, and no law covers that"
        )
    if tail.relu and offset != gain:
        raise NoLawError(
            "the gains and the offsets of the last batch normalization have different decays, and no law covers that "
            "behind a ReLU; give them the same decay"
        )
    features = "relu" if tail.relu else "linear"
    decays: dict[str, Any] = {"weight_decay": weight_decay, "feature_decay": gain / s.loss.scale / n}
    if offset != gain:
        decays["feature_mean_decay"] = offset / s.loss.scale / n
    problem = pose(ufm.Problem, s, conditions, s.counts, features=features, bias_decay=bias_decay, **decays)
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
        raise NoLawError(
            f"the head takes {dim} of the numbers that the last batch normalization makes with {channels} gains, and "
            "no law says what the others cost"
        )
    return dim // channels


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
    if o.tail_error is not None and o.tail_error > exact(o):
        raise NoLawError(
            f"something else stands between the last batch normalization and the head (error {short(o.tail_error)})"
        )
    if o.tail_error is not None:
        found.append(Condition("nothing else stands between it and the head", "holds", f"error {short(o.tail_error)}"))
    under_ceiling(s, found)
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
