"""Looking at a network in training: features of the whole set, in the user's units and float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from encollapse.encodings import Encoding
from encollapse.measure import Collapse, collapse
from encollapse.train.chunks import chunks
from encollapse.train.models import Classifier
from encollapse.train.objectives import objective
from encollapse.train.settings import Settings
from encollapse.train.stationary import Stationarity, stationarity
from encollapse.train.units import Units

ROW_METRICS = (
    "accuracy",
    "nc1_trace_ratio",
    "nc2_etf",
    "nc2_etf_uncentered",
    "nc2_orthogonal",
    "nc3_alignment",
)
"""Fields of :class:`Collapse` that a row of the history keeps."""


@dataclass(frozen=True, eq=False)
class Observation:
    """A network as it stands: float64 tensors on the CPU, and the two numbers that training goes by."""

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    loss: float
    stationarity: Stationarity

    def collapse(self, labels: Tensor, encoding: Encoding) -> Collapse:
        """Collapse of the features under the head; a head without bias counts as one with bias zero."""
        bias = self.weight.new_zeros(len(self.weight)) if self.bias is None else self.bias
        return collapse(
            self.features,
            labels,
            weight=self.weight,
            bias=bias,
            encoding=encoding,
            num_classes=encoding.num_classes,
        )

    def row(self, labels: Tensor, encoding: Encoding) -> dict[str, Any]:
        """The observation as plain values, for the history."""
        found = self.collapse(labels, encoding)
        values: dict[str, Any] = {"loss": self.loss, "stationarity": self.stationarity.value}
        values |= {"descent": self.stationarity.descent, "escape": self.stationarity.escape}
        cosine = found.geometry.mean_cosine()
        values["mean_cosine"] = cosine if cosine == cosine else None
        return values | {name: getattr(found, name) for name in ROW_METRICS}


@torch.no_grad()
def observe(
    classifier: Classifier,
    inputs: Tensor,
    targets: Tensor,
    labels: Tensor,
    settings: Settings,
    units: Units,
) -> Observation:
    """Run the whole set through the network once.

    Parameters
    ----------
    inputs : (N, ...) tensor
        On the network's device.
    targets : (N, q) tensor
        Codewords in the user's units, float64, on the CPU.
    labels : (N,) int tensor
        On the CPU.
    units : Units
        The units in which the network is.
    """
    parts = [classifier.backbone(inputs[part]) for part in chunks(len(inputs))]
    features = units.feature * torch.cat(parts).cpu().double()
    weight = units.weight * classifier.head.weight.detach().cpu().double()
    bias = None
    if classifier.head.bias is not None:
        bias = units.codeword * classifier.head.bias.detach().cpu().double()
    assert settings.feature_decay is not None
    decays = {
        "weight_decay": settings.weight_decay,
        "feature_decay": settings.feature_decay,
        "bias_decay": settings.bias_decay,
    }
    outputs = features @ weight.T + (0.0 if bias is None else bias)
    loss = objective(outputs, features, targets, weight, bias, num_samples=len(inputs), **decays)
    judged = stationarity(
        features, targets, labels, weight, bias, rectified=settings.features == "relu", **decays
    )
    return Observation(features, weight, bias, float(loss), judged)
