"""The networks of our own by name: their parts (activations, normalizations, tails) and the trunks made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from encollapse.errors import ArgumentError

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}

TAIL_EPSILON = 1e-12
"""What a last batch normalization adds to the variance.

Decay shrinks the weights below it, whose scale does not matter otherwise, until the variance is near this number. With
PyTorch's 1e-5 the features end up to a tenth short of what the law says, which is exact without it.
"""


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


def activated(name: str) -> nn.Module:
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
    """What stands between the last linear layer of a backbone and the head, or None for nothing.

    A linear tail of `depth` counts the head and the last linear layer, so that 2 adds none. More than two have no
    inner biases: of such chains the minimum is known.
    """
    if name in ("batch-norm", "batch-norm-relu"):
        return BatchNorm(width, eps=TAIL_EPSILON)
    if name == "layer-norm":
        return nn.LayerNorm(width)
    if name == "rms-norm":
        return nn.RMSNorm(width)
    if name == "linear" and depth > 2:
        return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth - 2)))
    return None


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


def mlp(
    input_shape: Sequence[int], *, width: int, depth: int, activation: str, normalization: str
) -> tuple[nn.Module, int]:
    """Fully connected trunk for inputs of any shape: the module and the width of its output.

    `depth` counts the hidden layers. With 0 the last linear layer sees the inputs themselves.
    """
    widths = [math.prod(input_shape), *[width] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers.append(nn.Linear(before, after))
        layers += normalized(normalization, after)
        layers.append(activated(activation))
    return nn.Sequential(*layers), widths[-1]


def cnn(
    input_shape: Sequence[int], *, channels: Sequence[int], hidden: int, activation: str, normalization: str
) -> tuple[nn.Module, int]:
    """Convolutional trunk for images (C, H, W): 3 × 3 convolutions of stride 2, then a dense layer.

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    depth, height, width = image_shape(input_shape, "cnn")
    layers: list[nn.Module] = []
    for before, after in pairwise([depth, *channels]):
        layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
        layers += normalized(normalization, after)
        layers.append(activated(activation))
        height, width = (height + 1) // 2, (width + 1) // 2
    layers += [nn.Flatten(), nn.Linear(channels[-1] * height * width, hidden), activated(activation)]
    return nn.Sequential(*layers), hidden


def vgg(input_shape: Sequence[int], *, width: int, stages: int, normalization: str) -> tuple[nn.Module, int]:
    """Convolutional trunk for images (C, H, W): stages of two 3 × 3 convolutions and a pooling :cite:p:`simonyan2015`.

    Each pooling halves height and width by the largest of four pixels. Each stage but the first doubles the channels,
    of which the first has `width`.

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    before, high, wide = image_shape(input_shape, "vgg")
    layers: list[nn.Module] = []
    for after in (width * 2**stage for stage in range(stages)):
        for channels in (before, after):
            layers += [*_convolved(channels, after, 1, normalization), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        before, high, wide = after, -(-high // 2), -(-wide // 2)
    return nn.Sequential(*layers, nn.Flatten()), before * high * wide


def image_shape(input_shape: Sequence[int], model: str) -> tuple[int, int, int]:
    """The three sizes of an image (C, H, W).

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    if len(input_shape) != 3:
        raise ArgumentError(
            f"model: {model!r} needs inputs of shape (N, channels, height, width), got {(None, *input_shape)}; "
            "reshape the inputs or use model='mlp'"
        )
    channels, height, width = input_shape
    return channels, height, width


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions around which the input is carried :cite:p:`he2016`.

    At the start the block passes on what it carries, because the last layer of the branch is zero
    :cite:p:`goyal2017`. That is also what lets it train without normalization :cite:p:`zhang2019`.
    """

    def __init__(self, before: int, after: int, stride: int, normalization: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_convolved(before, after, stride, normalization), nn.ReLU(), *_convolved(after, after, 1, normalization)
        )
        for parameter in self.branch[-1].parameters():
            nn.init.zeros_(parameter)
        same = before == after and stride == 1
        self.carried = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The carried input plus the branch, rectified."""
        total: Tensor = self.carried(inputs) + self.branch(inputs)
        return total.relu()


def resnet(
    input_shape: Sequence[int], *, name: str, width: int, stages: int, blocks: int, normalization: str, stem_stride: int
) -> tuple[nn.Module, int]:
    """Residual trunk for images (C, H, W): a 3 × 3 stem, `stages` of `blocks` each, the mean over the image.

    Each stage but the first halves the height and width and doubles the channels, of which the first has `width`.

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    channels, _, _ = image_shape(input_shape, name)
    layers: list[nn.Module] = [*_convolved(channels, width, stem_stride, normalization), nn.ReLU()]
    before = width
    for stage in range(stages):
        after = width * 2**stage
        for block in range(blocks):
            layers.append(ResidualBlock(before, after, 2 if stage > 0 and block == 0 else 1, normalization))
            before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), before


def _convolved(before: int, after: int, stride: int, normalization: str) -> list[nn.Module]:
    # A normalization has a bias of its own.
    bare = normalization != "none"
    return [nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=not bare), *normalized(normalization, after)]
