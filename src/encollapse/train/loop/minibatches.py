"""First phase of a training: passes over minibatches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from encollapse.train.distributed.sync_batch_norm import shared_statistics
from encollapse.train.loop import optimizers
from encollapse.train.loop.separation import Separation
from encollapse.train.loop.task import Task
from encollapse.train.models.classifier import chunks


def evenly(total: int, size: int) -> list[slice]:
    """Slices that cover `total` rows, all of nearly equal size and none above `size`.

    Where a batch is normalized by its own mean and variance, a last one of a few samples spoils each pass.
    """
    number = math.ceil(total / size)
    ends = [place * total // number for place in range(number + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


class Minibatches:
    """Passes over the data in random order, a step of the optimizer for each minibatch."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._settings = task.settings
        self._plain = optimizers.make(task.classifier.parameters(), task.settings)
        self._optimizer: Any = task.workers.prepared(self._plain)
        self._shuffle = torch.Generator().manual_seed(task.settings.seed)
        self._separation = Separation.of(task)
        normalizes = any(isinstance(module, _BatchNorm) for module in task.classifier.modules())
        total, size = task.num_samples, task.settings.batch_size
        self._batches = evenly(total, size) if normalizes else chunks(total, size)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer itself, for its state."""
        return self._plain

    @property
    def shuffle(self) -> torch.Generator:
        """What decides the order of the samples."""
        return self._shuffle

    def run(self, epoch: int) -> None:
        """One pass: the one that comes after `epoch` others."""
        task, separation = self._task, self._separation
        if separation is not None and epoch == separation.epochs:
            separation.end_(task)
            self._plain.state.clear()
        task.classifier.train()
        order = torch.randperm(task.num_samples, generator=self._shuffle)
        batches = self._batches
        with shared_statistics(task.classifier, task.workers):
            for step, batch in enumerate(batches):
                self._step(order[batch], epoch + step / len(batches))
        task.center_bias_()

    def _step(self, batch: Tensor, passes: float) -> None:
        task, settings, separation = self._task, self._settings, self._separation
        done = passes / settings.epochs if separation is None else separation.done(passes)
        rate = settings.learning_rate * optimizers.learning_rate(settings.schedule, done, warm_up=settings.warm_up)
        self._plain.param_groups[0]["lr"] = rate
        self._plain.zero_grad()
        workers = task.workers
        rows = workers.share(batch).to(workers.device)
        with workers.autocast():
            features = task.classifier.features(task.inputs[rows])
        loss = self._loss(features.float(), rows, len(batch), passes, done)
        workers.backward(loss)
        workers.sum_gradients(task.classifier.parameters())
        if settings.decay == "decoupled":
            optimizers.shrink_(task.decayed_parameters(), rate * settings.weight_decay)
        self._optimizer.step()

    def _loss(self, features: Tensor, rows: Tensor, count: int, passes: float, done: float) -> Tensor:
        """What a step lowers, for the features of this process's `rows` of a minibatch of `count` samples."""
        task, head, separation = self._task, self._task.head, self._separation
        outputs = head(features)
        weights = None if task.weights32 is None else task.weights32[rows]
        objective = task.objective
        apart: Tensor | float = 0.0
        if separation is not None:
            apart = separation.share(passes) * separation.loss(outputs, rows, weights) / count
            if passes < separation.epochs:
                return apart
            objective = objective.eased(separation.easing(done))
        elif self._settings.decay == "ufm":
            objective = objective.eased(optimizers.easing(done))
        loss = apart + objective.samples(outputs, features, task.codewords32[rows], count, weights)
        # The penalty belongs to the step and not to a sample: one process has it.
        if task.workers.leads:
            loss = loss + objective.penalty(head.weight, head.bias, task.backbone_parameters())
        return loss
