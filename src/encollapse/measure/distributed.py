"""Moments of several processes as one."""

from __future__ import annotations

from dataclasses import fields
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist

from encollapse.errors import ArgumentError
from encollapse.measure.moment_state import MomentState, merge


def is_running() -> bool:
    """Whether this process belongs to a torch.distributed group."""
    return dist.is_available() and dist.is_initialized()


def all_reduce(state: MomentState, group: Any = None) -> MomentState:
    """Merge the states of all processes of the group, in rank order, the same on every rank.

    Raises
    ------
    ArgumentError
        On every rank, if the ranks hold moments of different shapes.
    """
    home = state.counts.device
    carrier = (
        torch.device("cuda", torch.cuda.current_device())
        if "nccl" in str(dist.get_backend(group))
        else torch.device("cpu")
    )
    local = state.to(carrier)
    _require_equal_shapes(local, group)
    columns: dict[str, list[Any]] = {}
    for field in fields(local):
        value = getattr(local, field.name)
        if value is None:
            columns[field.name] = [None] * dist.get_world_size(group)
        elif isinstance(value, torch.Tensor):
            columns[field.name] = _gather(value, group)
        else:
            scalars = _gather(torch.tensor([value], dtype=torch.float64, device=carrier), group)
            columns[field.name] = [float(scalar) for scalar in scalars]
    states = [MomentState(*values) for values in zip(*columns.values(), strict=True)]
    return reduce(merge, states).to(home)


def _require_equal_shapes(state: MomentState, group: Any) -> None:
    shape = [*state.anchors.shape, int(state.scatter is not None)]
    gathered = _gather(torch.tensor(shape, device=state.counts.device), group)
    shapes = [tuple(int(i) for i in other) for other in gathered]
    if len(set(shapes)) > 1:
        raise ArgumentError(
            "all_reduce: the processes hold moments of different shapes (num_classes, feature_dim, "
            f"covariance): {shapes}; construct ClassMoments alike on every rank"
        )


def _gather(value: torch.Tensor, group: Any) -> list[torch.Tensor]:
    value = value.contiguous()
    parts = [torch.empty_like(value) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, value, group=group)
    return parts
