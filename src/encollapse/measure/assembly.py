"""From statistics, a classifier and decisions to a `Collapse`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.lazy_matrix import LazyMatrix
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.moments.threads import one_library
from encollapse.measure.result import VALUES, Collapse
from encollapse.metrics import ClassStatistics, Convention, Decisions, MetricInputs, as_convention, evaluate


def assemble(
    statistics: ClassStatistics,
    classifier: LinearClassifier,
    convention: str | Convention,
    decisions: Decisions,
    provenance: Mapping[str, Any] | None = None,
    mean_softmax: FloatArray | None = None,
) -> Collapse:
    """Compute every metric, and the geometry that predictions are compared with."""
    chosen = as_convention(convention)
    encoding = classifier.encoding
    inputs = MetricInputs(
        statistics=statistics,
        weight=classifier.weight,
        bias=classifier.bias,
        mean_codeword=None if encoding is None else encoding.mean(statistics.priors),
        convention=chosen,
        encoding=encoding,
        decisions=decisions,
        loss=classifier.loss,
        mean_softmax=mean_softmax,
    )
    with one_library():
        values, missing = evaluate(inputs)
    source = {
        "source": "measured",
        "num_samples": statistics.num_samples,
        "feature_dim": statistics.feature_dim,
        "resolution": statistics.resolution,
        "convention": chosen.name,
        "encoding": None if encoding is None else encoding.name,
    }
    return Collapse(
        values={name: values.get(name) for name in VALUES},
        missing=missing,
        num_samples=statistics.num_samples,
        num_classes=statistics.num_classes,
        convention=chosen.name,
        route=route_of(statistics),
        source=inputs,
        geometry=geometry_of(statistics, classifier, source | dict(provenance or {})),
    )


def route_of(statistics: ClassStatistics) -> str:
    """Say in a few words how the spread within classes was gathered."""
    if statistics.covariance_again:
        return "two-pass covariance"
    if statistics.within_covariance is not None:
        return "one-pass covariance"
    return "no covariance" if statistics.projected is None else "two-pass projected"


def geometry_of(
    statistics: ClassStatistics, classifier: LinearClassifier, provenance: Mapping[str, Any]
) -> ClassGeometry:
    """Gram matrices of the measured means and classifier, each built when it is first read."""
    means, weight = statistics.means, classifier.weight

    def product(rows: FloatArray, columns: FloatArray) -> LazyMatrix:
        return LazyMatrix((len(rows), len(columns)), partial(np.matmul, rows, columns.T))

    return ClassGeometry(
        feature_gram=product(means, means),
        counts=statistics.counts,
        classifier_gram=None if weight is None else product(weight, weight),
        class_outputs=None if weight is None else product(weight, means),
        bias=classifier.bias,
        within=statistics.within_trace,
        provenance=provenance,
        feature_gram_centered=LazyMatrix((len(means), len(means)), partial(_centered_gram, statistics)),
    )


def _centered_gram(statistics: ClassStatistics) -> FloatArray:
    """Gram matrix (K, K) of the means about the global mean, from deviations that kept their digits."""
    centered = statistics.centered("sample")
    rows = np.full(statistics.means.shape, np.nan)
    rows[centered.classes] = np.where((centered.norms > centered.rounding)[:, None], centered.deviations, 0.0)
    return np.asarray(rows @ rows.T)
