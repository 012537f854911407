"""Small networks with the tails that people's networks have, and the law that holds for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 5
IMAGES = (3, 8, 8)
WORDS = 11


class Vgg(nn.Module):
    """Convolutions with batch normalization and ReLU, then an average over positions."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, pool: type[nn.Module] = nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7), activation(), nn.MaxPool2d(2),
            nn.Conv2d(7, 13, 3, padding=1, bias=False), nn.BatchNorm2d(13), activation(),
        )  # fmt: skip
        self.pool = pool(1)
        self.classifier = nn.Linear(13, CLASSES)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class Block(nn.Module):
    """A residual block; `before` puts normalization and activation before each convolution."""

    def __init__(self, width: int, before: bool) -> None:
        super().__init__()
        self.before = before
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Any:
        if self.before:
            y = self.conv1(functional.relu(self.norm1(x)))
            return x + self.conv2(functional.relu(self.norm2(y)))
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(x + y)


class ResNet(nn.Module):
    """Residual network, with the activation after (2015) or before (2016) the convolutions."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 13, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(Block(13, before), Block(13, before))
        self.norm = nn.BatchNorm2d(13) if before else None
        self.fc = nn.Linear(13, CLASSES)

    def forward(self, x: Tensor) -> Any:
        y = self.blocks(self.stem(x))
        if self.norm is not None:
            y = functional.relu(self.norm(y))
        return self.fc(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class DenseNet(nn.Module):
    """Concatenated features, a last normalization, and an activation without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 7, 3, padding=1, bias=False)
        self.norm1, self.conv1 = nn.BatchNorm2d(7), nn.Conv2d(7, 6, 3, padding=1, bias=False)
        self.norm5 = nn.BatchNorm2d(13)
        self.classifier = nn.Linear(13, CLASSES)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        x = torch.cat([x, self.conv1(functional.relu(self.norm1(x)))], 1)
        x = functional.relu(self.norm5(x), inplace=True)
        return self.classifier(functional.adaptive_avg_pool2d(x, (1, 1)).view(len(x), -1))


class MobileNet(nn.Module):
    """A depthwise convolution, ReLU6 behind the last normalization, and dropout in the classifier if asked for."""

    def __init__(self, dropout: float = 0.0, activation: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(),
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6(),
            nn.Conv2d(6, 13, 1, bias=False), nn.BatchNorm2d(13), activation(),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(13, CLASSES))

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.body(x).mean([2, 3]))


class VisionTransformer(nn.Module):
    """Patches, a class token, pre-normalized attention, a last layer normalization."""

    def __init__(self, average: bool = False) -> None:
        super().__init__()
        self.average = average
        self.embed = nn.Conv2d(3, 12, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 12))
        self.attend, self.norm1 = nn.MultiheadAttention(12, 2, batch_first=True), nn.LayerNorm(12)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Any:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1)
        z = self.norm1(y)
        y = self.norm(y + self.attend(z, z, z, need_weights=False)[0])
        return self.head(y.mean(1) if self.average else y[:, 0])


class RmsNorm(nn.Module):
    """Root-mean-square normalization spelled out, as language models have it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Any:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-8))


class LanguageModel(nn.Module):
    """Tokens, one feed-forward block, a last normalization; scores the last token, in a dictionary."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 12)
        self.mlp = nn.Sequential(RmsNorm(12), nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))
        self.norm = RmsNorm(12)
        self.lm_head = nn.Linear(12, WORDS if tied else CLASSES, bias=False)
        if tied:
            self.lm_head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        y = self.embed(tokens)
        return {"logits": self.lm_head(self.norm(y + self.mlp(y))[:, -1])}


class Mixer(nn.Module):
    """Mixing of tokens, a last layer normalization, an average over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, stride=4)
        self.tokens = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Any:
        y = self.embed(x).flatten(2)
        y = self.norm((y + self.tokens(y)).transpose(1, 2))
        return self.head(y.mean(1))


class Cosine(nn.Module):
    """Cosines of features and weights, at a fixed temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 13, bias=False), nn.BatchNorm1d(13))
        self.weight = nn.Parameter(torch.randn(CLASSES, 13))

    def forward(self, x: Tensor) -> Any:
        return 5 * functional.linear(
            functional.normalize(self.body(x), dim=1), functional.normalize(self.weight, dim=1)
        )


class Odd(nn.Module):
    """A batch normalization before the head, and one thing that the law does not know."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.below = nn.Sequential(nn.Flatten(), nn.Linear(192, 13))
        self.norm = nn.BatchNorm1d(13)
        self.between = nn.Linear(13, 13)
        self.extra = nn.Parameter(0.3 + torch.rand(1 if what in ("number", "temperature") else 13))
        self.head = nn.Linear(13, CLASSES)
        if what == "frozen":
            for layer in (self.below, self.between):
                layer.requires_grad_(False)
            self.extra.requires_grad_(False)
        if what == "weight norm":
            nn.utils.parametrizations.weight_norm(self.head)

    def forward(self, x: Tensor) -> Any:
        y = self.below(x)
        if self.what == "shared":
            y = self.between(functional.relu(self.norm(y)))
        y = self.norm(y)
        if self.what == "noise" and self.training:
            y = y + 0.1 * torch.randn_like(y)
        if self.what == "offset":
            y = y + self.extra
        if self.what == "number":
            y = y * self.extra
        return self.head(y) / self.extra if self.what == "temperature" else self.head(y)


class Shaped(nn.Module):
    """A function of the features that has no parameters."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class TwoHeads(nn.Module):
    """A batch normalization whose features go to the head, and to another one or out of the network."""

    def __init__(self, other: int) -> None:
        super().__init__()
        self.below = nn.Sequential(nn.Flatten(), nn.Linear(192, 13), nn.BatchNorm1d(13))
        self.head = nn.Linear(13, CLASSES)
        self.other = nn.Linear(13, other) if other else nn.Identity()

    def forward(self, x: Tensor) -> Any:
        y = self.below(x)
        return {"logits": self.head(y), "other": self.other(y)}


def averaged(*pool: nn.Module, dim: int) -> nn.Sequential:
    """Maps of 5 channels at 8 × 8 positions, normalized by channel, pooled and flattened for the head."""
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), *pool, nn.Flatten(), nn.Linear(dim, CLASSES))


def flattened(*after: nn.Module) -> nn.Sequential:
    """Maps of 5 channels at 2 × 2 positions, normalized by channel and flattened for the head."""
    return nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.BatchNorm2d(5), *after, nn.Flatten(), nn.Linear(20, CLASSES))


def mlp(*tail: nn.Module, width: int = 13) -> nn.Sequential:
    """A hidden layer, the tail, and a linear head."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 17), nn.ReLU(), nn.Linear(17, width), *tail, nn.Linear(width, CLASSES)
    )


ARCHITECTURES: dict[str, tuple[Callable[[], Any], str]] = {
    "mlp, batch norm": (lambda: mlp(nn.BatchNorm1d(13)), "batch_norm"),
    "mlp, batch norm, ReLU": (lambda: mlp(nn.BatchNorm1d(13), nn.ReLU()), "batch_norm"),
    "mlp, batch norm, GELU": (lambda: mlp(nn.BatchNorm1d(13), nn.GELU()), "none"),
    "mlp, batch norm, leaky ReLU": (lambda: mlp(nn.BatchNorm1d(13), nn.LeakyReLU()), "none"),
    "mlp, batch norm, dropout": (lambda: mlp(nn.BatchNorm1d(13), nn.ReLU(), nn.Dropout(0.2)), "none"),
    "mlp, batch norm without gains": (lambda: mlp(nn.BatchNorm1d(13, affine=False)), "none"),
    "mlp, layer norm": (lambda: mlp(nn.LayerNorm(13)), "sample_norm"),
    "mlp, RMS norm": (lambda: mlp(nn.RMSNorm(13)), "sample_norm"),
    "mlp, group norm": (lambda: mlp(nn.GroupNorm(1, 13)), "none"),
    "mlp, ReLU": (lambda: mlp(nn.ReLU()), "none"),
    "mlp, linear tail": (lambda: mlp(), "linear_tail"),
    "mlp, two linear layers": (lambda: mlp(nn.Linear(13, 13)), "linear_tail"),
    "mlp, weight norm below": (lambda: mlp(nn.utils.parametrizations.weight_norm(nn.Linear(13, 13))), "none"),
    "VGG with batch norm": (Vgg, "batch_norm"),
    "VGG with SiLU (EfficientNet)": (lambda: Vgg(nn.SiLU), "none"),
    "VGG, last max pooling": (lambda: Vgg(pool=nn.AdaptiveMaxPool2d), "none"),
    "ResNet, activation after": (lambda: ResNet(before=False), "none"),
    "ResNet, activation before": (lambda: ResNet(before=True), "batch_norm"),
    "DenseNet": (DenseNet, "batch_norm"),
    "MobileNet": (MobileNet, "batch_norm"),
    "MobileNet with dropout": (lambda: MobileNet(0.2), "none"),
    "vision transformer, class token": (VisionTransformer, "sample_norm"),
    "vision transformer, average": (lambda: VisionTransformer(average=True), "none"),
    "language model": (LanguageModel, "sample_norm"),
    "MLP-Mixer": (Mixer, "none"),
    "flattened maps": (flattened, "batch_norm"),
    "flattened maps, ReLU": (lambda: flattened(nn.ReLU()), "batch_norm"),
    "batch norm that works twice": (lambda: Odd("shared"), "none"),
    "noise after batch norm": (lambda: Odd("noise"), "none"),
    "offset after batch norm": (lambda: Odd("offset"), "none"),
    "number after batch norm": (lambda: Odd("number"), "none"),
    "batch norm on frozen layers": (lambda: Odd("frozen"), "none"),
    "head with weight norm": (lambda: Odd("weight norm"), "none"),
    "batch norm, probabilities": (lambda: nn.Sequential(*mlp(nn.BatchNorm1d(13)), nn.Softmax(1)), "none"),
    "batch norm, log-probabilities": (lambda: nn.Sequential(*mlp(nn.BatchNorm1d(13)), nn.LogSoftmax(1)), "batch_norm"),
    "averages over equal cells": (lambda: averaged(nn.AvgPool2d(4), dim=20), "batch_norm"),
    "averages over overlapping cells": (lambda: averaged(nn.AvgPool2d(4, stride=2), dim=45), "none"),
    "averages over cells with a border": (lambda: averaged(nn.AvgPool2d(2, padding=1), dim=125), "none"),
    "layer norm, half of it": (
        lambda: nn.Sequential(mlp(nn.LayerNorm(13))[:-1], Shaped(lambda x: x[:, :7]), nn.Linear(7, CLASSES)),
        "none",
    ),
    "layer norm by token, flattened": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (3, 1)),
            nn.Flatten(2),
            nn.Linear(64, 4),
            nn.LayerNorm(4),
            nn.Flatten(),
            nn.Linear(12, CLASSES),
        ),
        "none",
    ),
    "layer norm over two axes": (
        lambda: nn.Sequential(
            nn.Flatten(2), nn.Linear(64, 4), nn.LayerNorm([3, 4]), nn.Flatten(), nn.Linear(12, CLASSES)
        ),
        "sample_norm",
    ),
    "a linear output, repeated": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(192, 1), Shaped(lambda x: x.expand(-1, 7)), nn.Linear(7, CLASSES)
        ),
        "none",
    ),
    "batch norm, features returned": (lambda: TwoHeads(0), "batch_norm"),
    "batch norm, a second head": (lambda: TwoHeads(7), "none"),
    "batch norm, a sum with a constant": (lambda: mlp(nn.BatchNorm1d(13), Shaped(lambda x: x + 1)), "none"),
    "batch norm, compiled": (lambda: torch.compile(mlp(nn.BatchNorm1d(13)), backend="eager"), "batch_norm"),
}
"""Name, network and law under SGD with one weight decay on everything."""


def batch(network: nn.Module, count: int = 20) -> tuple[Tensor, Tensor]:
    """Inputs of the kind that a network takes, with labels."""
    labels = torch.arange(count) % CLASSES
    if isinstance(network, LanguageModel):
        return torch.randint(0, WORDS, (count, 4)), labels
    return torch.randn(count, *IMAGES) + labels[:, None, None, None] * 0.3, labels
