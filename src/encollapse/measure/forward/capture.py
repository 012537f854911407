"""`capture`: collect what goes into a layer of a network, and leave no trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import nn

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError


class Captured(Sequence[torch.Tensor]):
    """Inputs of a layer, one entry for each time it ran: detached copies on the device they were on.

    Parameters
    ----------
    layer : str
        Name of the layer, for messages.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 5))
    >>> with ec.measure.capture(network, "1") as captured:
    ...     _ = network(torch.ones(4, 2, 3)), network(torch.ones(7, 2, 3))
    >>> captured
    Captured('1', 2 inputs)
    >>> captured.cat().shape
    torch.Size([11, 6])
    """

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._inputs: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._inputs)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> list[torch.Tensor]: ...

    def __getitem__(self, index: int | slice) -> torch.Tensor | list[torch.Tensor]:
        return self._inputs[index]

    def __repr__(self) -> str:
        return f"Captured({self._layer!r}, {len(self)} inputs)"

    def append(self, value: torch.Tensor) -> None:
        """Keep a detached copy: later layers may overwrite the original in place."""
        self._inputs.append(value.detach().clone())

    def cat(self) -> torch.Tensor:
        """All inputs as one tensor (N, d), each flattened after its first axis.

        Raises
        ------
        ArgumentError
            If nothing was captured, or the inputs have different widths.
        """
        if not self._inputs:
            raise ArgumentError(
                f"layer: nothing was captured, as {self._layer!r} did not run inside the with block; "
                "call the model there, and not a copy or a compiled version of it"
            )
        rows = [x.reshape(1, -1) if x.ndim < 2 else x.flatten(1) for x in self._inputs]
        widths = sorted({r.shape[1] for r in rows})
        if len(widths) > 1:
            raise ArgumentError(
                f"layer: the inputs of {self._layer!r} have different widths {widths}; take them one by one instead"
            )
        return torch.cat(rows)

    def clear(self) -> None:
        """Forget what was captured so far."""
        self._inputs.clear()


@contextmanager
def capture(model: nn.Module, layer: str | nn.Module) -> Iterator[Captured]:
    """Collect the inputs of a layer while the block runs.

    The hook is removed on the way out, also after an error. Training mode, gradients and random state
    stay as they are.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    layer : str or torch.nn.Module
        A module of it, or its dotted name as in ``model.named_modules()``.

    Yields
    ------
    Captured
        The inputs, as they come.

    Raises
    ------
    ArgumentError
        If the model has no such layer, or the layer is called without a tensor.
    ArgumentTypeError
        If the model is no module, or the layer neither a module nor a name.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> with ec.measure.capture(network, "2") as features:
    ...     outputs = network(torch.ones(11, 3))
    >>> features.cat().shape
    torch.Size([11, 7])
    """
    name, module = find_layer(model, layer)
    captured = Captured(name)

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        captured.append(first_tensor(name, args, kwargs))

    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield captured
    finally:
        handle.remove()


def find_layer(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    """Return dotted name and module of a layer given as either.

    Raises
    ------
    ArgumentError
        If the model has no such layer. The text lists names that come close.
    """
    checks.instance(model, "model", nn.Module, what="a torch.nn.Module")
    modules = dict(model.named_modules(remove_duplicate=False))  # a layer may have several names
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return name, module
        raise ArgumentError(f"layer: this {type(layer).__name__} is not a part of the model")
    if not isinstance(layer, str):
        raise ArgumentTypeError(f"layer: expected a name or a module, got {type(layer).__name__}")
    if layer not in modules:
        known = [name for name in modules if name]
        near = difflib.get_close_matches(layer, known, n=5, cutoff=0.4) or known[-5:]
        raise ArgumentError(f"layer: the model has no layer {layer!r}; there is {', '.join(map(repr, near))}")
    return layer, modules[layer]


def first_tensor(layer: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Return the first tensor that a layer was called with."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            return value
    raise ArgumentError(f"layer: {layer!r} was called without any tensor, so it has no input to capture")
