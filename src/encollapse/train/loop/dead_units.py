"""Hidden units that are zero on the whole training set: new values for them that leave the features as they are."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from encollapse.train.loop.task import Task


@torch.no_grad()
def wake_dead_units_(task: Task) -> int:
    """Give units without any gradient new incoming weights, and outgoing weights of zero, and say how many there were.

    With many classes each unit counts, for the features have as many dimensions. A new unit is active on about half
    of the samples. What is dead is counted over all processes, and all draw the same weights. Rectified layers of a
    dense trunk without normalization are looked at. Others have no units that can be replaced without a change.
    """
    backbone, workers = task.classifier.backbone, task.workers
    parts = list(backbone.trunk.children()) if isinstance(backbone.trunk, nn.Sequential) else []
    values = (task.inputs[workers.span(task.num_samples)] - backbone.shift) * backbone.gain
    if backbone.last is None or not all(isinstance(part, nn.Flatten | nn.Linear | nn.ReLU) for part in parts):
        return 0
    random, woken = torch.Generator().manual_seed(task.settings.seed), 0
    layers: list[nn.Linear] = [part for part in parts if isinstance(part, nn.Linear)] + [backbone.last]
    values = values.flatten(1)
    for layer, following in pairwise(layers):
        active = layer(values).relu()
        dead = workers.sum((active > 0).any(0).double()) == 0
        if dead.any():
            _renew_(layer, dead, values, task, random)
            following.weight[:, dead] = 0.0
            woken += int(dead.sum())
            active = layer(values).relu()
        values = active
    return woken


def _renew_(layer: nn.Linear, dead: Tensor, values: Tensor, task: Task, random: torch.Generator) -> None:
    """Random weights for the units `dead` of a layer, by which their mean over the samples is 0 and their spread 1."""
    drawn = torch.randn(int(dead.sum()), values.shape[1], generator=random).to(layer.weight)
    entering = (values @ drawn.T).double()
    mean = task.workers.sum(entering.sum(0)) / task.num_samples
    spread = (task.workers.sum((entering - mean).square().sum(0)) / task.num_samples).sqrt().clamp(min=1e-6)
    layer.weight[dead] = (drawn / spread[:, None]).to(layer.weight)
    if layer.bias is not None:
        layer.bias[dead] = (-mean / spread).to(layer.bias)
