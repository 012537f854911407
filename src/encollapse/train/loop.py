"""The training loop: Adam on minibatches, then L-BFGS on everything, until the gradient is small."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.errors import TrainingError
from encollapse.train import models
from encollapse.train.chunks import CHUNK, chunks
from encollapse.train.models import Classifier
from encollapse.train.objective import objective
from encollapse.train.observe import Observation, observe
from encollapse.train.progress import Progress
from encollapse.train.run import Status
from encollapse.train.settings import Settings
from encollapse.train.units import Units

if TYPE_CHECKING:
    from lightning_fabric import Fabric

INITIAL_SIZE = 0.3
"""Root mean square of the initial features and norm of the initial weight, in training units."""

LBFGS_MEMORY = 20
FLOAT32_FLOOR = 1e-7


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
    start = time.perf_counter()
    num_samples = len(dataset.train)
    labels = torch.tensor(dataset.train.labels)
    codewords = torch.tensor(encoding.encode(dataset.train.labels))

    # Training happens in units in which codewords have size one and both decays are equal.
    units = Units.of(
        float(codewords.square().sum(1).mean().sqrt()),
        num_samples,
        weight_decay=settings.weight_decay,
        feature_decay=settings.feature_decay,
    )
    inputs = torch.tensor(dataset.train.inputs, device=fabric.device)
    targets = (codewords / units.codeword).float().to(fabric.device)
    classifier = _initial(settings, torch.tensor(dataset.train.inputs), encoding)

    # Two optimisers of the same weights, one for each phase.
    adam = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate)
    lbfgs = torch.optim.LBFGS(
        classifier.parameters(),
        history_size=LBFGS_MEMORY,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    network, adam, lbfgs = fabric.setup(classifier, adam, lbfgs)
    network.mark_forward_method("outputs_and_features")

    def add_gradient(part: Tensor | slice, share: float = 1.0) -> Tensor:
        outputs, features = network.outputs_and_features(inputs[part])
        loss = share * objective(
            outputs,
            features,
            targets[part],
            classifier.head.weight,
            classifier.head.bias,
            num_samples=num_samples,
            weight_decay=units.decay,
            feature_decay=units.decay / num_samples,
            bias_decay=settings.bias_decay,
        )
        fabric.backward(loss)
        return loss.detach()

    def whole_set() -> Tensor:
        lbfgs.zero_grad()
        parts = chunks(num_samples)
        return torch.stack([add_gradient(p, (p.stop - p.start) / num_samples) for p in parts]).sum()

    shuffle = torch.Generator().manual_seed(settings.seed)
    total = settings.epochs + settings.finish
    history: list[dict[str, Any]] = []
    status = Status.BUDGET
    epoch = 0
    with Progress(f"{dataset.name}, {encoding.name}", total, enabled=settings.progress) as bar:
        while True:
            # Look: a row of history, and whether this is the end.
            phase = "start" if epoch == 0 else "adam" if epoch <= settings.epochs else "lbfgs"
            seen = observe(classifier, inputs, codewords, settings, units)
            _require_finite(seen, epoch, settings)
            history.append({"epoch": epoch, "phase": phase, **seen.row(labels, encoding)})
            bar.update(epoch, f"gradient {seen.stationarity:.1e}")
            if seen.stationarity <= settings.tolerance and epoch > 0:
                status = Status.STATIONARY
                break
            before = history[-2] if phase == "lbfgs" else None
            if before and before["phase"] == "lbfgs" and seen.loss > before["loss"] * (1 - FLOAT32_FLOOR):
                status = Status.STALLED
                break
            if epoch == total:
                break

            # Train until the next look.
            if epoch < settings.epochs:
                until = min(epoch + settings.history_every, settings.epochs)
                for now in range(epoch, until):
                    order = torch.randperm(num_samples, generator=shuffle).to(fabric.device)
                    batches = chunks(num_samples, settings.batch_size)
                    for step, batch in enumerate(batches):
                        done = (now + step / len(batches)) / settings.epochs
                        adam.param_groups[0]["lr"] = settings.learning_rate * one_cycle(done)
                        adam.zero_grad()
                        add_gradient(order[batch])
                        adam.step()
            else:
                until = min(epoch + settings.history_every, total)
                lbfgs.param_groups[0]["max_iter"] = until - epoch
                lbfgs.param_groups[0]["max_eval"] = 10 * (until - epoch)
                lbfgs.step(whole_set)
            epoch = until

    classifier.cpu().eval()
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
        )
    finally:
        torch.set_rng_state(state)
    with torch.no_grad():
        classifier.backbone.last.bias.zero_()
        features = classifier.backbone(inputs[:CHUNK])
    classifier.rescale_(
        features=INITIAL_SIZE / float(features.square().sum(1).mean().sqrt().clamp(min=1e-6)),
        weight=INITIAL_SIZE / float(classifier.head.weight.norm()),
        bias=0.0,
    )
    return classifier


def _require_finite(seen: Observation, epoch: int, settings: Settings) -> None:
    if not (math.isfinite(seen.loss) and math.isfinite(seen.stationarity)):
        raise TrainingError(
            f"learning_rate: the loss is no longer finite after {epoch} epochs at "
            f"learning_rate={settings.learning_rate:g}; use a lower one (the default is 5e-3)"
        )
