"""Looking at a network in training: features of the whole set, in the user's units and float64, and decays read off."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from encollapse.encodings import Encoding
from encollapse.measure import Collapse, collapse
from encollapse.train.loop.stationarity import Stationarity, parameter_stationarity, stationarity
from encollapse.train.loop.task import Task
from encollapse.train.losses import LOSSES, Loss
from encollapse.train.settings import Settings


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network as it stands: float64 tensors on the CPU in the user's units, and what training goes by.

    Attributes
    ----------
    features, weight, bias : (N, d), (q, d), (q,) tensors
        Features of the training set, and the head. `bias` is None where the head has none.
    terms : dict
        The terms of the objective. What does not belong to it is not listed.
    stationarity : Stationarity or None
        None where no loss is minimized (decoupled decay).
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    terms: dict[str, float]
    stationarity: Stationarity | None

    @property
    def loss(self) -> float:
        """The objective: the sum of its terms."""
        return sum(self.terms.values())

    @property
    def judged(self) -> float | None:
        """Value of the stationarity."""
        return None if self.stationarity is None else self.stationarity.value

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs (N, q) of the head for some features."""
        return features @ self.weight.T + (0.0 if self.bias is None else self.bias)

    def learned(self, targets: Tensor) -> float:
        """Variance of the outputs over that of the codewords."""
        outputs = self.outputs(self.features)
        spread = float((targets - targets.mean(0)).square().sum())
        return float((outputs - outputs.mean(0)).square().sum()) / spread if spread > 0 else 1.0

    def class_means(self, labels: Tensor, num_classes: int) -> Tensor:
        """Mean of each class's features, shape (d, K), or zero for a class without samples."""
        counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
        sums = self.features.new_zeros(num_classes, self.features.shape[1]).index_add_(0, labels, self.features)
        return (sums / counts[:, None]).T

    def collapse(self, labels: Tensor, encoding: Encoding, loss: str) -> Collapse:
        """Collapse of the features under the head. A head without bias counts as one with bias zero."""
        bias = self.weight.new_zeros(len(self.weight)) if self.bias is None else self.bias
        return collapse(
            self.features,
            labels,
            weight=self.weight,
            bias=bias,
            encoding=encoding,
            loss=loss,
            num_classes=encoding.num_classes,
        )

    def pull(self, loss: Loss, targets: Tensor) -> float:
        """``-mean <∂ℓ/∂o, W h>``: how hard the loss pulls the outputs to grow.

        Where the gradients of the loss and of decays ``λ_W`` and ``λ_H`` cancel, this is ``λ_W |W|²`` and
        also ``λ_H Σ|h|²``.
        """
        slopes = loss.slopes(self.outputs(self.features), targets)
        return -float((slopes * (self.features @ self.weight.T)).sum(1).mean())


def observe(task: Task) -> Snapshot:
    """Run the whole training set through the network once."""
    task.classifier.eval()
    settings, units = task.settings, task.units
    with torch.no_grad():
        part = task.all_features(task.workers.span(task.num_samples)).cpu().double()
        features = units.feature * task.workers.gather(part, task.num_samples)
        weight = units.weight * task.head.weight.detach().cpu().double()
        bias = None
        if task.head.bias is not None:
            bias = units.codeword * task.head.bias.detach().cpu().double()
        outputs = features @ weight.T + (0.0 if bias is None else bias)
        terms = _terms(task, outputs, features, weight, bias)
    judged: Stationarity | None = None
    if settings.feature_decay is not None:
        judged = stationarity(
            features,
            task.targets,
            task.labels,
            weight,
            bias,
            weight_decay=settings.weight_decay,
            feature_decay=settings.feature_decay,
            bias_decay=settings.bias_decay,
            rectified=settings.features == "relu",
            loss=task.loss,
            weights=task.weights,
            fixed_weight=settings.fixed_classifier,
        )
    elif settings.decay == "plain":
        judged = parameter_stationarity(task)
    return Snapshot(features, weight, bias, terms, judged)


def _terms(task: Task, outputs: Tensor, features: Tensor, weight: Tensor, bias: Tensor | None) -> dict[str, float]:
    objective = task.users_objective
    values = objective.loss.values(outputs, task.targets)
    terms = {"loss_fit": float((values if task.weights is None else task.weights * values).mean())}
    if objective.weight_decay > 0:
        terms["loss_weight"] = 0.5 * objective.weight_decay * float(weight.square().sum())
    if objective.feature_decay > 0:
        terms["loss_features"] = 0.5 * objective.feature_decay * float(features.square().sum())
    if objective.parameter_decay > 0:
        squares = sum(float(p.double().square().sum()) for p in task.backbone_parameters())
        terms["loss_backbone"] = 0.5 * objective.parameter_decay * squares
    if bias is not None:
        terms["loss_bias"] = 0.5 * objective.bias_decay * float(bias.square().sum())
    return terms


@dataclass(frozen=True)
class EffectiveDecays:
    """Weight and feature decay of the model whose optimality conditions fit the network, or None where none fits."""

    weight: float | None
    feature: float | None


def effective_decays(seen: Snapshot, settings: Settings, targets: Tensor) -> EffectiveDecays:
    """Read decays off a trained network.

    At every stationary point of the unrestricted feature model ``λ_W |W|² = λ_H Σ|h|² = -mean <∂ℓ/∂o, W h>``: the
    trace of the balance ``λ_W WᵀW = λ_H Σ h hᵀ``, and the pull of the loss that both decays hold. Under plain decay
    ``λ_W`` is known and the balance gives ``λ_H``. A fixed weight has no decay, and decoupled decay is no term of
    the loss: then both come from the pull, and there are none where the loss does not pull, or is another than the
    theory's.

    Parameters
    ----------
    seen : Snapshot
        The network.
    settings : Settings
        With ``decay`` ``"plain"`` or ``"decoupled"``.
    targets : (N, q) tensor
        Codewords of the samples.
    """
    size = float(seen.features.square().sum())
    norm = float(seen.weight.square().sum())
    if size == 0 or norm == 0 or settings.reweighted:
        return EffectiveDecays(None, None)
    if settings.decay == "plain" and not settings.fixed_classifier:
        return EffectiveDecays(settings.weight_decay, settings.weight_decay * norm / size)
    pull = seen.pull(LOSSES[settings.loss], targets)
    if pull <= 0:
        return EffectiveDecays(None, None)
    return EffectiveDecays(pull / norm, pull / size)
