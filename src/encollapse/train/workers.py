"""The processes and the device that a training runs on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from encollapse.errors import ArgumentError, MissingDependencyError, UnsupportedError
from encollapse.train.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


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
    """Call ``function(workers, *arguments)`` on the device of the settings.

    Raises
    ------
    ArgumentError
        If the device or the precision is not available here.
    UnsupportedError
        If several devices are asked for.
    MissingDependencyError
        If Lightning Fabric is not installed.
    """
    if settings.devices > 1:
        raise UnsupportedError(
            f"devices: training on one device only in this version, got {settings.devices}"
        )
    return function(Workers(_fabric(settings)), *arguments)


def _fabric(settings: Settings) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependencyError(
            "encollapse.train needs Lightning Fabric, which is not installed: pip install 'encollapse[study]'"
        ) from None
    # Fabric announces what was asked of it.
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=settings.device,
            devices=1,
            precision=settings.precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError) as error:
        raise ArgumentError(
            f"device: {settings.device!r} is not available here ({error}); use 'auto' or 'cpu'"
        ) from None
    finally:
        logger.setLevel(level)
    if settings.precision == "16-mixed" and fabric.device.type == "cpu":
        raise ArgumentError("precision: '16-mixed' needs a GPU; use 'bf16-mixed' or '32-true'")
    return fabric
