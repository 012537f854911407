"""Trunks from inputs to activations: fully connected, and plain convolutions."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from encollapse.errors import ArgumentError
from encollapse.train.models.layers import activation as activated
from encollapse.train.models.layers import normalized


def mlp(
    input_shape: Sequence[int], *, width: int, depth: int, activation: str, normalization: str
) -> tuple[nn.Module, int]:
    """Fully connected trunk for inputs of any shape: the module and the width of its output.

    `depth` counts the hidden layers; with 0 the last linear layer sees the inputs themselves.
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
