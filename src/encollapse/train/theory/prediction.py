"""What the theory says of a trained network: the minimum of its objective, or of the nearest that has one.

Each law covers some trainings and says what follows for them. :data:`LAWS` lists them, and the first that covers a
training speaks. A law for another tail of the network is one more entry. Nothing here may lose a network that has
been trained: where no law holds, or none can be solved, the prediction is of the kind ``"none"`` and has the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, EncollapseError, EncollapseWarning
from encollapse.geometry import ClassGeometry
from encollapse.train.loop.snapshot import Observation, effective_decays
from encollapse.train.loop.task import Work
from encollapse.train.losses import LOSSES
from encollapse.train.settings import Settings
from encollapse.train.theory.fixed_classifier import fixed_minimum
from encollapse.train.ufm_objective import Objective
from encollapse.ufm import Problem, Solution, solve
from encollapse.ufm.label_structure import LabelStructure
from encollapse.ufm.losses.cross_entropy import CrossEntropy

_REWEIGHTED = "class_weights and logit_adjustment make another loss than the theory here is about"
_NO_FIT = "the loss does not pull the outputs to grow, so no decays could hold this network in balance"
_SEVERAL = "several geometries reach the predicted minimum; relative_excess says how near it is"
_AT_ZERO = "the predicted minimum is 0, of which no excess is a share"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a trained network is compared with.

    Attributes
    ----------
    kind : {"minimum", "given activations", "effective", "fixed_classifier", "none"}
        See ``prediction_kind`` of :class:`encollapse.train.Run`.
    note : str
        The same in a sentence with its numbers, and what does not follow.
    solution : Solution or None
        The minimum that was computed, with its problem.
    geometry : ClassGeometry or None
        The predicted geometry; None where none is known or several are equally good.
    loss : float or None
        The predicted minimum.
    relative_excess : float or None
        Objective of the network over the predicted minimum, less 1.
    missing : dict
        For each value of the run that is None on account of the theory, the reason.
    """

    kind: str
    note: str
    solution: Solution | None = None
    geometry: ClassGeometry | None = None
    loss: float | None = None
    relative_excess: float | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> Problem | None:
        """The problem whose minimum this is."""
        return None if self.solution is None else self.solution.problem

    @classmethod
    def none(cls, reason: str) -> Prediction:
        """No prediction, for a reason."""
        return cls("none", reason, missing=dict.fromkeys(("prediction", "comparison", "relative_excess"), reason))


Law = Callable[[Observation, Settings, Work], Prediction | None]
"""Takes the trained network, its settings and its data; None where the law is not about such a training."""


def require_distributions(encoding: Encoding, counts: IntArray, bias_decay: float) -> None:
    """Refuse codewords that cross-entropy has no meaning, or no minimum, for.

    Raises
    ------
    ArgumentError
        If a codeword has an entry below 0 or does not sum to 1, or no class asks for an output whose bias is free.
    """
    loss = CrossEntropy()
    outputs = LabelStructure(encoding, np.asarray(counts), loss).output_map  # which refuses what is no distribution
    if bias_decay == 0 and not loss.bounded(outputs.mean(outputs.targets)):
        raise ArgumentError(
            "bias_decay: at 0 there is no minimizer, as an output that no class asks for lets its bias fall without "
            "end under loss='cross_entropy'; give a bias_decay above 0, or drop that output"
        )


def predict(seen: Observation, settings: Settings, work: Work) -> Prediction:
    """What the first law that covers the training says. Whatever goes wrong on the way is the reason for none."""
    try:
        return next(found for law in LAWS if (found := law(seen, settings, work)) is not None)
    except EncollapseError as error:
        return Prediction.none(str(error))
    except Exception as error:  # the network is worth more than its prediction
        reason = f"the prediction failed with {type(error).__name__}: {error}"
        warnings.warn(f"{reason}; the network is measured without one", EncollapseWarning, stacklevel=2)
        return Prediction.none(reason)


def _reweighted(seen: Observation, settings: Settings, work: Work) -> Prediction | None:
    """No law is about a loss that treats classes differently."""
    return Prediction.none(_REWEIGHTED) if settings.reweighted else None


def _explicit_feature_decay(seen: Observation, settings: Settings, work: Work) -> Prediction | None:
    """Features that are regularized themselves: the minimum of the very objective."""
    if settings.feature_decay is None:
        return None
    return _minimum(seen, settings, work, settings.weight_decay, settings.feature_decay)


def _read_off(seen: Observation, settings: Settings, work: Work) -> Prediction | None:
    """Other decay: the model whose decays fit the network at its end (:func:`effective_decays`), which is no law."""
    effective = effective_decays(seen, settings, work.targets)
    if effective.weight is None or effective.feature is None:
        return Prediction.none(_NO_FIT)
    decays = f"feature decay {effective.feature:.3g}"
    if settings.decay == "decoupled" and not settings.fixed_classifier:
        decays = f"weight decay {effective.weight:.3g} and {decays}"
    read = (
        f"with {decays}, read off the trained network, for {settings.decay} decay regularizes no features; "
        "class means may keep a common part that this model does not have"
    )
    return _minimum(seen, settings, work, effective.weight, effective.feature, read)


LAWS: tuple[Law, ...] = (_reweighted, _explicit_feature_decay, _read_off)
"""In the order in which they are asked; the last covers every training."""


def _minimum(
    seen: Observation, settings: Settings, work: Work, weight_decay: float, feature_decay: float, read: str = ""
) -> Prediction:
    """The minimum of the unrestricted feature model with these decays, and the excess of the network over it."""
    decays: dict[str, Any] = {
        "weight_decay": weight_decay,
        "feature_decay": feature_decay,
        "bias_decay": settings.bias_decay,
    }
    objective = Objective(LOSSES[settings.loss], len(work.train), **decays)
    outputs = seen.outputs(seen.features)
    reached = float(
        objective.samples(outputs, seen.features, work.targets, len(outputs))
        + objective.penalty(seen.weight, seen.bias)
    )
    counts = np.bincount(work.train.labels, minlength=work.encoding.num_classes)
    if work.fixed_weight is not None:
        note = f"the minimum over features and bias for the fixed classifier {read}".rstrip()
        fixed = fixed_minimum(
            work.encoding,
            counts,
            work.fixed_weight.numpy(),
            loss=settings.loss,
            rectified=settings.features == "relu",
            **decays,
        )
        return _compared(Prediction("fixed_classifier", note, None, fixed.geometry, fixed.loss), reached)
    problem = Problem(
        work.encoding,
        counts,
        feature_dim=settings.feature_dim,
        features=settings.features,
        loss=settings.loss,
        **decays,
    )
    solution = solve(problem, throw=False)
    kind, note = "minimum", "the minimum of the objective that was minimized"
    if read:
        kind, note = "effective", f"the minimum of the unrestricted feature model {read}"
    return _compared(Prediction(kind, note, solution, solution.geometry, solution.loss), reached)


def _compared(found: Prediction, reached: float) -> Prediction:
    """A prediction with what it says of a network whose objective is `reached`."""
    solution, missing = found.solution, dict[str, str]()
    excess = None if not found.loss else reached / found.loss - 1
    if excess is None:
        missing["relative_excess"] = _AT_ZERO
    geometry = found.geometry
    if solution is not None and not solution.status.success:
        geometry = excess = None
        missing = dict.fromkeys(("comparison", "relative_excess"), solution.status.message)
    elif solution is not None and not solution.unique:
        geometry = None
        missing["comparison"] = _SEVERAL
    return replace(found, geometry=geometry, relative_excess=excess, missing=missing)
