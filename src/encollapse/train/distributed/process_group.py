"""The processes and the device that a training runs on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from encollapse.errors import ArgumentError, MissingDependencyError
from encollapse.train.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy

T = TypeVar("T")


class ProcessGroup:
    """Processes that train together, seen from one of them. Alone, everything here does nothing.

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

    def gather(self, part: Tensor, total: int) -> Tensor:
        """All of `total` rows, of which every process has the part of its own :meth:`span`."""
        if self.count == 1:
            return part
        whole = part.new_zeros(total, *part.shape[1:])
        whole[self.span(total)] = part
        return self.sum(whole)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradient of each parameter by its sum over all processes."""
        if self.count == 1:
            return
        held = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in held]
        total = self.sum(torch.cat([g.reshape(-1) for g in gradients]))
        for parameter, part in zip(held, torch.split(total, [p.numel() for p in held]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    @torch.no_grad()
    def align_(self, module: torch.nn.Module) -> None:
        """Give a module the state that it has in the first process, so that rounding cannot add up to a difference."""
        if self.count == 1:
            return
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, 0)

    def agree(self, value: T) -> T:
        """What the first process says."""
        return value if self.count == 1 else self.fabric.broadcast(value)


def make_fabric(settings: Settings, strategy: Strategy | None = None, *, devices: int = 1, nodes: int = 1) -> Fabric:
    """Lightning Fabric for the device of the settings."""
    require_fabric()
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    # Fabric announces what was asked of it.
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=settings.device,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy or "auto",
            precision=settings.precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ArgumentError(
            f"device: {settings.device!r} is not available here ({error}); use 'auto' or 'cpu'"
            if settings.devices == 1
            else f"devices: {settings.devices} of {settings.device!r} are not available here ({error}); "
            "use fewer, or device='cpu', of which there are as many as wanted"
        ) from None
    finally:
        logger.setLevel(level)
    if settings.precision == "16-mixed" and fabric.device.type == "cpu":
        raise ArgumentError("precision: '16-mixed' needs a GPU; use 'bf16-mixed' or '32-true'")
    return fabric


def require_fabric() -> None:
    """Say what is missing where Lightning Fabric is not installed."""
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "encollapse.train needs Lightning Fabric, which is not installed: pip install 'encollapse[study]'"
        ) from None
