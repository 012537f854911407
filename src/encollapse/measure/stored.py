"""Measurements in files: every value, class means and variances, and the classifier, without covariance."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import files
from encollapse._internal.typing import FloatArray
from encollapse.encodings import Encoding
from encollapse.measure.assembly import geometry_of
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.result import Collapse
from encollapse.metrics import ClassStatistics, Convention, Decisions, MetricInputs

_OPTIONAL = ("weight", "bias", "mean_codeword", "mean_softmax")


def without_covariance(collapse: Collapse) -> Collapse:
    """The measurement without its (d, d) covariance: values as they are, details that need it missing."""
    if collapse.source is None:
        return collapse
    s = collapse.source.statistics
    slim = ClassStatistics(s.means, s.counts, s.within_trace, resolution=s.resolution)
    return replace(collapse, source=replace(collapse.source, statistics=slim))


def write_collapse(path: Path, collapse: Collapse, features: FloatArray) -> None:
    """Write a measurement, and features that belong to it, into an ``.npz`` file that appears whole or not at all."""
    inputs = collapse.source
    assert inputs is not None
    told: dict[str, Any] = {
        "values": collapse.values,
        "missing": collapse.missing,
        "route": collapse.route,
        "resolution": inputs.statistics.resolution,
        "loss": inputs.loss,
        "provenance": dict(collapse.geometry.provenance),
        "decisions": None if inputs.decisions is None else vars(inputs.decisions),
    }
    arrays = {name: getattr(inputs, name) for name in _OPTIONAL if getattr(inputs, name) is not None}
    s = inputs.statistics
    with files.atomic(path) as temporary:
        np.savez(
            temporary,
            told=np.array(json.dumps(told)),
            means=s.means,
            counts=s.counts,
            within_trace=s.within_trace,
            features=features,
            **arrays,
        )


def read_collapse(path: Path, encoding: Encoding | None, convention: Convention) -> tuple[Collapse, FloatArray] | None:
    """Read what :func:`write_collapse` wrote, or None where there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as held:
            told = json.loads(str(held["told"]))
            known: dict[str, Any] = {name: held[name] for name in held.files if name != "told"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    statistics = ClassStatistics(
        known["means"], known["counts"], known["within_trace"], resolution=float(told["resolution"])
    )
    parts = {name: known.get(name) for name in _OPTIONAL}
    decisions = told["decisions"]
    inputs = MetricInputs(
        statistics,
        convention=convention,
        encoding=encoding,
        decisions=None if decisions is None else Decisions(**decisions),
        loss=told["loss"],
        **parts,
    )
    classifier = LinearClassifier(inputs.weight, inputs.bias, encoding, inputs.loss)
    result = Collapse(
        values=told["values"],
        missing=told["missing"],
        num_samples=statistics.num_samples,
        num_classes=statistics.num_classes,
        convention=convention.name,
        route=told["route"],
        source=inputs,
        geometry=geometry_of(statistics, classifier, told["provenance"]),
    )
    return result, known["features"]
