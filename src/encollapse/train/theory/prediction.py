"""`Prediction`: what the theory says of a trained network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from encollapse.geometry import ClassGeometry
from encollapse.ufm import Excess, Solution

OF_THEORY = ("prediction", "comparison", "relative_excess", "excess")
"""Values of a run that may be missing on account of the theory."""


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
        The predicted geometry, or None where none is known or several are equally good.
    loss : float or None
        The predicted minimum.
    relative_excess : float or None
        Objective of the network over the predicted minimum, less 1.
    excess : Excess or None
        The same in parts, above the certified lower bound, with what it guarantees, or None where no law holds.
    missing : dict
        For each value of the run that is None on account of the theory, the reason.
    """

    kind: str
    note: str
    solution: Solution | None = None
    geometry: ClassGeometry | None = None
    loss: float | None = None
    relative_excess: float | None = None
    excess: Excess | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> Any:
        """The problem whose minimum this is: of the class that :mod:`encollapse.ufm` has for the law, or None."""
        return None if self.solution is None else self.solution.problem

    @classmethod
    def none(cls, reason: str) -> Prediction:
        """No prediction, for a reason."""
        return cls("none", reason, missing=dict.fromkeys(OF_THEORY, reason))
