"""`Task`: what there is to train, as every part of the training sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from encollapse.data import Split
from encollapse.encodings import Encoding
from encollapse.train import models
from encollapse.train.distributed.process_group import ProcessGroup
from encollapse.train.distributed.sync_batch_norm import shared_statistics
from encollapse.train.loop.nondimensionalize import Units
from encollapse.train.losses import class_weights_of, loss_of
from encollapse.train.models import Classifier
from encollapse.train.models.classifier import CHUNK, chunks
from encollapse.train.settings import Settings
from encollapse.train.ufm_objective import Objective

INITIAL_SIZE = 0.3
"""Root mean square of the initial features and norm of the initial weight, in training units."""

KEEP_ACTIVATIONS = 16384
"""Samples up to which a gradient of the whole set keeps all activations in memory."""


@dataclass(frozen=True, eq=False)
class Work:
    """What to learn: data and codewords, as they are handed from process to process."""

    title: str
    train: Split
    test: Split | None
    encoding: Encoding
    fixed_weight: Tensor | None

    @property
    def targets(self) -> Tensor:
        """Codeword of each training sample, shape (N, q), float64."""
        return torch.tensor(self.encoding.encode(self.train.labels))


class Task:
    """A network and its data on their device, in training units, with the objective in both units."""

    def __init__(self, work: Work, settings: Settings, workers: ProcessGroup) -> None:
        self.work = work
        self.settings = settings
        self.workers = workers
        self.num_samples = len(work.train)
        self.labels = torch.tensor(work.train.labels)
        self.targets = work.targets
        counts = np.bincount(work.train.labels, minlength=work.encoding.num_classes)
        self.loss = loss_of(settings, work.encoding, counts)
        by_class = class_weights_of(settings, counts)
        self.weights = None if by_class is None else by_class[self.labels]
        self.units = self._units()
        self.codewords = self.targets / self.units.codeword
        inputs = torch.tensor(work.train.inputs)
        self.classifier = self._initial(inputs).to(workers.device)
        self.inputs = inputs.to(workers.device)
        self.codewords32 = self.codewords.float().to(workers.device)
        self.weights32 = None if self.weights is None else self.weights.float().to(workers.device)
        # Decoupled decay is no part of any loss.
        decay = 0.0 if settings.decay == "decoupled" else settings.weight_decay
        self.users_objective = Objective(
            self.loss,
            self.num_samples,
            decay,
            settings.feature_decay or 0.0,
            settings.bias_decay,
            decay if settings.decay == "plain" else 0.0,
        )
        units = self.units
        self.objective = replace(
            self.users_objective,
            weight_decay=self.users_objective.weight_decay * (units.weight / units.codeword) ** 2,
            feature_decay=self.users_objective.feature_decay * (units.feature / units.codeword) ** 2,
        )

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        return self.classifier.head

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Trained parameters before the head."""
        return (p for p in self.classifier.backbone.parameters() if p.requires_grad)

    def decayed_parameters(self) -> list[nn.Parameter]:
        """Trained parameters that plain and decoupled decay act on: all but the head's bias, which has its own."""
        trained = [p for p in self.classifier.parameters() if p.requires_grad]
        return [p for p in trained if p is not self.head.bias]

    def weights_of(self, rows: slice) -> Tensor | None:
        """Weight of some samples in the loss, float64, or None where all weigh the same."""
        return None if self.weights is None else self.weights[rows]

    def all_features(self, rows: slice = slice(None)) -> Tensor:
        """Features of many samples. Of very many, activations are not kept but computed again for the gradient."""
        inputs = self.inputs[rows]
        backbone = self.classifier.backbone
        forward = backbone.before_tail
        if torch.is_grad_enabled() and len(inputs) > KEEP_ACTIVATIONS:
            forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
        entering = torch.cat([forward(inputs[part]) for part in chunks(len(inputs))])
        if backbone.tail is None:
            return backbone.finish(entering)
        with shared_statistics(backbone.tail, self.workers):
            return backbone.whole_set(entering, self.num_samples)

    def begin_anew_(self) -> None:
        """Give the network its initial values again, the same in every process."""
        torch.manual_seed(self.settings.seed)
        initial = self._initial(torch.tensor(self.work.train.inputs))
        self.classifier.load_state_dict(initial.state_dict())
        self.workers.align_(self.classifier)

    @torch.no_grad()
    def center_bias_(self) -> None:
        """Give a bias that nothing decides up to a constant, as under cross-entropy without bias decay, mean zero."""
        bias = self.head.bias
        if bias is not None and self.objective.bias_decay == 0 and self.settings.loss == "cross_entropy":
            bias.sub_(bias.mean())

    def finish(self) -> Classifier:
        """The network in the user's units, on the CPU, in evaluation mode."""
        classifier = self.classifier.cpu().eval()
        units = self.units
        classifier.rescale_(features=units.feature, weight=units.weight, bias=units.codeword)
        return classifier

    def _units(self) -> Units:
        if self.settings.feature_decay is None:
            return Units.plain()
        fixed = self.work.fixed_weight
        size = 1.0 if self.settings.loss == "cross_entropy" else float(self.targets.square().sum(1).mean().sqrt())
        if fixed is not None:
            return Units.around(size, float(torch.linalg.matrix_norm(fixed, 2)) or 1.0)
        return Units.of(
            size, self.num_samples, weight_decay=self.settings.weight_decay, feature_decay=self.settings.feature_decay
        )

    def _initial(self, inputs: Tensor) -> Classifier:
        """A random network. Under UFM decay its features and its head start small."""
        fixed = self.work.fixed_weight
        classifier = models.build(
            self.settings.model,
            inputs,
            feature_dim=self.settings.feature_dim,
            code_dim=self.work.encoding.code_dim,
            bias=self.settings.has_bias,
            features=self.settings.features,
            options=self.settings.model_options,
            fixed_weight=None if fixed is None else fixed / self.units.weight,
        )
        if self.settings.decay == "ufm":
            classifier.initialize_(inputs[:CHUNK], INITIAL_SIZE)
        elif self.settings.has_bias:
            with torch.no_grad():
                classifier.head.bias.zero_()
        return classifier
