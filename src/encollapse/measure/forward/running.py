"""Running somebody's network without leaving a trace in it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence

from encollapse._internal import checks
from encollapse.errors import ArgumentError


@contextmanager
def placed(model: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """Yield the device to run on. A model that is elsewhere is moved there and, afterwards, back."""
    tensors = [*model.parameters(), *model.buffers()]
    present = {tensor.device for tensor in tensors}
    if device is None:
        yield tensors[0].device if tensors else torch.device("cpu")
        return
    wanted = _usable(device)
    if present <= {wanted}:
        yield wanted
        return
    if len(present) > 1:
        raise ArgumentError(
            f"device: the model is spread over {sorted(map(str, present))}; leave device out to run it there"
        )
    home = present.pop()
    try:
        model.to(wanted)
        yield wanted
    finally:
        model.to(home)


def _usable(device: torch.device | str) -> torch.device:
    try:
        tensor = torch.zeros(1, device=device)
        tensor.item()  # 'meta' has no values, and a model that is moved there loses its own
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            f"device: {device!s} is no device to run on ({reason}); leave device out to run where the model is"
        ) from None
    return tensor.device


@contextmanager
def undisturbed(model: nn.Module, device: torch.device, loader: Any = None) -> Iterator[None]:
    """Evaluation mode without gradients. Training modes and random state are restored afterwards.

    Random state is that of torch, numpy and Python, and of the generators that a loader of torch draws from.
    """
    require_readable(model)
    modes = [(module, module.training) for module in model.modules()]
    # They would broadcast their buffers at each batch, and wait for processes that have fewer batches, or none.
    waiting = [part for part in model.modules() if isinstance(part, DistributedDataParallel)]
    synchronized = [(part, part.require_forward_param_sync) for part in waiting]
    accelerators = [device] if device.type == "cuda" else []
    generators = [(generator, generator.get_state()) for generator in _generators(loader)]
    by_numpy, by_python = np.random.get_state(), random.getstate()  # noqa: NPY002 (what data sets use)
    # A compiled network would trace what watches its layers, and fail where it cannot.
    as_written = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    with torch.random.fork_rng(devices=accelerators), torch.no_grad(), as_written:
        try:
            model.eval()
        except NotImplementedError as error:  # a program of torch.export
            raise ArgumentError(
                f"model: this {type(model).__name__} has no evaluation mode ({error}); "
                "measure the module that it was made from"
            ) from None
        try:
            for part in waiting:
                part.require_forward_param_sync = False
            yield
        finally:
            for part, wanted in synchronized:
                part.require_forward_param_sync = wanted
            # Each by its own method, for some do more there than set a flag (LoRA takes its weights apart again),
            # and parents first, as they pass the mode on to their children.
            for module, training in modes:
                if module.training != training:
                    module.train(training)
            for generator, state in generators:
                generator.set_state(state)
            np.random.set_state(by_numpy)  # noqa: NPY002
            random.setstate(by_python)


def require_readable(model: nn.Module) -> None:
    """Refuse networks whose layers cannot be read, or that a run would change.

    Raises
    ------
    ArgumentError
        If the network is one of torch.jit, is sharded by FullyShardedDataParallel, or has layers without weights.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentError(
            f"model: a {type(model).__name__} of torch.jit runs no hooks, so what enters its layers cannot be read; "
            "measure the module that it was made from"
        )
    sharded = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", None)
    for name, module in model.named_modules():
        if sharded is not None and isinstance(module, sharded):
            raise ArgumentError(
                f"model: {name or 'it'!r} is wrapped in FullyShardedDataParallel, which keeps weights flat and in "
                "pieces; load its full state (FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)) into the "
                "plain network and measure that, or shard with fully_shard (FSDP2)"
            )
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if any(is_lazy(tensor) for tensor in own):
            raise ArgumentError(
                f"model: {name!r} ({type(module).__name__}) has no weights before it has run; run one batch through "
                "the model, and train it or load its weights"
            )
        if any(tensor.is_meta for tensor in own):
            raise ArgumentError(
                f"model: {name!r} ({type(module).__name__}) has its weights on the device 'meta', without values; load "
                "them, model.load_state_dict(state, assign=True)"
            )


def acting_parameters(layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a layer as they act now, without a step of parametrizations that learn when they are read.

    ``spectral_norm`` advances its power iteration whenever its weight is read in training mode. A weight that processes
    share (FSDP) is gathered, by all of them.
    """
    parametrizations = getattr(layer, "parametrizations", None)
    modes = [(module, module.training) for module in parametrizations.modules()] if parametrizations else []
    try:
        for module, _ in modes:
            module.eval()
        return checks.whole(layer.weight), checks.whole(layer.bias)
    finally:
        for module, training in modes:
            module.train(training)


def _generators(loader: Any) -> list[torch.Generator]:
    """Generators of a ``torch.utils.data.DataLoader``, its samplers and its data set, each once."""
    sampler = getattr(loader, "batch_sampler", None)
    owners = (loader, getattr(loader, "sampler", None), sampler, getattr(sampler, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in (*owners, getattr(loader, "dataset", None))]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def run(model: nn.Module, inputs: Any, device: torch.device) -> Any:
    """Call the model, a mapping as keyword arguments, a tuple or list as positional ones, and return its output."""
    moved = _move(inputs, device)
    if isinstance(moved, Mapping):
        return model(**moved)
    if isinstance(moved, PackedSequence):  # a tuple too
        return model(moved)
    return model(*moved) if isinstance(moved, tuple | list) else model(moved)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {key: _move(item, device) for key, item in value.items()}
    move: Any = getattr(value, "to", None)  # tensors, packed sequences, graphs and other batches of their own kind
    if callable(move):
        return move(device)
    return [_move(item, device) for item in value] if isinstance(value, tuple | list) else value
