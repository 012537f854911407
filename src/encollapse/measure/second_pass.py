"""What needs the final means, and so the samples a second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from encollapse._typing import IntArray
from encollapse.geometry.metrics import Convention, as_convention
from encollapse.geometry.statistics import ClassStatistics
from encollapse.measure import distributed
from encollapse.measure.assembly import assemble
from encollapse.measure.classifier import Classifier
from encollapse.measure.decisions import Tally, classifier_rule
from encollapse.measure.inputs import RowSource
from encollapse.measure.moment_state import add_gram
from encollapse.measure.moments import ClassMoments
from encollapse.measure.precision import exact_products
from encollapse.measure.projection import Projection
from encollapse.measure.result import Collapse
from encollapse.measure.rules import NearestMean


def finish(
    source: RowSource,
    labels: IntArray,
    moments: ClassMoments,
    classifier: Classifier,
    convention: str | Convention,
    provenance: Mapping[str, Any] | None = None,
    *,
    merged: bool = False,
) -> Collapse:
    """Collapse of samples that `moments` has seen and `source` gives again in the same order.

    With `merged`, the samples of all processes of the torch.distributed group together; `moments` must
    have been merged already.
    """
    chosen, device = as_convention(convention), moments.device
    statistics = moments.statistics()
    if chosen.within_averaging == "class" and moments.covariance and not statistics.balanced:
        covariance = class_averaged_covariance(source, labels, statistics, device)
        if merged:
            covariance = distributed.total(covariance)
        statistics = moments.statistics(class_averaged_covariance=covariance.cpu().numpy())
    tally = Tally(
        NearestMean(statistics, device), classifier_rule(classifier, statistics.num_classes, device)
    )
    projection = (
        None if moments.covariance else Projection.worthwhile(statistics, chosen.within_averaging, device)
    )
    start = 0
    for block in source.blocks(device):
        own = labels[start : start + len(block)]
        tally.add(block, own)
        if projection is not None:
            projection.add(block, own)
        start += len(block)
    if merged:
        tally.all_reduce()
    if projection is not None:
        if merged:
            projection.all_reduce()
        statistics = replace(statistics, projected=projection.within())
    return assemble(statistics, classifier, chosen, tally.decisions(), provenance)


def class_averaged_covariance(
    source: RowSource, labels: IntArray, statistics: ClassStatistics, device: torch.device
) -> torch.Tensor:
    """Average over present classes of their covariances; one pass knows the pooled one only."""
    means = torch.tensor(statistics.means, device=device)
    scale = torch.tensor(1.0 / (statistics.num_present * statistics.counts.clip(min=1)), device=device).sqrt()
    total = torch.zeros(statistics.feature_dim, statistics.feature_dim, dtype=torch.float64, device=device)
    start = 0
    for block in source.blocks(device):
        own = torch.from_numpy(labels[start : start + len(block)]).to(device)
        # Taken from the means in float64: means rounded to float32 would move every residual alike.
        residuals = ((block - means[own]) * scale[own][:, None]).to(block.dtype)
        with exact_products(device):
            add_gram(total, residuals)
        start += len(block)
    upper = total.triu_()
    return upper + upper.triu(1).T
