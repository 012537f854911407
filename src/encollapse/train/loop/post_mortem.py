"""Why an objective is not finite: the cause that the error names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import Tensor

from encollapse.train.loop.snapshot import Snapshot
from encollapse.train.loop.task import Task

PRICES = {
    "loss_fit": "encoding: the distance of the outputs from the codewords",
    "loss_weight": "weight_decay: its term",
    "loss_features": "feature_decay: its term",
    "loss_bias": "bias_decay: its term",
    "loss_backbone": "weight_decay: its term over the backbone",
}
"""Which argument a term of the objective belongs to."""

DECAYS = (
    "weight_decay, feature_decay, bias_decay: the gradient of the objective is not finite for the untrained network; "
    "bring the decays and the codewords nearer to 1"
)


def cause_of(task: Task, seen: Snapshot, epoch: int, phase: str) -> str:
    """The argument to blame for an objective that is not finite, what was seen, and what to do.

    Before any step the network, or a term of the objective, is the cause. After steps, the network is begun anew and
    asked for features and gradients of a minibatch, as the first step does: where these are not finite, no learning
    rate helps. Only what is left is blamed on the learning rate. The network is of no use afterwards.
    """
    if epoch == 0:
        own = _of_network(task, seen.features, task.classifier.named_parameters)
        return own or _of_terms(seen) or _of_first_step(task) or DECAYS
    own = _of_first_step(task)
    if own is not None:
        return own
    rate = task.settings.learning_rate
    after = f"the loss is no longer finite after {epoch} epochs"
    if phase == "lbfgs":
        return (
            f"finish: {after}, in iterations of L-BFGS, where the minibatches before at learning_rate={rate:g} left it "
            "finite; give finish=0, or a lower learning_rate"
        )
    return f"learning_rate: {after} at learning_rate={rate:g}; use a lower one"


def _of_network(
    task: Task, features: Tensor, named: Callable[[], Iterable[tuple[str, Tensor]]], when: str = "before any training"
) -> str | None:
    """What of the network is not finite: a parameter, or else features."""
    for name, values in named():
        if not bool(values.isfinite().all()):
            return f"model: parameter {name!r} is not finite {when}; check how the network is initialized"
    bad = ~features.isfinite().all(1)
    if not bool(bad.any()):
        return None
    row = int(bad.nonzero()[0, 0])
    value = float(features[row][~features[row].isfinite()][0])
    inputs = task.inputs[row]
    return (
        f"model: {int(bad.sum())} of {len(bad)} samples have features that are not finite {when} (the first is sample "
        f"{row}: {value}, from inputs {float(inputs.min()):g} to {float(inputs.max()):g}); check the layers of the "
        "network, for no learning rate changes that"
    )


def _of_terms(seen: Snapshot) -> str | None:
    """Which term is not finite where the network is."""
    for name, value in seen.terms.items():
        if not math.isfinite(value):
            return f"{PRICES[name]} is {value} for the untrained network; bring the numbers nearer to 1"
    return None


def _of_first_step(task: Task) -> str | None:
    """What is not finite in the gradient of the untrained network on its first samples, or None where all is finite."""
    task.begin_anew_()
    task.classifier.train()
    task.classifier.zero_grad()
    rows = slice(0, min(task.settings.batch_size, task.num_samples))
    features = task.classifier.features(task.inputs[rows]).float()
    found = _of_network(task, features.detach(), lambda: (), "in training mode, before any step")
    if found is not None:
        return found
    loss = task.objective.samples(task.head(features), features, task.codewords32[rows], len(features), None)
    if not bool(loss.isfinite()):
        largest = float(features.detach().abs().max())
        return (
            f"model: features as large as {largest:.3g}, and outputs of up to that size times the head's weight, have "
            "no loss in float32; make what enters the last layer smaller"
        )
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in task.classifier.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return (
                f"model: the gradient of parameter {name!r} is not finite before any step, although the features are; "
                "look for a root, a norm or a logarithm at zero in the network"
            )
    return None
