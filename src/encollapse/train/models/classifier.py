"""`Backbone`, from inputs to features, and `Classifier`, a backbone with a linear head, with what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from encollapse._internal import checks
from encollapse.train.models.networks import BatchNorm, whole_set_statistics, without_correction_


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
    tail : nn.Module, optional
        What stands between that and the head: a normalization, or more linear layers.
    shift, gain : float
        Inputs enter the trunk as ``(x - shift) * gain``. The two numbers are part of the saved model.

    Examples
    --------
    >>> import torch
    >>> import encollapse as ec
    >>> backbone = ec.train.Backbone(torch.nn.Linear(7, 11), 11, 5, features="relu")
    >>> features = backbone(torch.randn(3, 7))
    >>> tuple(features.shape), bool(features.min() >= 0)
    ((3, 5), True)
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
        tail: nn.Module | None = None,
        shift: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("gain", torch.tensor(gain))
        self.trunk = trunk
        bias = not isinstance(tail, nn.Sequential)  # a chain of linear layers has none
        self.last = nn.Linear(width, feature_dim, bias=bias) if last_layer else None
        self.tail = tail
        if self.last is None:
            self.register_buffer("scale", torch.tensor(1.0))
        self.rectified = checks.choice(features, "features", ("linear", "relu")) == "relu"

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (N, d) of `inputs`."""
        return self.finish(self.before_tail(inputs))

    @torch.no_grad()
    def activations(self, inputs: Tensor) -> Tensor:
        """What the last linear layer sees of all `inputs`, (N, width), in pieces."""
        parts = [self.trunk((inputs[part] - self.shift) * self.gain) for part in chunks(len(inputs))]
        return torch.cat(parts)

    def before_tail(self, inputs: Tensor) -> Tensor:
        """What enters the tail, (N, d)."""
        activations: Tensor = self.trunk((inputs - self.shift) * self.gain)
        entering: Tensor = activations * self.scale if self.last is None else self.last(activations)
        return entering

    def finish(self, entering: Tensor) -> Tensor:
        """Features (N, d) from what enters the tail."""
        features = entering if self.tail is None else self.tail(entering)
        return features.relu() if self.rectified else features

    def whole_set(self, entering: Tensor, total: int) -> Tensor:
        """Features of the whole set of `total` samples, whose mean and variance a batch normalization then keeps."""
        with whole_set_statistics(self.tail):
            features = self.finish(entering)
        without_correction_(self.tail, total)
        return features

    def scale_free(self) -> list[tuple[Tensor, int]]:
        """Parameters below a last batch normalization, which undoes it if all are multiplied by ``a**power``.

        They belong to the last linear layer and, if the trunk is homogeneous, to all before it.
        """
        if not isinstance(self.tail, BatchNorm) or self.last is None:
            return []
        parts = list(self.trunk.children()) if isinstance(self.trunk, nn.Sequential) else [self.trunk]
        homogeneous = all(isinstance(part, nn.Flatten | nn.Linear | nn.ReLU) for part in parts)
        layers = [*(part for part in parts if homogeneous and isinstance(part, nn.Linear)), self.last]
        found: list[tuple[Tensor, int]] = [(layer.weight, 1) for layer in layers]
        return found + [(layer.bias, power) for power, layer in enumerate(layers, 1) if layer.bias is not None]

    def _last_affine(self) -> nn.Module | None:
        """The layer whose weight and bias scale the features."""
        if self.tail is None:
            return self.last
        return self.tail[-1] if isinstance(self.tail, nn.Sequential) else self.tail

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        """Multiply the features by a positive factor, in place."""
        layer: Any = self._last_affine()
        if layer is None:
            self.scale.mul_(factor)
            return
        for parameter in layer.parameters():
            parameter.mul_(factor)


class Classifier(nn.Module):
    """A backbone and a linear head. Calling it gives the outputs (N, q) that are compared with codewords.

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

    Examples
    --------
    >>> import torch
    >>> import encollapse as ec
    >>> network = ec.train.Classifier(ec.train.Backbone(torch.nn.Linear(7, 11), 11, 5), 5, 3)
    >>> inputs = torch.randn(2, 7)
    >>> tuple(network(inputs).shape), bool(torch.equal(network(inputs), network.head(network.features(inputs))))
    ((2, 3), True)
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

        A head that is not trained stays as it is, and so does a backbone whose features are not finite.
        """
        for part in (self.backbone.last, self.backbone.tail):
            for name, parameter in [] if part is None else part.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
        features = self.backbone.whole_set(self.backbone.before_tail(inputs), len(inputs))
        spread = float(features.square().sum(1).mean().sqrt())
        if not math.isfinite(spread):
            return
        norm = size if self.has_fixed_weight else float(self.head.weight.norm())
        self.rescale_(features=size / max(spread, 1e-6), weight=size / norm, bias=0.0)


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes
    ----------
    parameters : int
        Trained numbers.
    flops : int
        Floating-point operations of one sample on its way to the outputs, matrix products and convolutions alone.
        A training step costs about three times as much.
    """

    parameters: int
    flops: int

    def seconds_per_epoch(self, num_samples: int, flops_per_second: float = 3e10) -> float:
        """Rough time of one pass of training over the samples. The default rate is that of one CPU core."""
        return 3.0 * self.flops * num_samples / flops_per_second


@torch.no_grad()
def cost(classifier: Classifier, input_shape: Sequence[int]) -> Cost:
    """Count the parameters of a classifier, and the arithmetic of one input of shape `input_shape`."""
    parameters = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    device = next(classifier.parameters()).device
    training = classifier.training
    classifier.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            classifier(torch.zeros(1, *input_shape, device=device))
    finally:
        classifier.train(training)
    return Cost(parameters, counter.get_total_flops())


CHUNK = 512  # samples in one pass without gradients


def chunks(total: int, size: int = CHUNK) -> list[slice]:
    """Slices that cover `total` rows, `size` at a time."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]
