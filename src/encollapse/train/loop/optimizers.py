"""The passes over minibatches: optimizers, and how learning rate and regularization move along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from encollapse.train.settings import Settings


def make(parameters: Iterable[nn.Parameter], settings: Settings) -> Optimizer:
    """The optimizer of the settings, without any decay of its own :cite:p:`kingma2015,sutskever2013`."""
    trained = [p for p in parameters if p.requires_grad]
    if settings.optimizer == "sgd":
        return SGD(trained, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.nesterov)
    return Adam(trained, lr=settings.learning_rate, fused=True)


@torch.no_grad()
def shrink_(parameters: Iterable[Tensor], amount: float) -> None:
    """Decoupled weight decay: multiply every parameter by ``1 - amount`` :cite:p:`loshchilov2019`.

    With `amount` the learning rate times λ, before a step of Adam, this is AdamW.
    """
    for parameter in parameters:
        parameter.mul_(1.0 - amount)


Schedule = Callable[[float], float]
"""Learning rate, relative to its peak, once a fraction from 0 to 1 of the steps is over."""


def one_cycle(done: float) -> float:
    """A linear rise over the first three tenths, then half a cosine down to zero :cite:p:`smith2019`."""
    rise = 0.3
    if done < rise:
        return 0.04 + 0.96 * done / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


def cosine(done: float) -> float:
    """Half a cosine from one down to zero :cite:p:`loshchilov2017`."""
    return 0.5 * (1 + math.cos(math.pi * done))


def step(done: float) -> float:
    """One, a tenth after a third of the steps, a hundredth after two thirds :cite:p:`papyan2020`."""
    return 1.0 if done < 1 / 3 else 0.1 if done < 2 / 3 else 0.01


def constant(done: float) -> float:
    """One."""
    del done
    return 1.0


SCHEDULES: dict[str, Schedule] = {"one_cycle": one_cycle, "cosine": cosine, "step": step, "constant": constant}


def learning_rate(name: str, done: float, *, warm_up: float = 0.0) -> float:
    """Relative learning rate of the schedule, times a linear rise over the fraction `warm_up` of the steps."""
    rise = 1.0 if done >= warm_up else (done + 0.01 * warm_up) / (1.01 * warm_up)
    return rise * SCHEDULES[name](done)


def decay_time(settings: Settings, num_samples: int) -> float | None:
    """``τ = Σ learning rate / (1 - momentum) · λ`` over the steps on minibatches: the time in units of the decay.

    After one unit a parameter without gradient has shrunk to 1/e. None where it shrinks otherwise: under Adam, which
    divides the decay in its gradient by the size of that gradient, and where features are regularized.
    """
    momentum = settings.optimizer == "sgd"
    if settings.decay == "ufm" or not (momentum or settings.decay == "decoupled"):
        return None
    steps = settings.epochs * math.ceil(num_samples / settings.batch_size)
    rates = (learning_rate(settings.schedule, i / steps, warm_up=settings.warm_up) for i in range(steps))
    # A decoupled step shrinks at once, without the momentum.
    slow = 1 - settings.momentum if momentum and settings.decay == "plain" else 1.0
    return settings.weight_decay * settings.learning_rate / slow * sum(rates)


def easing(done: float) -> float:
    """Share of the weight and feature decay in force once a fraction `done` of the steps is over.

    It rises from 0 to 1 over the first half. A network that cannot tell the classes apart yet sees them through noise.
    Under the full decay it may then fall to the saddle at zero, or lose the classes with few samples.
    """
    return min(1.0, 2 * done)
