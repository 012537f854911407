"""What an optimizer does to each parameter: its weight decay, and whether that decay belongs to an objective."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError

_PROBE_STEPS = 3  # steps of the copy of the optimizer
_PROBE_RATE = 1e-3  # learning rate of the copy
_PROPORTIONAL = 0.2  # of a ratio that is 2 where decay acts in proportion, and 1 where its size does not matter
_STILL = 1e-3  # of the movement that the same optimizer makes without the balancing gradient


@dataclass(frozen=True)
class Decays:
    """Weight decay of every parameter of a network, on the scale of the loss that the user's optimizer sees.

    Attributes
    ----------
    by_parameter : dict of str to float
        Decay of each trained parameter, by its name in the network. A parameter that is not trained is absent.
    source : str
        Where the values come from, for the reader.
    coupled : bool
        Whether the decay is the gradient of ``λ/2 |p|²``, and so belongs to an objective.
    """

    by_parameter: dict[str, float]
    source: str
    coupled: bool = True

    def of(self, name: str | None) -> float | None:
        """Decay of a parameter, or None for one that is not there or not trained."""
        return None if name is None else self.by_parameter.get(name)


def read_decays(network: nn.Module, optimizer: Optimizer | None, given: float | Mapping[str, float] | None) -> Decays:
    """Find the decay of every parameter, from an optimizer or from what the caller says.

    Raises
    ------
    ArgumentError
        If the optimizer holds none of the network's parameters, a decay is negative or not finite, or a name matches
        no parameter.
    ArgumentTypeError
        If the optimizer is none of torch.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    if given is not None:
        return _by_hand(network, given, optimizer)
    if optimizer is None:
        return Decays({}, "nothing: neither optimizer nor weight_decay was given")
    groups = _groups(optimizer)
    found: dict[str, float] = {}
    foreign = 0
    coupled = True
    for group in groups:
        decay = float(group.get("weight_decay", 0.0) or 0.0)
        mine = [names[id(parameter)] for parameter in group["params"] if id(parameter) in names]
        foreign += len(group["params"]) - len(mine)
        found |= dict.fromkeys(mine, decay)
        if decay > 0 and mine:
            coupled = coupled and is_coupled(optimizer, group)
    if not found:
        raise ArgumentError(
            f"optimizer: none of its {foreign} parameters belongs to the network; give the optimizer that trained this "
            "network, built from the same module object, or the decays by weight_decay=..."
        )
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    kept = {name: decay for name, decay in found.items() if name in trained}
    return Decays(kept, type(optimizer).__name__, coupled)


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    inner = getattr(optimizer, "optimizer", optimizer)  # as accelerate and Fabric wrap it
    if not hasattr(inner, "param_groups"):
        raise ArgumentTypeError(f"optimizer: expected a torch optimizer, got {type(optimizer).__name__}")
    return list(inner.param_groups)


def _by_hand(network: nn.Module, given: float | Mapping[str, float], optimizer: Any) -> Decays:
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    # Where the optimizer has a decay of its own, it is the one that is told here, and how it acts is known.
    own = [] if optimizer is None else [g for g in _groups(optimizer) if float(g.get("weight_decay", 0.0) or 0.0) > 0]
    if not all(is_coupled(optimizer, group) for group in own):
        source, coupled = type(optimizer).__name__, False
    else:
        source, coupled = "weight_decay by name", True
    if not isinstance(given, Mapping):
        decay = checks.nonnegative(given, "weight_decay")
        if coupled:
            source = f"weight_decay={decay:g} on every parameter"
        return Decays(dict.fromkeys(trained, decay), source, coupled)
    found = dict.fromkeys(trained, 0.0)
    for key, value in given.items():
        decay = checks.nonnegative(value, f"weight_decay[{key!r}]")
        matching = [name for name in trained if name == key or name.startswith(f"{key}.")]
        if not matching:
            raise ArgumentError(
                f"weight_decay: {key!r} names no trained parameter or module of the network; "
                f"the parameters are {', '.join(trained[:12])}{' …' if len(trained) > 12 else ''}"
            )
        found |= dict.fromkeys(matching, decay)
    return Decays(found, source, coupled)


def is_coupled(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Whether the decay of a parameter group is the gradient of a penalty, found by running the optimizer.

    A copy of the optimizer steps a small matrix p whose loss has the gradient ``-λ p``. Where the decay is part of the
    objective, loss and penalty balance there and p rests. Where it is decoupled :cite:p:`loshchilov2019`, p moves.
    """
    # Powers of two: rounding in -λ p + λ p would be all that Adagrad sees, and it divides by what it has seen.
    start = torch.linspace(-1.5, 2.0, 15, dtype=torch.float64).reshape(5, 3)
    decay = 2.0 ** round(math.log2(float(group["weight_decay"])))
    moved = []
    for gradient in (-decay * start, -decay * start.flip(0) + 0.1):
        after = stepped(optimizer, group, start, gradient, decay)
        if after is None:
            return _known_coupled(optimizer, group)
        moved.append(float((after - start).norm()))
    return math.isfinite(moved[0]) and moved[0] <= _STILL * moved[1]


def stepped(
    optimizer: Any, group: Mapping[str, Any], start: torch.Tensor, gradient: torch.Tensor, decay: float
) -> torch.Tensor | None:
    """Where a copy of the optimizer takes a parameter whose loss has a gradient that does not change.

    None where the optimizer cannot be run on a small matrix.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    sign = -1.0 if group.get("maximize", False) else 1.0  # then the loss is the negative of what is maximized
    point = nn.Parameter(start.clone())
    probe = copy.copy(inner)
    probe.state = defaultdict(dict)
    probe.param_groups = [{**group, "params": [point], "lr": _PROBE_RATE, "weight_decay": decay}]
    try:
        for _ in range(_PROBE_STEPS):
            point.grad = sign * gradient
            type(inner).step(probe)
    except Exception:
        return None
    return point.detach()


def shrinks_in_proportion(optimizer: Any, group: Mapping[str, Any]) -> bool:
    """Whether twice the decay shrinks a parameter without gradient twice as fast, as under SGD and AdamW.

    Adam and its kin divide by the size of what they have seen, and there the decay's gradient is all that they see.
    """
    start = torch.full((5, 3), 1.0, dtype=torch.float64)
    moved = []
    for decay in (2.0**-7, 2.0**-6):
        end = stepped(optimizer, group, start, torch.zeros_like(start), decay)
        if end is None:
            return True
        moved.append(float((start - end).mean()))
    once, twice = moved
    return once > 0 and abs(twice / once - 2.0) < _PROPORTIONAL


def _known_coupled(optimizer: Any, group: Mapping[str, Any]) -> bool:
    """By its kind, where the optimizer cannot be run on a small matrix."""
    optimizer = getattr(optimizer, "optimizer", optimizer)
    return "AdamW" not in type(optimizer).__name__ and not group.get("decoupled_weight_decay", False)
