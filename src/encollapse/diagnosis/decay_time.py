"""How long a training has lasted in the unit that weight decay sets: ``τ = Σ_steps lr/(1 - momentum) · λ``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

ENOUGH = 5.0
"""Decay times after which the size of the features was seen at its equilibrium, theory §7."""


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
    """

    spent: float
    steps: int
    decay: float
    rate: float
    note: str = ""

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
    group = max(inner.param_groups, key=lambda g: sum(p.numel() for p in g["params"]))
    slow = 1.0 - float(group.get("momentum", 0.0) or 0.0) if "momentum" in group else 1.0
    if float(group.get("dampening", 0.0) or 0.0) and slow < 1:
        slow /= 1.0 - float(group["dampening"])
    calls = int(getattr(scheduler, "last_epoch", 0) or 0) if scheduler is not None else 0
    counted = steps if steps is not None else _counted(inner)
    note = ""
    if counted is None and calls:
        per_call = batches or 1
        counted = calls * per_call if calls < 10_000 and batches else calls
        note = f"{counted} steps: {calls} steps of the scheduler" + (f" of {per_call} batches each" if batches else "")
    if counted is None or counted <= 0:
        return None
    rates = _rates(scheduler, calls, group)
    if rates is None:
        rate = float(group["lr"])
        note = note or (
            "the learning rate was constant" if scheduler is None else "the learning rate was the present one"
        )
    else:
        rate = sum(rates) / len(rates)
    mean = rate / slow
    return DecayTime(mean * decay * counted, counted, decay, mean, note)


def _counted(optimizer: Any) -> int | None:
    """Steps that the optimizer's own state remembers (Adam and its kin)."""
    found = [state["step"] for state in optimizer.state.values() if isinstance(state, dict) and "step" in state]
    return int(max(float(step) for step in found)) if found else None


def _rates(scheduler: Any, calls: int, group: dict[str, Any]) -> list[float] | None:
    """Learning rates of the steps that a scheduler has taken, from its own formula."""
    if scheduler is None or calls <= 0:
        return None
    index = next((i for i, g in enumerate(scheduler.optimizer.param_groups) if g is group), 0)
    probe = copy.copy(scheduler)
    probe._get_lr_called_within_step = True  # or get_lr warns that it is asked out of turn
    formula = getattr(probe, "_get_closed_form_lr", None)
    if formula is None and type(scheduler).__name__ in ("LambdaLR", "OneCycleLR"):
        formula = probe.get_lr
    if formula is None:
        return None
    stride = max(1, calls // 1000)
    found = []
    for epoch in range(0, calls, stride):
        probe.last_epoch = epoch
        found.append(float(formula()[index]))
    return found
