"""What needs the final means, and so the samples a second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import IntArray
from encollapse.measure.assembly import assemble
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.decisions.counter import DecisionCounter, classifier_rule
from encollapse.measure.decisions.rules import NearestMean
from encollapse.measure.moments import distributed
from encollapse.measure.moments.inputs import RowSource
from encollapse.measure.moments.projection import Projection
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.measure.moments.torch_algebra import exact_products
from encollapse.measure.result import Collapse
from encollapse.metrics import Convention, as_convention
from encollapse.metrics.nc1 import wants_exact_covariance
from encollapse.metrics.statistics import Averaging, ClassStatistics


def finish(
    source: RowSource,
    labels: IntArray,
    moments: ClassMoments,
    classifier: LinearClassifier,
    convention: str | Convention,
    provenance: Mapping[str, Any] | None = None,
    *,
    merged: bool = False,
    about: ClassStatistics | None = None,
) -> Collapse:
    """Collapse of samples that `moments` has seen and `source` gives again in the same order.

    With `merged`, the samples of all processes of the torch.distributed group together. `moments` must
    have been merged already. With `about`, everything is about the class means of other samples.
    """
    chosen, device = as_convention(convention), moments.device
    statistics = moments.statistics()
    if about is not None:
        statistics = statistics.about(about.means)
    averaging = chosen.within_averaging

    def again(*, double: bool) -> ClassStatistics:
        covariance = covariance_about_means(source, labels, statistics, device, averaging, double=double)
        return with_covariance(
            statistics, averaging, distributed.total(covariance) if merged else covariance, double=double
        )

    if averaging == "class" and moments.covariance and not statistics.balanced:
        statistics = again(double=False)
    wanted = wants_exact_covariance(statistics, chosen)
    if merged:  # all processes or none
        wanted = bool(distributed.total(torch.tensor(int(wanted), device=distributed.carrier_device())))
    if wanted:
        statistics = again(double=True)
    tally = DecisionCounter(
        NearestMean(about or statistics, device), classifier_rule(classifier, statistics.num_classes, device)
    )
    projection = None if moments.covariance else Projection.worthwhile(statistics, averaging, device)
    softmax = MeanSoftmax.wanted(classifier, device)
    start = 0
    for block in source.blocks(device):
        own = labels[start : start + len(block)]
        tally.add(block, own)
        if projection is not None:
            projection.add(block, own)
        if softmax is not None:
            softmax.add(block)
        start += len(block)
    if merged:
        tally.all_reduce()
        if softmax is not None:
            softmax.total = distributed.total(softmax.total)
    if projection is not None:
        if merged:
            projection.all_reduce()
        statistics = replace(statistics, projected=projection.within())
    mean = None if softmax is None else softmax.total.cpu().numpy() / statistics.num_samples
    return assemble(statistics, classifier, chosen, tally.decisions(), provenance, mean)


class MeanSoftmax:
    """Adds up ``softmax(W h + b)`` over samples. `total` (q,) is float64."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias
        self.total = torch.zeros_like(bias)

    @classmethod
    def wanted(cls, classifier: LinearClassifier, device: torch.device) -> MeanSoftmax | None:
        """One for a classifier that was trained with cross-entropy toward an encoding."""
        known = classifier.weight is not None and classifier.encoding is not None
        if not known or classifier.loss != "cross_entropy":
            return None
        return cls(*(torch.tensor(part, device=device) for part in (classifier.weight, classifier.bias)))

    def add(self, features: torch.Tensor) -> None:
        """Take in a block (n, d)."""
        with exact_products(features.device):
            for rows in torch.split(features, max(1, _CHUNK_ENTRIES // len(self.total))):
                outputs = torch.addmm(self._bias, rows.double(), self._weight.T)
                self.total += torch.softmax(outputs, dim=1).sum(dim=0)


def covariance_about_means(
    source: RowSource,
    labels: IntArray,
    statistics: ClassStatistics,
    device: torch.device,
    averaging: Averaging,
    *,
    double: bool,
) -> torch.Tensor:
    """``Σ_W`` of an averaging, by residuals about the final means, in float64 products with `double`."""
    means = torch.tensor(statistics.means, device=device)
    shares = np.zeros(statistics.num_classes)
    shares[statistics.present] = statistics.weights(averaging) / statistics.counts[statistics.present]
    scale = torch.tensor(np.sqrt(shares), device=device)
    total = torch.zeros(statistics.feature_dim, statistics.feature_dim, dtype=torch.float64, device=device)
    start = 0
    for block in source.blocks(device):
        own = torch.from_numpy(labels[start : start + len(block)]).to(device)
        # Taken from the means in float64: means rounded to float32 would move every residual alike.
        residuals = (block - means[own]) * scale[own][:, None]
        with exact_products(device):
            add_gram(total, residuals if double else residuals.to(block.dtype))
        start += len(block)
    upper = total.triu_()
    return upper + upper.triu(1).T


def with_covariance(
    statistics: ClassStatistics, averaging: Averaging, covariance: torch.Tensor, *, double: bool
) -> ClassStatistics:
    """Return the statistics with a covariance from :func:`covariance_about_means`."""
    pooled = averaging == "sample" or statistics.balanced
    matrix = covariance.cpu().numpy()
    return replace(
        statistics,
        within_covariance=matrix if pooled else statistics.within_covariance,
        class_averaged_covariance=statistics.class_averaged_covariance if pooled else matrix,
        covariance_resolution=EPS if double else statistics.covariance_resolution,
        covariance_again=True,
    )


_CHUNK_ENTRIES = 2**22  # of a block of distances: 32 MB
