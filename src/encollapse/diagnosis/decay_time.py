"""How long a training has lasted in the unit that weight decay sets: ``τ = Σ_steps lr/(1 - momentum) · λ``."""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from encollapse._internal import checks
from encollapse.diagnosis.optimizer import shrinks_in_proportion

ENOUGH = 5.0
"""Decay times after which the size of the features was seen at its equilibrium."""
_MANY = 10_000  # steps of a scheduler that are more than anybody's epochs
_EVERY_STEP = ("OneCycleLR", "CyclicLR")  # schedules that are made for steps, and not for epochs


@dataclass(frozen=True)
class DecayTime:
    """Decay time of a training.

    Attributes
    ----------
    spent : float
        τ. After one unit a parameter without gradient has shrunk to 1/e.
    steps : int
        Steps of the optimizer.
    decay, rate : float
        The weight decay λ and the mean of lr/(1 - momentum).
    note : str
        What was assumed, if anything.
    exact : bool
        Whether a parameter without gradient shrinks at that rate. Adam and its kin divide by the size of gradients, the
        decay's too, and then τ is only learning rate times decay.
    """

    spent: float
    steps: int
    decay: float
    rate: float
    note: str = ""
    exact: bool = True

    @property
    def left(self) -> float:
        """Steps at the mean rate until :data:`ENOUGH` decay times are spent, or 0 if they are."""
        if self.rate * self.decay <= 0:
            return float("inf")
        return max(0.0, (ENOUGH - self.spent) / (self.rate * self.decay))


def decay_time(
    optimizer: Any, scheduler: Any, steps: int | None, decay: float, batches: int | None
) -> DecayTime | None:
    """Add up τ, or None where the number of steps or the learning rate is not known.

    Parameters
    ----------
    optimizer, scheduler
        As they are after the training, or None.
    steps : int, optional
        Steps of the optimizer. Otherwise they are read off its state, or off the scheduler.
    decay : float
        λ, on the scale of the optimizer.
    batches : int, optional
        Batches in an epoch, for schedulers that step once an epoch.
    """
    if optimizer is None:
        return None
    inner = getattr(optimizer, "optimizer", optimizer)
    scheduler = getattr(scheduler, "scheduler", scheduler)  # as accelerate wraps it
    group = max(inner.param_groups, key=lambda g: sum(p.numel() for p in g["params"]))
    calls = int(getattr(scheduler, "last_epoch", 0) or 0) if scheduler is not None else 0
    counted = _counted(inner) if steps is None else checks.integer(steps, "steps", minimum=0)
    note = ""
    if counted is None and calls:
        per_call = 1 if type(scheduler).__name__ in _EVERY_STEP or calls >= _MANY else batches or 1
        counted = calls * per_call
        note = f"{counted} steps, as the scheduler took {calls}" + (
            f" and each is counted as a pass of {per_call} batches" if per_call > 1 else ""
        )
    if not counted or counted <= 0:
        return None
    rates = _rates(scheduler, calls, group)
    if rates is None:
        mean = _rate(group, float(group["lr"]))
        note = note or (
            "the learning rate was constant" if scheduler is None else "the learning rate was the present one"
        )
    else:
        mean = sum(rates) / len(rates)
    if not mean > 0:
        return None  # the rate at the end of a schedule says nothing of those before it
    return DecayTime(mean * decay * counted, counted, decay, mean, note, shrinks_in_proportion(inner, group))


def _rate(group: dict[str, Any], learning_rate: float) -> float:
    """What a step adds up to once momentum has run its course."""
    slow = 1.0 - float(group.get("momentum", 0.0) or 0.0)
    if slow < 1:
        slow /= 1.0 - float(group.get("dampening", 0.0) or 0.0)
    return learning_rate / slow if slow > 0 else math.inf


def _counted(optimizer: Any) -> int | None:
    """Steps that the optimizer's own state remembers (Adam and its kin)."""
    found = [state["step"] for state in optimizer.state.values() if isinstance(state, dict) and "step" in state]
    return int(max(float(step) for step in found)) if found else None


def _rates(scheduler: Any, calls: int, group: dict[str, Any]) -> list[float] | None:
    """Rates of the steps that a scheduler has taken, from its own formula."""
    if scheduler is None or calls <= 0:
        return None
    index = next((i for i, g in enumerate(scheduler.optimizer.param_groups) if g is group), 0)
    found = []
    for epoch in range(0, calls, max(1, calls // 1000)):
        rate = _rate_at(scheduler, epoch, index)
        if rate is None:
            return None
        found.append(rate)
    return found


def _rate_at(scheduler: Any, epoch: int, index: int) -> float | None:
    """The rate of a parameter group at a step of a scheduler, or None where no formula is known."""
    if type(scheduler).__name__ == "SequentialLR":
        part = bisect_right(scheduler._milestones, epoch)
        start = scheduler._milestones[part - 1] if part else 0
        return _rate_at(scheduler._schedulers[part], epoch - start, index)
    probe = copy.copy(scheduler)
    groups = [dict(group) for group in scheduler.optimizer.param_groups]
    probe.optimizer = SimpleNamespace(param_groups=groups)  # some formulas set the momentum of their optimizer
    probe._get_lr_called_within_step = True  # or get_lr warns that it is asked out of turn
    probe.last_epoch = epoch
    formula = getattr(probe, "_get_closed_form_lr", None)
    if formula is None and type(scheduler).__name__ in ("LambdaLR", *_EVERY_STEP):
        formula = probe.get_lr
    return None if formula is None else _rate(groups[index], float(formula()[index]))
