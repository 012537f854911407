"""What a network costs: its parameters, and the arithmetic of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from encollapse.train.models.classifier import Classifier


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
        """Rough time of one pass of training over the samples; the default rate is that of one CPU core."""
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
