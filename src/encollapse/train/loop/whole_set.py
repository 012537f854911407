"""Second phase of a training: L-BFGS on the whole set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from encollapse.train.loop.ridge_head import best_bias, best_head
from encollapse.train.loop.task import Task

SHRUNK = 12
"""Powers of two by which weights below a last batch normalization are made smaller, over all layers.

The variance that it divides by stays far above its epsilon, and the decay of these weights falls to next to nothing.
"""

LBFGS_MEMORY = 50  # pairs of vectors, where memory permits
LBFGS_ENTRIES = 2**27
"""Numbers that L-BFGS may remember. Of a large network it remembers fewer steps."""


class WholeSet:
    """L-BFGS on the whole set :cite:p:`liu1989`, with the best head at every step where it is known.

    The network computes in float32, what follows it in float64: the line search compares nearly equal losses. Weights
    whose scale a last batch normalization undoes tend to zero under plain decay, and the smaller they are, the steeper
    is the loss in them. So they are made small once, which lowers the objective and leaves the features as they are,
    and L-BFGS moves them at their former scale, to which powers of two lead without rounding.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._rows = task.workers.span(task.num_samples)
        self._codewords = task.codewords[self._rows]
        self._weights = task.weights_of(self._rows)
        self._trained = list(task.backbone_parameters())
        if not task.loss.closed_form:
            self._trained += [p for p in task.head.parameters() if p.requires_grad]
        free = task.classifier.backbone.scale_free() if task.settings.decay == "plain" else []
        layers = sum(p.ndim > 1 for p, _ in free)
        self._free = [(p, power * (SHRUNK // layers)) for p, power in free]
        entries = sum(p.numel() for p in self._trained)
        self._optimizer = LBFGS(
            self._trained,
            history_size=max(3, min(LBFGS_MEMORY, LBFGS_ENTRIES // (2 * entries))),
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer itself, for its state."""
        return self._optimizer

    @torch.no_grad()
    def shrink_(self, sign: int = 1) -> None:
        """Make weights smaller whose scale does not matter, or with sign -1 large again."""
        for parameter, bits in self._free:
            parameter.mul_(2.0 ** (-sign * bits))

    @contextmanager
    def _at_former_scale(self) -> Iterator[None]:
        """In this block such weights are as large as before, and the normalization does the same as it does after."""
        tail: Any = self._task.classifier.backbone.tail
        if not self._free:
            yield
            return
        epsilon = tail.eps
        self.shrink_(-1)
        tail.eps = epsilon * 4.0 ** max(bits for _, bits in self._free)
        yield
        tail.eps = epsilon
        self.shrink_()

    def run(self, iterations: int) -> None:
        """Some iterations of L-BFGS, after which the network has the best head that is known."""
        self._task.classifier.eval()
        group = self._optimizer.param_groups[0]
        group["max_iter"], group["max_eval"] = iterations, 10 * iterations
        with self._at_former_scale():
            self._optimizer.step(self._loss)  # type: ignore[no-untyped-call]
        self.adopt_head()

    @torch.no_grad()
    def adopt_head(self) -> None:
        """Give the network the best head for its features."""
        task = self._task
        task.classifier.eval()
        if not task.loss.closed_form:
            task.center_bias_()
            return
        weight, bias = self._head(task.all_features(self._rows).cpu().double())
        task.head.weight.copy_(weight)
        if bias is not None:
            task.head.bias.copy_(bias)

    def _loss(self) -> Tensor:
        """The objective with its gradient, the same in every process."""
        task, workers = self._task, self._task.workers
        self._optimizer.zero_grad()
        features = task.all_features(self._rows).cpu().double()
        weight, bias = self._head(features)
        outputs = features @ weight.T + (0.0 if bias is None else bias)
        loss = task.objective.samples(outputs, features, self._codewords, task.num_samples, self._weights)
        if workers.leads:
            loss = loss + task.objective.penalty(weight, bias, self._backbone())
        loss.backward()  # type: ignore[no-untyped-call]
        workers.sum_gradients(self._trained)
        return workers.sum(loss.detach())

    def _backbone(self) -> list[Tensor]:
        """The backbone's parameters for their decay, as small as they are outside of the iterations."""
        bits = {id(parameter): bits for parameter, bits in self._free}
        return [p.cpu().double() * 2.0 ** -bits.get(id(p), 0) for p in self._task.backbone_parameters()]

    def _head(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in float64: the best for the features, or, where no formula gives it, the network's own."""
        task = self._task
        bias_decay, total = task.objective.bias_decay, task.workers.sum
        weight = task.head.weight.cpu().double()
        if not task.loss.closed_form:
            return weight, None if task.head.bias is None else task.head.bias.cpu().double()
        if task.settings.fixed_classifier:
            bias = best_bias(
                features, self._codewords, weight, bias_decay=bias_decay, weights=self._weights, total=total
            )
            return weight, bias
        return best_head(
            features,
            self._codewords,
            weight_decay=task.objective.weight_decay,
            bias_decay=bias_decay,
            weights=self._weights,
            total=total,
        )
