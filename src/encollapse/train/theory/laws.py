"""The laws: which trainings minimize a problem that the theory solves, and what follows for them.

Each law covers some trainings and says what follows. :data:`LAWS` lists them, and the first that covers a training
speaks. Nothing here may lose a network that has been trained: where no law holds, or none can be solved, the prediction
is of the kind ``"none"`` and has the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from encollapse._internal.typing import FloatArray, IntArray
from encollapse._internal.warn import warn
from encollapse.encodings import Encoding
from encollapse.errors import EncollapseError
from encollapse.train.loop.loop import Trained
from encollapse.train.loop.snapshot import effective_decays
from encollapse.train.loop.task import Work
from encollapse.train.losses import LOSSES, class_weights_of
from encollapse.train.settings import Settings
from encollapse.train.theory.fixed_classifier import fixed_minimum
from encollapse.train.theory.prediction import Prediction
from encollapse.train.ufm_objective import Objective
from encollapse.ufm import Excess, Problem, TailProblem, batch_norm_problem, excess, sample_norm_problem, solve
from encollapse.ufm.label_structure import LabelStructure
from encollapse.ufm.losses.cross_entropy import CrossEntropy

_ADJUSTED = "logit_adjustment makes another loss than the theory here is about"
_WEIGHTED = "class_weights make another loss than the theory of such a training is about"
_NO_FIT = "the loss does not pull the outputs to grow, so no decays could hold this network in balance"
_SEVERAL = "several geometries reach the predicted minimum; relative_excess says how near it is"
_AT_ZERO = "the predicted minimum is 0, of which no excess is a share"
_NO_LAW = "no law covers this training, so there is no certified minimum to be above"

Law = Callable[[Trained, Settings, Work], Prediction | None]
"""Takes the trained network, its settings and its data. It gives None where the law is not about such a training."""


def require_distributions(encoding: Encoding, counts: IntArray, bias_decay: float) -> None:
    """Refuse codewords that cross-entropy has no meaning, or no minimum, for.

    Raises
    ------
    ArgumentError
        If a codeword has an entry below 0 or does not sum to 1, or no class asks for an output whose bias is free.
    """
    LabelStructure(encoding, np.asarray(counts), CrossEntropy()).require_minimizer(bias_decay)


def predict(trained: Trained, settings: Settings, work: Work) -> Prediction:
    """What the first law that covers the training says. Whatever goes wrong on the way is the reason for none."""
    try:
        return next(found for law in LAWS if (found := law(trained, settings, work)) is not None)
    except EncollapseError as error:
        return Prediction.none(str(error))
    except Exception as error:  # the network is worth more than its prediction
        reason = f"the prediction failed with {type(error).__name__}: {error}"
        warn(f"{reason}; the network is measured without one")
        return Prediction.none(reason)


def _another_loss(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """No law is about outputs that are shifted in the loss alone."""
    return Prediction.none(_ADJUSTED) if settings.logit_adjustment > 0 else None


def _fixed_classifier(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """A given weight: the minimum over features and bias, where the features are regularized or decays can be read."""
    if work.fixed_weight is None:
        return None
    if settings.reweighted:
        return Prediction.none(_WEIGHTED)
    read, decays = "", _decays(settings.weight_decay, settings.feature_decay, settings)
    if settings.feature_decay is None:
        effective = effective_decays(trained.observation, settings, work.targets)
        if effective.weight is None or effective.feature is None:
            return Prediction.none(_NO_FIT)
        decays = _decays(effective.weight, effective.feature, settings)
        read = _read(settings, f"feature decay {effective.feature:.3g}")
    fixed = fixed_minimum(
        work.encoding,
        _counts(work),
        work.fixed_weight.numpy(),
        loss=settings.loss,
        rectified=settings.features == "relu",
        **decays,
    )
    note = f"the minimum over features and bias for the fixed classifier {read}".rstrip()
    found = Prediction("fixed_classifier", note, None, fixed.geometry, fixed.loss)
    return _compared(found, _reached(trained, settings, work, decays))


def _explicit_feature_decay(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """Features that are regularized themselves: the minimum of the very objective."""
    if settings.feature_decay is None:
        return None
    problem = _problem(settings, work, settings.weight_decay, settings.feature_decay)
    return _least(problem, "the minimum of the objective that was minimized", trained, work)


def _batch_norm(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """A last batch normalization under one decay: that of gains and offsets prices the features."""
    if settings.decay != "plain" or _tail(settings) not in ("batch-norm", "batch-norm-relu"):
        return None
    decay = settings.weight_decay
    problem = batch_norm_problem(
        work.encoding,
        _counts(work),
        weight_decay=decay,
        gain_decay=decay,
        bias_decay=settings.bias_decay,
        features=settings.features,
        loss=settings.loss,
    )
    problem = replace(problem, feature_dim=settings.feature_dim, class_weights=_class_weights(settings, work))
    note = (
        "the minimum of the unrestricted feature model that the last batch normalization poses: the decay of its gains "
        f"and offsets is a feature decay of λ/N = {problem.feature_decay:.3g}, and nothing is fitted"
    )
    return _least(problem, note, trained, work)


def _sample_norm(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """A last normalization of each sample under one decay, where its minimum is known."""
    tail = _tail(settings)
    if settings.decay != "plain" or tail not in ("layer-norm", "rms-norm") or settings.features != "linear":
        return None
    if settings.reweighted:
        return Prediction.none(_WEIGHTED)
    assert settings.feature_dim is not None
    decay = settings.weight_decay
    problem = sample_norm_problem(
        work.encoding,
        _counts(work),
        kind="layer" if tail == "layer-norm" else "rms",
        feature_dim=settings.feature_dim,
        weight_decay=decay,
        gain_decay=decay,
        bias_decay=settings.bias_decay,
        loss=settings.loss,
    )
    solution = solve(problem, throw=False)
    if solution.certificate.kind != "theorem" or not solution.certificate.holds:
        return Prediction.none(
            f"for this {tail} tail the minimum is not known, only that it lies between "
            f"{solution.certificate.lower_bound:.6g} and {solution.loss:.6g}"
        )
    seen = trained.observation
    tail_module: Any = trained.classifier.backbone.tail
    penalty = sum(float(p.detach().double().square().sum()) for p in tail_module.parameters())
    reached = _fit(trained, settings, work) + 0.5 * decay * (float(seen.weight.square().sum()) + penalty)
    reached += _bias_penalty(trained, settings)
    note = "the minimum over the head and the gains of the last normalization, proved, and nothing is fitted"
    found = Prediction("minimum", note, solution, solution.geometry, solution.loss)
    return _compared(found, reached, missing_excess="the excess over this minimum is not split into parts")


def _linear_tail(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """A head over linear layers under one decay: the minimum given the activations below them."""
    backbone, tail = trained.classifier.backbone, _tail(settings)
    layers = (settings.model_options or {}).get("tail_depth", 2) if tail == "linear" else 2
    last: Any = backbone.last
    if settings.decay != "plain" or settings.features != "linear" or last is None or tail not in ("none", "linear"):
        return None
    decay = settings.weight_decay
    activations = backbone.activations(torch.tensor(work.train.inputs)).double().numpy()
    problem = TailProblem(
        work.encoding,
        work.train.labels,
        activations,
        weight_decay=decay,
        inner_decay=decay,
        inner_bias_decay=decay if last.bias is not None else math.inf,
        bias_decay=settings.bias_decay,
        loss=settings.loss,
        layers=layers,
        class_weights=_class_weights(settings, work),
    )
    solution = solve(problem, throw=False)
    if solution.rank > (settings.feature_dim or 0):
        return Prediction.none(
            f"feature_dim: the minimum given the activations has rank {solution.rank}, above {settings.feature_dim}"
        )
    note = (
        f"the minimum over the last {layers} linear layers, given the activations below them as the training left them"
    )
    found = Prediction("given activations", note, solution, solution.geometry, solution.loss)
    tail_module: Any = backbone.tail
    inner = [*last.parameters(), *([] if tail_module is None else tail_module.parameters())]
    below = [parameter.detach().double() for parameter in inner]
    if layers > 2:
        squares = sum(float(layer.square().sum()) for layer in (*below, trained.observation.weight))
        reached = _fit(trained, settings, work) + _bias_penalty(trained, settings) + 0.5 * decay * squares
        reason = "more than two linear layers pose no convex problem, which a guarantee needs"
        return _compared(found, reached, missing_excess=reason)
    parts = _excess(problem, trained, work, solution=solution, inner=[layer.numpy() for layer in below])
    return replace(_compared(found, parts.loss), excess=parts)


def _read_off(trained: Trained, settings: Settings, work: Work) -> Prediction | None:
    """Other decay: the model whose decays fit the network at its end (:func:`effective_decays`), which is no law."""
    effective = effective_decays(trained.observation, settings, work.targets)
    if settings.reweighted:
        return Prediction.none(_WEIGHTED)
    if effective.weight is None or effective.feature is None:
        return Prediction.none(_NO_FIT)
    decays = f"feature decay {effective.feature:.3g}"
    if settings.decay == "decoupled":
        decays = f"weight decay {effective.weight:.3g} and {decays}"
    solution = solve(_problem(settings, work, effective.weight, effective.feature), throw=False)
    note = f"the minimum of the unrestricted feature model {_read(settings, decays)}"
    found = Prediction("effective", note, solution, solution.geometry, solution.loss)
    reached = _reached(trained, settings, work, _decays(effective.weight, effective.feature, settings))
    return _compared(found, reached)


LAWS: tuple[Law, ...] = (
    _another_loss,
    _fixed_classifier,
    _explicit_feature_decay,
    _batch_norm,
    _sample_norm,
    _linear_tail,
    _read_off,
)
"""In the order in which they are asked. The last covers every training."""


def _tail(settings: Settings) -> str:
    """The tail of a network of ours. That of others is not known, but for the last layer that is put on them."""
    return str((settings.model_options or {}).get("tail", "none"))


def _counts(work: Work) -> IntArray:
    return np.bincount(work.train.labels, minlength=work.encoding.num_classes)


def _class_weights(settings: Settings, work: Work) -> FloatArray | None:
    weights = class_weights_of(settings, _counts(work))
    return None if weights is None else weights.numpy()


def _decays(weight_decay: float, feature_decay: float | None, settings: Settings) -> dict[str, Any]:
    return {"weight_decay": weight_decay, "feature_decay": feature_decay, "bias_decay": settings.bias_decay}


def _read(settings: Settings, decays: str) -> str:
    return (
        f"with {decays}, read off the trained network, for {settings.decay} decay regularizes no features; "
        "class means may keep a common part that this model does not have"
    )


def _problem(settings: Settings, work: Work, weight_decay: float, feature_decay: float) -> Problem:
    return Problem(
        work.encoding,
        _counts(work),
        feature_dim=settings.feature_dim,
        features=settings.features,
        loss=settings.loss,
        class_weights=_class_weights(settings, work),
        **_decays(weight_decay, feature_decay, settings),
    )


def _excess(problem: Problem | TailProblem, trained: Trained, work: Work, **options: Any) -> Excess:
    """The excess of the network as it was observed after the training."""
    seen = trained.observation
    bias = None if seen.bias is None else seen.bias.numpy()
    return excess(problem, seen.features.numpy(), work.train.labels, seen.weight.numpy(), bias, **options)


def _least(problem: Problem, note: str, trained: Trained, work: Work) -> Prediction:
    """The minimum of a problem that the training minimizes, and the excess of the network over it in parts."""
    solution = solve(problem, throw=False)
    parts = _excess(problem, trained, work, solution=solution)
    found = Prediction("minimum", note, solution, solution.geometry, solution.loss, excess=parts)
    return _compared(found, parts.loss)


def _reached(trained: Trained, settings: Settings, work: Work, decays: dict[str, Any]) -> float:
    """Objective of the network under decays of weight, features and bias."""
    seen = trained.observation
    objective = Objective(LOSSES[settings.loss], len(work.train), **decays)
    outputs = seen.outputs(seen.features)
    value = objective.samples(outputs, seen.features, work.targets, len(outputs))
    return float(value + objective.penalty(seen.weight, seen.bias))


def _fit(trained: Trained, settings: Settings, work: Work) -> float:
    seen = trained.observation
    return float(LOSSES[settings.loss].values(seen.outputs(seen.features), work.targets).mean())


def _bias_penalty(trained: Trained, settings: Settings) -> float:
    bias = trained.observation.bias
    return 0.0 if bias is None else 0.5 * settings.bias_decay * float(bias.square().sum())


def _compared(found: Prediction, reached: float, *, missing_excess: str = "") -> Prediction:
    """A prediction with what it says of a network whose objective is `reached`."""
    solution, missing = found.solution, dict[str, str]()
    share = None if not found.loss else reached / found.loss - 1
    if share is None:
        missing["relative_excess"] = _AT_ZERO
    if found.kind in ("effective", "fixed_classifier"):
        missing_excess = _NO_LAW if found.kind == "effective" else "for a fixed classifier it is not split into parts"
    geometry = found.geometry
    if solution is not None and not solution.status.success:
        geometry = share = None
        missing |= dict.fromkeys(("comparison", "relative_excess"), solution.status.message)
    elif solution is not None and not solution.unique:
        geometry = None
        missing["comparison"] = _SEVERAL
    if missing_excess:
        missing["excess"] = missing_excess
    return replace(found, geometry=geometry, relative_excess=share, missing=missing)
