"""The processes and the device that a training runs on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from encollapse.errors import ArgumentError, MissingDependencyError
from encollapse.train.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

_LAUNCHED = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID")
"""Set where somebody else started the processes (torchrun, srun)."""


class Workers:
    """Processes that train together, seen from one of them; alone, everything here does nothing.

    Every process holds the same network and all of the data. They share out the samples of each step and add up the
    gradients, so all of them take the same step.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.count: int = fabric.world_size
        self.rank: int = fabric.global_rank
        self.device: torch.device = fabric.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Part of some rows that this process takes."""
        return rows if self.count == 1 else torch.tensor_split(rows, self.count)[self.rank]

    def span(self, total: int) -> slice:
        """Part of `total` rows, in their order, that this process takes."""
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def sum(self, value: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        if self.count == 1:
            return value
        total = self.fabric.all_reduce(value.detach().clone().to(self.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total.to(value.device)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradient of each parameter by its sum over all processes."""
        if self.count == 1:
            return
        held = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in held]
        total = self.sum(torch.cat([g.reshape(-1) for g in gradients]))
        for parameter, part in zip(held, torch.split(total, [p.numel() for p in held]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def agree(self, value: T) -> T:
        """What the first process says."""
        return value if self.count == 1 else self.fabric.broadcast(value)


def launch(function: Callable[..., T], settings: Settings, *arguments: Any) -> T:
    """Call ``function(workers, *arguments)`` in as many processes as there are devices; return what the first returns.

    Raises
    ------
    ArgumentError
        If the device, so many of it, or the precision is not available here.
    MissingDependencyError
        If Lightning Fabric is not installed.
    """
    fabric = _fabric(settings)
    if settings.devices == 1:
        return function(Workers(fabric), *arguments)
    started = any(name in os.environ for name in _LAUNCHED)
    if started:
        fabric.launch()
        return function(Workers(fabric), *arguments)
    try:
        result: T = fabric.launch(_Start(function), *arguments)
    except RuntimeError as error:
        if "__main__" not in str(error):
            raise
        raise ArgumentError(
            "devices: processes are started anew and read the main script again; put what calls fit under "
            "`if __name__ == '__main__':`, or start the script with torchrun"
        ) from None
    return result


class _Start:
    """What a new process calls: the function, given the workers that it belongs to."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, fabric: Fabric, *arguments: Any) -> Any:
        return self._function(Workers(fabric), *arguments)


def _fabric(settings: Settings) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependencyError(
            "encollapse.train needs Lightning Fabric, which is not installed: pip install 'encollapse[study]'"
        ) from None
    started = any(name in os.environ for name in _LAUNCHED)
    strategy = "auto" if settings.devices == 1 else "ddp" if started else "ddp_spawn"
    try:
        fabric = Fabric(
            accelerator=settings.device,
            devices=settings.devices,
            strategy=strategy,
            precision=settings.precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError) as error:
        raise ArgumentError(
            f"device: {settings.device!r} is not available here ({error}); use 'auto' or 'cpu'"
        ) from None
    if settings.precision == "16-mixed" and fabric.device.type == "cpu":
        raise ArgumentError("precision: '16-mixed' needs a GPU; use 'bf16-mixed' or '32-true'")
    return fabric
