"""The training loop: Adam on minibatches, then L-BFGS on everything, until the gradient is small."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.errors import TrainingError
from encollapse.train import models
from encollapse.train.chunks import CHUNK, chunks
from encollapse.train.head import best_head
from encollapse.train.models import Classifier
from encollapse.train.objectives import objective
from encollapse.train.observe import Observation, observe
from encollapse.train.progress import Progress
from encollapse.train.run import Status
from encollapse.train.settings import Settings
from encollapse.train.units import Units

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule

INITIAL_SIZE = 0.3
"""Root mean square of the initial features and norm of the initial weight, in training units."""

LBFGS_MEMORY = 50
KEEP_ACTIVATIONS = 16384
"""Samples up to which L-BFGS keeps all activations in memory."""

LEAST_GAIN = 1e-10
"""Relative decrease of the loss below which a round of L-BFGS counts as stalled."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in the user's units, on the CPU, and how it came to be."""

    classifier: Classifier
    observation: Observation
    history: tuple[dict[str, Any], ...]
    status: Status
    seconds: float


def train(dataset: Dataset, encoding: Encoding, settings: Settings, fabric: Fabric) -> Trained:
    """Minimise the UFM objective over the weights of a network.

    Raises
    ------
    TrainingError
        If the loss stops being finite.
    """
    assert isinstance(settings.history_every, int)
    assert settings.feature_decay is not None
    start = time.perf_counter()
    num_samples = len(dataset.train)
    labels = torch.tensor(dataset.train.labels)
    targets = torch.tensor(encoding.encode(dataset.train.labels))

    # Training happens in units in which codewords have size one and both decays are equal.
    units = Units.of(
        float(targets.square().sum(1).mean().sqrt()),
        num_samples,
        weight_decay=settings.weight_decay,
        feature_decay=settings.feature_decay,
    )
    inputs = torch.tensor(dataset.train.inputs, device=fabric.device)
    codewords = targets / units.codeword
    codewords32 = codewords.float().to(fabric.device)
    classifier = _initial(settings, torch.tensor(dataset.train.inputs), encoding).eval()

    # Two optimisers, one for each phase. The second sees only the backbone: it has the best head at every step.
    adam = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate)
    lbfgs = torch.optim.LBFGS(
        classifier.backbone.parameters(),
        history_size=LBFGS_MEMORY,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    network, adam, lbfgs = fabric.setup(classifier, adam, lbfgs)
    network.mark_forward_method("features")
    head = classifier.head
    decays: dict[str, Any] = {
        "num_samples": num_samples,
        "weight_decay": units.decay,
        "feature_decay": units.decay / num_samples,
        "bias_decay": settings.bias_decay,
    }

    def minibatch_step(rows: Tensor, done: float) -> None:
        adam.param_groups[0]["lr"] = settings.learning_rate * one_cycle(done)
        adam.zero_grad()
        share = warm_up(done)
        eased = decays | {name: share * decays[name] for name in ("weight_decay", "feature_decay")}
        features = network.features(inputs[rows])
        fabric.backward(
            objective(head(features), features, codewords32[rows], head.weight, head.bias, **eased)
        )
        adam.step()

    def whole_set() -> Tensor:
        lbfgs.zero_grad()
        # The network computes in float32, what follows it in float64: the line search compares nearly equal losses.
        features = _all_features(network, inputs).cpu().double()
        weight, bias = best_head(
            features, codewords, weight_decay=units.decay, bias_decay=settings.bias_decay
        )
        outputs = features @ weight.T + (0.0 if bias is None else bias)
        loss = objective(outputs, features, codewords, weight, bias, **decays)
        fabric.backward(loss)
        return loss.detach()

    def adopt_best_head() -> None:
        with torch.no_grad():
            features = _all_features(network, inputs)
            weight, bias = best_head(
                features, codewords, weight_decay=units.decay, bias_decay=settings.bias_decay
            )
            head.weight.copy_(weight)
            if bias is not None:
                head.bias.copy_(bias)

    shuffle = torch.Generator().manual_seed(settings.seed)
    total = settings.epochs + settings.finish
    history: list[dict[str, Any]] = []
    status = Status.BUDGET
    last_loss = math.inf
    epoch = 0
    with Progress(f"{dataset.name}, {encoding.name}", total, enabled=settings.progress) as bar:
        while True:
            # Look: a row of history, and whether this is the end.
            phase = "start" if epoch == 0 else "adam" if epoch <= settings.epochs else "lbfgs"
            seen = observe(classifier, inputs, targets, labels, settings, units)
            _require_finite(seen, epoch, settings)
            history.append({"epoch": epoch, "phase": phase, **seen.row(labels, encoding)})
            bar.update(epoch, f"stationarity {seen.stationarity.value:.1e}")
            if epoch >= settings.epochs and seen.stationarity.value <= settings.tolerance:
                status = Status.STATIONARY
                break
            if epoch == total:
                break
            if phase == "lbfgs" and seen.loss > last_loss * (1 - LEAST_GAIN):
                status = Status.STALLED
                break
            last_loss = seen.loss

            # Train until the next look.
            if epoch < settings.epochs:
                until = min(epoch + settings.history_every, settings.epochs)
                classifier.train()
                for now in range(epoch, until):
                    order = torch.randperm(num_samples, generator=shuffle).to(fabric.device)
                    batches = chunks(num_samples, settings.batch_size)
                    for step, batch in enumerate(batches):
                        minibatch_step(order[batch], (now + step / len(batches)) / settings.epochs)
                # Outside the minibatches a network is a function of one sample: batch statistics stand still.
                classifier.eval()
                if until == settings.epochs and settings.finish > 0:
                    adopt_best_head()
            else:
                until = min(epoch + settings.history_every, total)
                lbfgs.param_groups[0]["max_iter"] = until - epoch
                lbfgs.param_groups[0]["max_eval"] = 10 * (until - epoch)
                lbfgs.step(whole_set)
                adopt_best_head()
            epoch = until

    classifier.cpu()
    classifier.rescale_(features=units.feature, weight=units.weight, bias=units.codeword)
    return Trained(classifier, seen, tuple(history), status, time.perf_counter() - start)


def one_cycle(done: float) -> float:
    """Learning rate, relative to its peak, once a fraction `done` of the steps is over :cite:p:`smith2019`.

    A linear rise over the first three tenths, then half a cosine down to zero.
    """
    rise = 0.3
    if done < rise:
        return 0.04 + 0.96 * done / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


def warm_up(done: float) -> float:
    """Share of the weight and feature decay in force once a fraction `done` of Adam's steps is over.

    It rises from 0 to 1 over the first half. A network that cannot tell the classes apart yet sees them through noise;
    under the full decay it may then fall to the saddle at zero, or lose the classes with few samples.
    """
    return min(1.0, 2 * done)


def _initial(settings: Settings, inputs: Tensor, encoding: Encoding) -> Classifier:
    """A random network with small features and a small head, drawn without touching the caller's generator."""
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(settings.seed)
        classifier = models.build(
            settings.model,
            inputs,
            feature_dim=settings.feature_dim,
            code_dim=encoding.code_dim,
            bias=settings.has_bias,
            features=settings.features,
            options=settings.model_options,
        )
    finally:
        torch.set_rng_state(state)
    classifier.initialise_(inputs[:CHUNK], INITIAL_SIZE)
    return classifier


def _all_features(network: _FabricModule, inputs: Tensor) -> Tensor:
    """Features of the whole set; of a large one, activations are not kept but computed again for the gradient."""
    forward = network.features
    if torch.is_grad_enabled() and len(inputs) > KEEP_ACTIVATIONS:
        forward = partial(checkpoint, network.features, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([forward(inputs[part]) for part in chunks(len(inputs))])


def _require_finite(seen: Observation, epoch: int, settings: Settings) -> None:
    if not (math.isfinite(seen.loss) and math.isfinite(seen.stationarity.value)):
        raise TrainingError(
            f"learning_rate: the loss is no longer finite after {epoch} epochs at "
            f"learning_rate={settings.learning_rate:g}; use a lower one (the default is 1e-2)"
        )
