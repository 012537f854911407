"""Many classes are told apart first: a cross-entropy with which a training under the squared loss begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from encollapse.train.loop.ridge_head import best_head
from encollapse.train.loop.task import Task
from encollapse.train.models.catalog import MANY_CLASSES

ALONE = 1 / 3
"""Share of the passes in which the network only tells classes apart."""

FADING = (0.5, 0.9)
"""Shares of the other passes between which the cross-entropy fades, once the steps are small and lose no class."""

EASED = (0.3, 0.8)
"""Shares of the other passes between which the decay rises, once the squared loss has nearly every class."""

SHARPNESS = 10.0
"""Logit of the right codeword above one at a usual distance, where the outputs are the right one."""

DAMPING = 1e-4
"""Of the least squares in the last layer, as a share of the mean square of what enters it."""


@dataclass(frozen=True, eq=False)
class Separation:
    """The cross-entropy of distances to the codewords, with logits ``-β/2 |o - e_k|²``.

    Under the squared loss a network learns the directions of its outputs one after the other, and waits at a saddle
    before each. Of hundreds of classes many are still at theirs when the decay, which holds them there, has risen.
    The cross-entropy pulls at all classes at once, and most at those that are confused. A network that has learned
    them by it does not have to collapse: that remains for the squared loss, beside which it fades.

    Attributes
    ----------
    codewords : (K, q) tensor
        Of all classes, float32.
    labels : (N,) tensor
        Of all samples.
    sharpness : float
        ``β``.
    epochs, total : int
        Passes without the squared loss, and all passes over minibatches.
    """

    codewords: Tensor
    labels: Tensor
    sharpness: float
    epochs: int
    total: int

    @classmethod
    def of(cls, task: Task) -> Separation | None:
        """What a task begins with. None with few classes, another loss, and features that the last layer cannot set."""
        settings, encoding, backbone = task.settings, task.work.encoding, task.classifier.backbone
        squared = task.loss.closed_form and settings.decay == "ufm" and not settings.fixed_classifier
        many = min(encoding.code_dim, encoding.num_classes) > MANY_CLASSES and encoding.code_dim <= settings.feature_dim
        epochs = round(ALONE * settings.epochs)
        if not squared or not many or not epochs or backbone.last is None or backbone.tail is not None:
            return None
        codewords = torch.tensor(encoding.encode(np.arange(encoding.num_classes))) / task.units.codeword
        usual = 2 * float((codewords - codewords.mean(0)).square().sum(1).mean())  # squared distance of two of them
        if usual == 0 or (backbone.rectified and codewords.min() < 0):
            return None
        device = task.workers.device
        sharpness = 2 * SHARPNESS / usual
        return cls(codewords.float().to(device), task.labels.to(device), sharpness, epochs, settings.epochs)

    def done(self, passes: float) -> float:
        """Fraction of the passes of the same kind that is over: each kind has a cycle of the learning rate."""
        if passes < self.epochs:
            return passes / self.epochs
        return (passes - self.epochs) / (self.total - self.epochs)

    def share(self, passes: float) -> float:
        """Weight of the cross-entropy, beside the squared loss with weight 1."""
        return 1.0 if passes < self.epochs else 1.0 - _rise(self.done(passes), FADING)

    @staticmethod
    def easing(done: float) -> float:
        """Share of the weight and feature decay in force."""
        return _rise(done, EASED)

    def loss(self, outputs: Tensor, rows: Tensor, weights: Tensor | None) -> Tensor:
        """Sum over samples of the cross-entropy by ``β``, whose slope in the outputs is of the size of codewords."""
        logits = self.sharpness * (outputs @ self.codewords.T - 0.5 * self.codewords.square().sum(1))
        values = functional.cross_entropy(logits, self.labels[rows], reduction="none") / self.sharpness
        return (values if weights is None else weights * values).sum()

    @torch.no_grad()
    def end_(self, task: Task) -> None:
        """Turn to the squared loss: the last layer predicts the codewords as well as it can, and the head reads them.

        Features and head are as large as at a minimum without decay, at which K singular values of ``W M`` are 1.
        """
        task.classifier.eval()
        backbone, head = task.classifier.backbone, task.head
        assert backbone.last is not None
        rows = task.workers.span(task.num_samples)
        entering = backbone.activations(task.inputs[rows]).cpu().double()
        mean_square = float(task.workers.sum(entering.square().sum())) / (task.num_samples * entering.shape[1])
        weight, bias = best_head(
            entering,
            task.codewords[rows],
            weight_decay=DAMPING * mean_square or DAMPING,
            bias_decay=0.0,
            weights=task.weights_of(rows),
            total=task.workers.sum,
        )
        assert bias is not None
        code_dim, size = len(weight), min(self.codewords.shape) ** 0.25
        for parameter, values in [(backbone.last.weight, weight), (backbone.last.bias, bias)]:
            parameter.zero_()
            parameter[:code_dim] = (size * values).to(parameter)
        head.weight.zero_()
        head.weight.fill_diagonal_(1 / size)
        if head.bias is not None:
            head.bias.zero_()


def _rise(done: float, between: tuple[float, float]) -> float:
    """From 0 to 1 in a straight line between two fractions."""
    start, end = between
    return min(1.0, max(0.0, (done - start) / (end - start)))
