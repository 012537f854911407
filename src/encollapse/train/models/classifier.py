"""`Backbone`, from inputs to features, and `Classifier`, a backbone with a linear head."""

import torch
from torch import Tensor, nn

from encollapse._internal import checks


class Backbone(nn.Module):
    """From inputs (N, ...) to features (N, d): fixed standardization, a trunk, one last linear layer.

    Parameters
    ----------
    trunk : nn.Module
        From inputs to activations (N, width).
    width, feature_dim : int
        Sizes of the last linear layer.
    features : {"linear", "relu"}
        Features as they leave the last layer, or their positive part.
    last_layer : bool
        Whether there is a last linear layer. Without one the activations themselves, times a number, are the features.
    shift, gain : float
        Inputs enter the trunk as ``(x - shift) * gain``; the two numbers are part of the saved model.
    """

    shift: Tensor
    gain: Tensor
    scale: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        width: int,
        feature_dim: int,
        *,
        features: str = "linear",
        last_layer: bool = True,
        shift: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("gain", torch.tensor(gain))
        self.trunk = trunk
        self.last = nn.Linear(width, feature_dim) if last_layer else None
        if self.last is None:
            self.register_buffer("scale", torch.tensor(1.0))
        self.rectified = checks.choice(features, "features", ("linear", "relu")) == "relu"

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (N, d) of `inputs`."""
        activations: Tensor = self.trunk((inputs - self.shift) * self.gain)
        features = activations * self.scale if self.last is None else self.last(activations)
        return features.relu() if self.rectified else features

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        """Multiply the features by a positive factor, in place."""
        if self.last is None:
            self.scale.mul_(factor)
        else:
            self.last.weight.mul_(factor)
            self.last.bias.mul_(factor)


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
    fixed_weight : (q, d) tensor, optional
        A head's weight that is not trained.
    """

    def __init__(
        self,
        backbone: Backbone,
        feature_dim: int,
        code_dim: int,
        *,
        bias: bool = True,
        fixed_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(feature_dim, code_dim, bias=bias)
        if fixed_weight is not None:
            with torch.no_grad():
                self.head.weight.copy_(fixed_weight)
            self.head.weight.requires_grad_(False)

    @property
    def has_fixed_weight(self) -> bool:
        """Whether the head's weight is not trained."""
        return not self.head.weight.requires_grad

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, q)."""
        outputs: Tensor = self.head(self.backbone(inputs))
        return outputs

    def features(self, inputs: Tensor) -> Tensor:
        """Features (N, d): what the head sees."""
        features: Tensor = self.backbone(inputs)
        return features

    @torch.no_grad()
    def rescale_(self, *, features: float, weight: float, bias: float) -> None:
        """Multiply the features, the head's weight and its bias by positive factors, in place."""
        self.backbone.rescale_(features)
        self.head.weight.mul_(weight)
        if self.head.bias is not None:
            self.head.bias.mul_(bias)

    @torch.no_grad()
    def initialize_(self, inputs: Tensor, size: float) -> None:
        """Start small: features of `inputs` with root mean square `size`, a head of that norm, biases 0.

        A head that is not trained stays as it is.
        """
        if self.backbone.last is not None:
            self.backbone.last.bias.zero_()
        features = self.backbone(inputs)
        spread = float(features.square().sum(1).mean().sqrt())
        norm = size if self.has_fixed_weight else float(self.head.weight.norm())
        self.rescale_(features=size / max(spread, 1e-6), weight=size / norm, bias=0.0)
