"""Optimizers of the passes over minibatches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from encollapse.train.settings import Settings


def make(parameters: Iterable[nn.Parameter], settings: Settings) -> Optimizer:
    """The optimizer of the settings, without any decay of its own :cite:p:`kingma2015,sutskever2013`."""
    trained = [p for p in parameters if p.requires_grad]
    if settings.optimizer == "sgd":
        return SGD(trained, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov)
    return Adam(trained, lr=settings.learning_rate)


@torch.no_grad()
def shrink_(parameters: Iterable[Tensor], amount: float) -> None:
    """Decoupled weight decay: multiply every parameter by ``1 - amount`` :cite:p:`loshchilov2019`.

    With `amount` the learning rate times λ, before a step of Adam, this is AdamW.
    """
    for parameter in parameters:
        parameter.mul_(1.0 - amount)
