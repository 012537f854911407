"""The processes and the device that a training runs on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from encollapse._internal.extras import needed_by
from encollapse._internal.warn import warn
from encollapse.errors import ArgumentError
from encollapse.train.distributed.bfloat16 import multiplies_bfloat16
from encollapse.train.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy

T = TypeVar("T")


class ProcessGroup:
    """Processes that train together, seen from one of them. Alone, everything here does nothing.

    Every process holds the same network and all of the data. They share out the samples of each step and add up the
    gradients, so all of them take the same step.

    One process on the CPU in full precision needs no Fabric, whose import takes longer than a small training.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.count: int = 1 if fabric is None else fabric.world_size
        self.rank: int = 0 if fabric is None else fabric.global_rank
        self.device: torch.device = torch.device("cpu") if fabric is None else fabric.device

    @classmethod
    def alone(cls, settings: Settings) -> ProcessGroup:
        """The calling process, on the device and in the precision of the settings."""
        plain = settings.precision == "32-true" and (
            settings.device == "cpu" or (settings.device == "auto" and not _has_accelerator())
        )
        return cls() if plain else cls(make_fabric(settings))

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
        if self.fabric is None or self.count == 1:
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
        return value if self.fabric is None or self.count == 1 else self.fabric.broadcast(value)

    def prepared(self, optimizer: Optimizer) -> Any:
        """An optimizer whose steps follow the precision."""
        return optimizer if self.fabric is None else self.fabric.setup_optimizers(optimizer)

    def autocast(self) -> AbstractContextManager[Any]:
        """A block in which the network computes in the precision."""
        return nullcontext() if self.fabric is None else self.fabric.autocast()

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, scaled as the precision needs it."""
        if self.fabric is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.fabric.backward(loss)

    @property
    def precision_state(self) -> dict[str, Any]:
        """What the precision remembers between steps, to be stored and set."""
        return {} if self.fabric is None else dict(self.fabric.strategy.precision.state_dict())

    @precision_state.setter
    def precision_state(self, state: dict[str, Any]) -> None:
        if self.fabric is not None:
            self.fabric.strategy.precision.load_state_dict(state)


def _has_accelerator() -> bool:
    """Whether ``device="auto"`` may mean another device than the CPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available() or find_spec("torch_xla") is not None


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
    on_cpu = fabric.device.type == "cpu" and fabric.global_rank == 0
    if settings.precision == "bf16-mixed" and on_cpu and multiplies_bfloat16() is False:
        warn(
            "precision: this processor has no instructions for bfloat16 (avx512_bf16 or amx_bf16), so 'bf16-mixed' "
            "may take many times as long as '32-true'"
        )
    return fabric


def require_fabric() -> None:
    """Say what is missing where Lightning Fabric is not installed."""
    with needed_by("a training by several processes, on a GPU or in another precision than 32-true", "study"):
        import lightning_fabric  # noqa: F401
