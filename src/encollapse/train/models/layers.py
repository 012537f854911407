"""Parts that the trunks share: activations, normalizations and tails by name."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization of rows (N, C) or images (N, C, H, W), for which a batch of one row is no reason to fail.

    Such a batch, which has no spread, is normalized by the running statistics.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalized inputs."""
        if self.training and len(inputs) == 1:
            self.eval()
            try:
                return super().forward(inputs)
            finally:
                self.train()
        return super().forward(inputs)

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Take whatever has channels."""


def activation(name: str) -> nn.Module:
    """A new activation module."""
    return _ACTIVATIONS[name]()


def normalized(name: str, channels: int) -> list[nn.Module]:
    """The normalization after a layer with that many channels, as a list of no module or one.

    Group normalization :cite:p:`wu2018` has groups of eight channels, or of as near to eight as divides their number.
    """
    if name == "batch":
        return [BatchNorm(channels)]
    if name == "group":
        return [nn.GroupNorm(groups(channels), channels)]
    return [nn.LayerNorm(channels)] if name == "layer" else []


def groups(channels: int) -> int:
    """Number of groups: the largest divisor of the channels that leaves eight or more in each, or one."""
    return max(g for g in range(1, max(1, channels // 8) + 1) if channels % g == 0)


def tail_of(name: str, width: int, depth: int) -> nn.Module | None:
    """What stands between the last linear layer of a backbone and the head; None for nothing.

    A linear tail of `depth` counts the head and the last linear layer, so that 2 adds none.
    """
    if name in ("batch-norm", "batch-norm-relu"):
        return BatchNorm(width)
    if name == "layer-norm":
        return nn.LayerNorm(width)
    if name == "rms-norm":
        return nn.RMSNorm(width)
    return (
        nn.Sequential(*(nn.Linear(width, width) for _ in range(depth - 2))) if name == "linear" and depth > 2 else None
    )


@contextmanager
def whole_set_statistics(tail: nn.Module | None) -> Iterator[None]:
    """In this block a batch normalization uses and keeps mean and variance of what it is given, which is everything.

    So what it does in evaluation afterwards is what it did here.
    """
    if not isinstance(tail, BatchNorm):
        yield
        return
    training, momentum = tail.training, tail.momentum
    tail.train()
    tail.momentum = 1.0
    try:
        yield
    finally:
        tail.train(training)
        tail.momentum = momentum


@torch.no_grad()
def without_correction_(tail: nn.Module | None, rows: int) -> None:
    """Make the variance that was kept that of the rows, by which training normalizes: it keeps N/(N-1) times that."""
    if isinstance(tail, BatchNorm) and rows > 1 and tail.running_var is not None:
        tail.running_var = tail.running_var * ((rows - 1) / rows)  # not in place: a gradient may need what was there
