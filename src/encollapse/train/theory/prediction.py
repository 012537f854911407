"""What the theory says of a trained network: the minimum of its objective, or of the nearest that has one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.geometry import ClassGeometry
from encollapse.train.loop.effective_decays import effective_decays
from encollapse.train.loop.snapshot import Observation
from encollapse.train.loop.task import Work
from encollapse.train.losses import LOSSES
from encollapse.train.objective import Objective
from encollapse.train.settings import Settings
from encollapse.train.theory.fixed_classifier import fixed_minimum
from encollapse.ufm import Problem, Solution, solve

_REWEIGHTED = "class_weights and logit_adjustment make another loss than the theory here is about"
_NO_FIT = "the loss does not pull the outputs to grow, so no decays could hold this network in balance"


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted geometry, of what kind it is, and reasons for what is missing."""

    kind: str
    note: str
    solution: Solution | None = None
    geometry: ClassGeometry | None = None
    loss: float | None = None
    relative_excess: float | None = None
    missing: dict[str, str] = field(default_factory=dict)


def require_distributions(encoding: Encoding, counts: IntArray, bias_decay: float) -> None:
    """Refuse codewords that cross-entropy has no meaning, or no minimum, for.

    Raises
    ------
    ArgumentError
        If a codeword has an entry below 0 or does not sum to 1, or no class asks for an output whose bias is free.
    """
    # Which decays of weight and features does not matter for that.
    Problem(encoding, counts, weight_decay=1.0, feature_decay=1.0, bias_decay=bias_decay, loss="cross_entropy")


def predict(seen: Observation, settings: Settings, work: Work) -> Prediction:
    """The prediction for a trained network.

    Under plain and decoupled decay the decays are read off the network as it is at its end (see
    :func:`encollapse.train.loop.effective_decays.effective_decays`), and nothing else of it.
    """
    if settings.reweighted:
        return _none(_REWEIGHTED)
    weight_decay, feature_decay = settings.weight_decay, settings.feature_decay
    kind, note, read = "minimum", "the minimum of the objective that was minimized", ""
    if feature_decay is None:
        effective = effective_decays(seen, settings, work.targets)
        if effective.weight is None or effective.feature is None:
            return _none(_NO_FIT)
        weight_decay, feature_decay = effective.weight, effective.feature
        read = _effective_note(settings, weight_decay, feature_decay)
        kind, note = "effective", f"the minimum of the unrestricted feature model {read}"
    objective = Objective(LOSSES[settings.loss], len(work.train), weight_decay, feature_decay, settings.bias_decay)
    outputs = seen.outputs(seen.features)
    reached = float(
        objective.samples(outputs, seen.features, work.targets, len(outputs))
        + objective.penalty(seen.weight, seen.bias)
    )
    counts = np.bincount(work.train.labels, minlength=work.encoding.num_classes)
    if work.fixed_weight is not None:
        found = fixed_minimum(
            work.encoding,
            counts,
            work.fixed_weight.numpy(),
            weight_decay=weight_decay,
            feature_decay=feature_decay,
            bias_decay=settings.bias_decay,
            loss=settings.loss,
            rectified=settings.features == "relu",
        )
        note = f"the minimum over features and bias for the fixed classifier {read}".rstrip()
        excess = reached / found.loss - 1 if found.loss > 0 else None
        return Prediction("fixed_classifier", note, None, found.geometry, found.loss, excess)
    problem = Problem(
        work.encoding,
        counts,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        bias_decay=settings.bias_decay,
        feature_dim=settings.feature_dim,
        features=settings.features,
        loss=settings.loss,
    )
    return _of(solve(problem, throw=False), kind, note, reached)


def _of(solution: Solution, kind: str, note: str, reached: float) -> Prediction:
    if not solution.status.success:
        missing = dict.fromkeys(("comparison", "relative_excess"), solution.status.message)
        return Prediction(kind, note, solution, None, solution.loss, None, missing)
    excess = reached / solution.loss - 1 if solution.loss > 0 else math.nan
    if solution.unique:
        return Prediction(kind, note, solution, solution.geometry, solution.loss, excess)
    reason = "several geometries reach the predicted minimum; relative_excess says how near it is"
    return Prediction(kind, note, solution, None, solution.loss, excess, {"comparison": reason})


def _none(reason: str) -> Prediction:
    missing = dict.fromkeys(("prediction", "comparison", "relative_excess"), reason)
    return Prediction("none", reason, missing=missing)


def _effective_note(settings: Settings, weight_decay: float, feature_decay: float) -> str:
    decays = f"feature decay {feature_decay:.3g}"
    if settings.decay == "decoupled" and not settings.fixed_classifier:
        decays = f"weight decay {weight_decay:.3g} and {decays}"
    return (
        f"with {decays}, read off the trained network, for {settings.decay} decay regularizes no features; "
        "class means may keep a common part that this model does not have"
    )
