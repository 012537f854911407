"""Moments of several processes as one."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from encollapse.errors import ArgumentError
from encollapse.measure.moments.state import MomentState, reanchored

_NOBODY = torch.iinfo(torch.int64).max


def is_running() -> bool:
    """Whether this process belongs to a torch.distributed group."""
    return dist.is_available() and dist.is_initialized()


def all_reduce(state: MomentState, group: Any = None) -> MomentState:
    """Merge the states of all processes of the group, the same on every rank.

    Every rank moves its scatter to the common class means and the sums are added up, so that no process
    ever holds the moments of another one: memory and traffic do not grow with the number of processes.

    Raises
    ------
    ArgumentError
        On every rank, if the ranks hold moments of different shapes.
    """
    carrier = carrier_device(group)
    local = state.to(carrier)
    _require_equal_shapes(local, group)
    counts = total(local.counts, group)
    anchors = _common_anchors(local, group)
    # Both are differences of nearby points, so the sums keep their digits at any degree of collapse.
    offsets = (local.anchors - anchors) + local.offsets
    weight = (local.counts.double() / counts.clamp(min=1))[:, None]
    centers = anchors + total(weight * offsets, group)
    moved = reanchored(local, centers)
    resolution = torch.tensor([local.resolution], dtype=torch.float64, device=carrier)
    dist.all_reduce(resolution, op=dist.ReduceOp.MAX, group=group)
    return MomentState(
        counts=counts,
        anchors=centers,
        sums=total(moved.sums, group),
        squares=total(moved.squares, group),
        scatter=None if moved.scatter is None else total(moved.scatter, group),
        resolution=float(resolution),
    ).to(state.counts.device)


def total(value: torch.Tensor, group: Any = None) -> torch.Tensor:
    """Sum of a tensor over the processes of the group."""
    result = value.clone().contiguous()
    dist.all_reduce(result, group=group)
    return result


def carrier_device(group: Any = None) -> torch.device:
    """Return the device that the group's backend moves tensors on."""
    if "nccl" in str(dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _common_anchors(state: MomentState, group: Any) -> torch.Tensor:
    """For every class the anchor of the lowest rank that has samples of it, or zero where none has."""
    rank = dist.get_rank(group)
    owner = torch.where(state.counts > 0, rank, _NOBODY)
    dist.all_reduce(owner, op=dist.ReduceOp.MIN, group=group)
    return total(torch.where((owner == rank)[:, None], state.anchors, 0.0), group)


def _require_equal_shapes(state: MomentState, group: Any) -> None:
    own = torch.tensor([*state.anchors.shape, int(state.scatter is not None)], device=state.counts.device)
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, own, group=group)
    shapes = [tuple(int(i) for i in other) for other in gathered]
    if len(set(shapes)) > 1:
        raise ArgumentError(
            "all_reduce: the processes hold moments of different shapes (num_classes, feature_dim, "
            f"covariance): {shapes}; construct ClassMoments alike on every rank"
        )
