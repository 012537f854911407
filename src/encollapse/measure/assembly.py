"""From statistics, a classifier and decisions to a `Collapse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from encollapse._memory import require_room
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.metrics import Convention, MetricInputs, as_convention, evaluate
from encollapse.geometry.statistics import ClassStatistics
from encollapse.measure.classifier import Classifier
from encollapse.measure.decisions import Decisions
from encollapse.measure.result import VALUES, Collapse


def assemble(
    statistics: ClassStatistics,
    classifier: Classifier,
    convention: str | Convention,
    decisions: Decisions,
    provenance: Mapping[str, Any] | None = None,
) -> Collapse:
    """Compute every metric, and the geometry that predictions are compared with."""
    chosen = as_convention(convention)
    encoding = classifier.encoding
    values, missing = evaluate(
        MetricInputs(
            statistics=statistics,
            weight=classifier.weight,
            bias=classifier.bias,
            mean_codeword=None if encoding is None else encoding.mean(statistics.priors),
            convention=chosen,
        )
    )
    source = {
        "source": "measured",
        "num_samples": statistics.num_samples,
        "feature_dim": statistics.feature_dim,
        "resolution": statistics.resolution,
        "convention": chosen.name,
        "encoding": None if encoding is None else encoding.name,
    }
    return Collapse(
        **{name: values.get(name) for name in VALUES} | decisions.values,
        missing=missing | decisions.missing,
        num_samples=statistics.num_samples,
        num_classes=statistics.num_classes,
        convention=chosen.name,
        geometry=geometry_of(statistics, classifier, source | dict(provenance or {})),
    )


def geometry_of(
    statistics: ClassStatistics, classifier: Classifier, provenance: Mapping[str, Any]
) -> ClassGeometry:
    """Gram matrices of the measured means and classifier."""
    size = statistics.num_classes
    require_room("feature_gram", size, size, instead="measure fewer classes at a time")
    means = np.nan_to_num(statistics.means)
    weight = classifier.weight
    return ClassGeometry(
        feature_gram=means @ means.T,
        counts=statistics.counts,
        classifier_gram=None if weight is None else weight @ weight.T,
        class_outputs=None if weight is None else weight @ means.T,
        bias=classifier.bias,
        within=statistics.within_trace,
        provenance=provenance,
    )
