"""Small backbones of our own, and `Classifier`: a backbone with a linear head."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from encollapse import _checks
from encollapse.errors import ArgumentError


class Backbone(nn.Module):
    """From inputs (N, ...) to features (N, d): fixed standardisation, a trunk, one last linear layer.

    Parameters
    ----------
    trunk : nn.Module
        From inputs to activations (N, width).
    width, feature_dim : int
        Sizes of the last linear layer.
    features : {"linear", "relu"}
        Features as they leave the last linear layer, or their positive part.
    shift, gain : float
        Inputs enter the trunk as ``(x - shift) * gain``; the two numbers are part of the saved model.
    """

    shift: Tensor
    gain: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        width: int,
        feature_dim: int,
        *,
        features: str = "linear",
        shift: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("gain", torch.tensor(gain))
        self.trunk = trunk
        self.last = nn.Linear(width, feature_dim)
        self.rectified = _checks.choice(features, "features", ("linear", "relu")) == "relu"

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (N, d) of `inputs`."""
        features: Tensor = self.last(self.trunk((inputs - self.shift) * self.gain))
        return features.relu() if self.rectified else features


class Classifier(nn.Module):
    """A backbone and a linear head; calling it gives the outputs (N, q) that are compared with codewords.

    Parameters
    ----------
    backbone : Backbone
        From inputs to features.
    feature_dim, code_dim : int
        Sizes of the head.
    bias : bool
        Whether the head has a bias. Without one it has no such parameter at all.
    """

    def __init__(self, backbone: Backbone, feature_dim: int, code_dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(feature_dim, code_dim, bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, q)."""
        outputs: Tensor = self.head(self.backbone(inputs))
        return outputs

    def features(self, inputs: Tensor) -> Tensor:
        """Features (N, d): what the head sees."""
        features: Tensor = self.backbone(inputs)
        return features

    def outputs_and_features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, q), and the features (N, d) that they come from."""
        features = self.backbone(inputs)
        return self.head(features), features

    @torch.no_grad()
    def rescale_(self, *, features: float, weight: float, bias: float) -> None:
        """Multiply the features, the head's weight and its bias by positive factors, in place."""
        self.backbone.last.weight.mul_(features)
        self.backbone.last.bias.mul_(features)
        self.head.weight.mul_(weight)
        if self.head.bias is not None:
            self.head.bias.mul_(bias)


def mlp(input_shape: Sequence[int], hidden: Sequence[int] = (128, 128, 128)) -> tuple[nn.Module, int]:
    """Fully connected ReLU trunk for inputs of any shape: the module and the width of its output."""
    widths = [math.prod(input_shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), widths[-1]


def cnn(
    input_shape: Sequence[int], channels: Sequence[int] = (16, 32), hidden: int = 128
) -> tuple[nn.Module, int]:
    """Convolutional ReLU trunk for images (C, H, W): 3 × 3 convolutions of stride 2, then a dense layer.

    Raises
    ------
    ArgumentError
        If the inputs are not images.
    """
    if len(input_shape) != 3:
        raise ArgumentError(
            f"model: 'cnn' needs inputs of shape (N, channels, height, width), got {(None, *input_shape)}; "
            "reshape the inputs or use model='mlp'"
        )
    depth, height, width = input_shape
    layers: list[nn.Module] = []
    for before, after in pairwise([depth, *channels]):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        height, width = (height + 1) // 2, (width + 1) // 2
    layers += [nn.Flatten(), nn.Linear(channels[-1] * height * width, hidden), nn.ReLU()]
    return nn.Sequential(*layers), hidden


@dataclass(frozen=True)
class Entry:
    """A catalogue entry: the function that makes the trunk, and the default lengths of the two phases.

    An iteration of L-BFGS costs about as much as an epoch of Adam. Where convolutions make both expensive,
    more of the work is left to Adam, which then gets further in the same time.
    """

    make: Callable[[Sequence[int]], tuple[nn.Module, int]]
    epochs: int
    finish: int


CATALOGUE: dict[str, Entry] = {"mlp": Entry(mlp, 20, 700), "cnn": Entry(cnn, 30, 10)}


def names() -> tuple[str, ...]:
    """Names of models that :func:`encollapse.train.fit` knows."""
    return tuple(CATALOGUE)


def build(
    name: str,
    inputs: Tensor,
    *,
    feature_dim: int,
    code_dim: int,
    bias: bool,
    features: str = "linear",
) -> Classifier:
    """Make a classifier of the catalogue for `inputs` (N, ...), whose mean and spread it standardises."""
    trunk, width = CATALOGUE[_checks.choice(name, "model", names())].make(inputs.shape[1:])
    spread = float(inputs.std())
    gain = 1.0 / spread if spread > 0 else 1.0
    backbone = Backbone(trunk, width, feature_dim, features=features, shift=float(inputs.mean()), gain=gain)
    return Classifier(backbone, feature_dim, code_dim, bias=bias)
