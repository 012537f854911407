"""A normalization of each sample (layer or root mean square) before the head."""

from __future__ import annotations

from encollapse import ufm
from encollapse.diagnosis.laws.law import Condition, Law, NoLawError, Setting
from encollapse.diagnosis.laws.premises import exact, offset_decay, pose


def sample_norm(s: Setting, conditions: list[Condition], weight_decay: float, bias_decay: float, kind: str) -> Law:
    """Law of a normalization of each sample whose gains decay, as in `ufm.sample_norm_problem`."""
    tail = s.tail
    if tail.relu or tail.pooled:
        what = "a ReLU" if tail.relu else "an average over positions"
        raise NoLawError(f"{what} stands between the normalization of each sample and the head, and no law covers it")
    if tail.gain is None:
        raise NoLawError(
            "the last normalization has no gains (elementwise_affine=False), so the size of the features is fixed"
        )
    gain = s.decays.of(tail.gain)
    if gain is None or gain == 0:
        raise NoLawError(
            "the gains of the last normalization are not trained or have no weight decay, so nothing prices the "
            "features"
        )
    dim, error = s.observed.feature_dim, s.observed.tail_error
    if s.observed.channels != dim or (error is not None and error > exact(s.observed)):
        raise NoLawError(
            f"the head takes {dim} numbers that are not one row of the {s.observed.channels} which the last "
            "normalization makes at a time, and no law covers that"
        )
    if s.loss.class_weights is not None:
        raise NoLawError("weighted classes are not covered under a normalization of each sample")
    short = kind.partition("_")[0]
    offset = offset_decay(s)
    problem = pose(
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
