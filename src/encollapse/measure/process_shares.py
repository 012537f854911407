"""The shares of several processes: all of them are measured, or all of them raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from encollapse.measure.moments.distributed import carrier_device, is_running, total

_NOTHING = (
    "loader: yielded no samples; a generator can be used only once, a loader must not be empty, and not all labels the "
    "mark ignore_index"
)


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

    Statistics of batch normalization differ from process to process after a step of training, also where a framework
    hands over the network without its wrapper. Every process gets its own back. Buffers that are split between
    processes, or of networks that are different there, stay, and so do those that the wrapper is told to leave.
    """
    parts = [m for m in model.modules() if isinstance(m, DistributedDataParallel)]
    group: dict[int, Any] = {
        id(b): (m.process_group if m.broadcast_buffers else None) for m in parts for b in m.buffers()
    }
    loose = [(name, b) for name, b in model.named_buffers() if id(b) not in group and not hasattr(b, "full_tensor")]
    signatures: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(signatures, [(name, tuple(b.shape), str(b.dtype)) for name, b in loose])
    if all(other == signatures[0] for other in signatures):
        group |= {id(buffer): dist.group.WORLD for _, buffer in loose}
    found = [(buffer, group[id(buffer)]) for buffer in model.buffers() if group.get(id(buffer)) is not None]
    kept = [buffer.detach().clone() for buffer, _ in found]
    carriers = {id(own): carrier_device(own) for _, own in found}
    try:
        for buffer, own in found:
            carried = buffer.detach().to(carriers[id(own)])
            dist.broadcast(carried, dist.get_global_rank(own, 0), group=own)
            buffer.detach().copy_(carried)
        yield
    finally:
        with torch.no_grad():
            for (buffer, _), before in zip(found, kept, strict=True):
                buffer.copy_(before)


_READY, _ENDED, _FAILED = range(3)


class OthersStoppedError(ArgumentError):
    """One process cannot go on, as another has no batch any more or has failed."""


@contextmanager
def in_step(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Yield what every process calls before each batch, where a network needs all of them to run one (FSDP2).

    It returns once all have a batch. Where one has failed or has no batch any more, it raises on all that still have
    one, which would otherwise wait for that one, and where these have said so the exit raises on the others.

    Raises
    ------
    OthersStoppedError
        If the processes have different numbers of batches, or another one failed.
    """
    if not is_running() or not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        yield lambda: None
        return
    settled = False

    def say(state: int) -> None:
        nonlocal settled
        said = torch.zeros(3, dtype=torch.int64, device=carrier_device())
        said[state] = 1
        ready, ended, failed = total(said).tolist()
        if dist.get_world_size() in (ready, ended):
            return
        settled = True
        if failed:
            raise OthersStoppedError("distributed: another process could not read its share, and none goes on")
        raise OthersStoppedError(
            f"loader: {ended} of {ready + ended} processes have no batch any more, and the others have one; a network "
            "that processes share needs as many batches in each, such as those of a DistributedSampler"
        )

    try:
        yield lambda: say(_READY)
    except BaseException:
        if not settled:
            with suppress(OthersStoppedError):
                say(_FAILED)
        raise
    say(_ENDED)


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
    own = failure is not None and not isinstance(failure, OthersStoppedError)
    said_here = share is not None, f"{type(failure).__name__}: {failure}" if own else None
    dist.all_gather_object(said, said_here)
    if failure is not None and (own or all(reason is None for _, reason in said)):
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
