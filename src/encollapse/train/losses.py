"""Losses between outputs and codewords, as training needs them: value, slope and scale."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


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


class CrossEntropy:
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


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (MeanSquares(), CrossEntropy())}
