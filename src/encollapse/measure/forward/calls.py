"""Calls of a network's modules in one run: what entered each and what left it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from encollapse.measure.forward.running import run

_KEPT_BYTES = 2**28
"""Inputs and outputs of modules that are kept of the first batch. Those of the latest modules stay in any case."""
_KEPT_CALLS = 8  # of the modules that ran last; heads of several layers are shorter


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a module: its first tensor, whatever it was given, and what it returned if that is a tensor."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    features: torch.Tensor
    output: torch.Tensor | None

    @property
    def depth(self) -> int:
        """How many modules the module lies within."""
        return self.name.count(".") + 1 if self.name else 0

    @property
    def bytes(self) -> int:
        """Bytes of the tensors that entered and left it."""
        return self.features.nbytes + (0 if self.output is None else self.output.nbytes)

    def again(self, features: torch.Tensor) -> torch.Tensor | None:
        """Output for other features, in float64, or None where the module does not take them."""
        given = features.to(self.features.dtype)

        def put(value: Any) -> Any:
            return given if isinstance(value, torch.Tensor) else value

        try:
            out = self.module(*map(put, self.args), **{key: put(value) for key, value in self.kwargs.items()})
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            return None
        return out.double() if isinstance(out, torch.Tensor) else None


@dataclass(eq=False)
class CallRecord:
    """The last call of every module that was watched during one run, and how often each was called."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def run(self, model: nn.Module, modules: dict[str, nn.Module], inputs: Any, device: torch.device) -> Any:
        """Run the model with hooks on modules."""
        self.modules |= modules
        handles: list[Any] = []
        try:
            for name, module in modules.items():
                handles += self._watch(name, module)
            return run(model, inputs, device)
        finally:
            for handle in handles:
                handle.remove()

    def _watch(self, name: str, module: nn.Module) -> list[Any]:
        entered: list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor | None]] = []  # modules may call themselves

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.runs[name] = self.runs.get(name, 0) + 1
            given = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
            # A copy, for later layers may overwrite it in place.
            entered.append((args, kwargs, None if given is None else given.detach().clone()))

        def leave(_: nn.Module, __: Any, output: Any) -> None:
            args, kwargs, features = entered.pop()
            if features is None:
                return
            kept = output.detach().clone() if isinstance(output, torch.Tensor) else None
            given = type(output).__name__ if kept is None else tuple(kept.shape)
            self.outputs[name] = () if kept is None else tuple(kept.shape)
            self.shapes[name] = f"{tuple(features.shape)} -> {given}"
            self.calls.pop(name, None)
            self.calls[name] = Call(name, module, args, kwargs, features, kept)
            held = sum(call.bytes for call in self.calls.values())
            for old in list(self.calls)[:-_KEPT_CALLS]:
                if held > _KEPT_BYTES:
                    held -= self.calls.pop(old).bytes

        return [module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)]
