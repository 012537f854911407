"""Running somebody's network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from encollapse.errors import ArgumentError
from encollapse.measure.capturing import Captured, first_tensor


@contextmanager
def placed(model: nn.Module, device: torch.device | str | None) -> Iterator[torch.device]:
    """Yield the device to run on; a model that is elsewhere is moved there and, afterwards, back."""
    tensors = [*model.parameters(), *model.buffers()]
    present = {tensor.device for tensor in tensors}
    if device is None:
        yield tensors[0].device if tensors else torch.device("cpu")
        return
    wanted = torch.empty(0, device=device).device
    if present <= {wanted}:
        yield wanted
        return
    if len(present) > 1:
        raise ArgumentError(
            f"device: the model is spread over {sorted(map(str, present))}; leave device out to run it there"
        )
    home = present.pop()
    model.to(wanted)
    try:
        yield wanted
    finally:
        model.to(home)


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; training modes and random state are restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def run(model: nn.Module, inputs: Any, device: torch.device) -> None:
    """Call the model: a mapping as keyword arguments, a tuple or list as positional ones."""
    moved = _move(inputs, device)
    if isinstance(moved, Mapping):
        model(**moved)
    elif isinstance(moved, tuple | list):
        model(*moved)
    else:
        model(moved)


def run_to_last_linear(
    model: nn.Module, inputs: Any, device: torch.device
) -> tuple[str, nn.Linear, Captured]:
    """Call the model; return the last ``torch.nn.Linear`` that it ran, with its name and its inputs.

    Raises
    ------
    ArgumentError
        If it ran none.
    """
    last: tuple[str, nn.Linear, Captured] | None = None
    seen: dict[str, Captured] = {}

    def note(name: str, module: nn.Linear) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal last
            if last is not None and last[0] != name:
                last[2].clear()
            last = (name, module, seen.setdefault(name, Captured(name)))
            last[2].append(first_tensor(name, args, kwargs))

        return hook

    handles = [
        module.register_forward_pre_hook(note(name, module), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        run(model, inputs, device)
    finally:
        for handle in handles:
            handle.remove()
    if last is None:
        raise ArgumentError(
            "head: the model ran no torch.nn.Linear; name the layer whose inputs are the features"
        )
    return last


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_move(item, device) for item in value]
    return value
