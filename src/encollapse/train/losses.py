"""Losses between outputs and codewords, as training needs them: value, slope and scale."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.train.settings import Settings


class Loss(Protocol):
    """A convex loss ``ℓ(o; e)`` of outputs (N, q) against targets (N, q), one value a sample."""

    name: str
    closed_form: bool
    """Whether the best head for given features is the solution of a linear system."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """``ℓ`` of each sample, shape (N,)."""

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Derivative of each sample's loss in its outputs, shape (N, q)."""

    def scale(self, targets: Tensor) -> float:
        """Twice what descent can gain from outputs of zero, on average over the samples."""


class MeanSquares:
    """``½|o - e|²``."""

    name = "mse"
    closed_form = True

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared distance of each sample."""
        return 0.5 * (outputs - targets).square().sum(1)

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """``o - e``."""
        return outputs - targets

    def scale(self, targets: Tensor) -> float:
        """Mean of ``|e|²``."""
        return float(targets.square().sum(1).mean())


class TorchCrossEntropy:
    """``log Σ exp(o) - <e, o>`` for a distribution e, as ``torch.nn.functional.cross_entropy``."""

    name = "cross_entropy"
    closed_form = False

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each sample."""
        return outputs.logsumexp(1) - (targets * outputs).sum(1)

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """``softmax(o) - e``."""
        return outputs.softmax(1) - targets

    def scale(self, targets: Tensor) -> float:
        """Twice the divergence of the targets from uniform, ``log q`` less their entropy."""
        entropy = -torch.special.xlogy(targets, targets).sum(1).mean()
        return 2.0 * (float(torch.tensor(float(targets.shape[1])).log()) - float(entropy))


class LogitAdjusted(TorchCrossEntropy):
    """Cross-entropy of ``o + a`` with fixed logits `a` (q,) that are left out of decisions :cite:p:`menon2021`."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each sample with the adjusted outputs."""
        return super().values(outputs + self.logits.to(outputs), targets)

    def slopes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """``softmax(o + a) - e``."""
        return super().slopes(outputs + self.logits.to(outputs), targets)

    def scale(self, targets: Tensor) -> float:
        """Twice the divergence of the targets from ``softmax(a)``."""
        entropy = -torch.special.xlogy(targets, targets).sum(1).mean()
        return 2.0 * float(self.values(torch.zeros_like(targets), targets).mean() - entropy)


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (MeanSquares(), TorchCrossEntropy())}


def loss_of(settings: Settings, encoding: Encoding, counts: IntArray) -> Loss:
    """The loss of the settings, for class `counts` (K,): under logit adjustment ``a = τ log ē``.

    Raises
    ------
    ArgumentError
        If an output is 0 for all samples, so that its logarithm does not exist.
    """
    if settings.logit_adjustment == 0:
        return LOSSES[settings.loss]
    mean = encoding.mean(counts / counts.sum())
    if mean.min() <= 0:
        raise ArgumentError(
            f"logit_adjustment: no sample asks for output {int(mean.argmin())}, whose share is 0; "
            "leave the output out, or use logit_adjustment=0"
        )
    return LogitAdjusted(settings.logit_adjustment * torch.tensor(np.log(mean)))


def class_weights_of(settings: Settings, counts: IntArray) -> Tensor | None:
    """Weight of each class in the loss, shape (K,), or None where all weigh the same.

    Raises
    ------
    ArgumentError
        If there is not one for each class.
    """
    if settings.class_weights == "none":
        return None
    if settings.class_weights == "balanced":
        return torch.tensor(counts.sum() / (len(counts) * counts))
    if len(settings.class_weights) != len(counts):
        raise ArgumentError(
            f"class_weights: expected one for each of {len(counts)} classes, got {len(settings.class_weights)}"
        )
    return torch.tensor(settings.class_weights, dtype=torch.float64)
