"""A law of a training, its premises, and what it is decided by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from encollapse._internal.typing import IntArray
from encollapse.diagnosis.objective import LossReading
from encollapse.diagnosis.observe import Observation
from encollapse.diagnosis.optimizer import Decays
from encollapse.diagnosis.tail import Tail

UNSOLVED = "the minimum of the law is known"
"""Premise that fails where the package has no method for the problem of a law."""


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


class NoLawError(Exception):
    """A premise fails. The text is the reason."""
