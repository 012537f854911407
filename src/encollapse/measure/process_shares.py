"""The shares of several processes: all of them are measured, or all of them raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from encollapse._internal.typing import IntArray
from encollapse.errors import ArgumentError
from encollapse.measure.class_moments import ClassMoments

_NOTHING = "loader: yielded no samples; a generator can be used only once, and a loader must not be empty"


@dataclass(frozen=True, eq=False)
class Share:
    """What one process has read.

    Parameters
    ----------
    moments : ClassMoments
        Of its samples.
    labels : (N,) ints
        Their labels.
    weight, bias : arrays or None
        Of the head, as it acts.
    provenance : dict
        What the result says of the head.
    """

    moments: ClassMoments
    labels: IntArray
    weight: Any
    bias: Any
    provenance: dict[str, Any]


@contextmanager
def buffers_of_the_first(model: nn.Module) -> Iterator[None]:
    """Give the network of every process the buffers of the first, as DistributedDataParallel does at each batch.

    Statistics of batch normalization differ from process to process after a step of training. Every process gets its
    own back.
    """
    parts = [m for m in model.modules() if isinstance(m, DistributedDataParallel) and m.broadcast_buffers]
    found = [(buffer, m.process_group) for m in parts for buffer in m.module.buffers()]
    kept = [buffer.detach().clone() for buffer, _ in found]
    try:
        for buffer, group in found:
            dist.broadcast(buffer.detach(), dist.get_global_rank(group, 0), group=group)
        yield
    finally:
        with torch.no_grad():
            for (buffer, _), own in zip(found, kept, strict=True):
                buffer.copy_(own)


def required(share: Share | None) -> Share:
    """Return the share of the only process.

    Raises
    ------
    ArgumentError
        If it has no samples.
    """
    if share is None:
        raise ArgumentError(_NOTHING)
    return share


def merged_share(read: Callable[[], Share | None], device: torch.device) -> Share:
    """Return the share of this process with the moments of all. One without samples takes the head of another.

    Parameters
    ----------
    read : callable
        Reads the share of this process, None where it has no samples.
    device : torch.device
        Where its moments are.

    Raises
    ------
    ArgumentError
        On every process, if one could not read its share (there with its own error), or none has samples.
    """
    share, failure = None, None
    try:
        share = read()
    except Exception as error:  # of the network, the loader or ours: the others wait for this process
        failure = error
    said: list[Any] = [None] * dist.get_world_size()
    said_here = share is not None, None if failure is None else f"{type(failure).__name__}: {failure}"
    dist.all_gather_object(said, said_here)
    if failure is not None:
        raise failure
    for rank, (_, reason) in enumerate(said):
        if reason is not None:
            raise ArgumentError(f"distributed: process {rank} could not read its share, and none goes on: {reason}")
    holders = [rank for rank, (holds, _) in enumerate(said) if holds]
    if not holders:
        raise ArgumentError(_NOTHING)
    if len(holders) < len(said):
        head: list[Any] = [None]
        if share is not None:
            m = share.moments
            parts = (None if x is None else x.detach().cpu() for x in (share.weight, share.bias))
            head[0] = (m.num_classes, m.feature_dim, m.covariance), *parts, share.provenance
        dist.broadcast_object_list(head, src=holders[0])
        if share is None:
            (classes, dim, covariance), *rest = head[0]
            blank = ClassMoments(classes, dim, device=device, covariance=covariance)
            share = Share(blank, np.empty(0, dtype=np.int64), *rest)
    assert share is not None
    return replace(share, moments=share.moments.all_reduce())
