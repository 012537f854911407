"""From the settings of a trial to the objects they name: data, encoding, problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from encollapse import data, encodings, ufm
from encollapse._typing import IntArray
from encollapse.errors import UnsupportedError
from encollapse.study.located import require_content
from encollapse.study.trials import OF_THEORY

_OF_LOAD = ("counts", "per_class", "imbalance", "label_noise", "holdout", "standardise", "seed")
"""Keys of a data set that :func:`encollapse.data.load` takes for all of them."""


def dataset_of(settings: Mapping[str, Any]) -> data.Dataset:
    """Load the data set that a trial names, with the class counts it asks for."""
    spec = settings["dataset"]
    source = require_content(spec) if "file" in spec else spec["name"]
    given = {key: spec[key] for key in _OF_LOAD if key in spec}
    return data.load(source, **given, **spec.get("options", {}))


def encoding_of(settings: Mapping[str, Any], num_classes: int) -> encodings.Encoding:
    """Make the encoding that a trial names."""
    spec = settings["encoding"]
    if "file" in spec:
        return encodings.Encoding.load(require_content(spec))
    return encodings.by_name(spec["name"], num_classes, **spec.get("options", {}))


def feature_decay_of(settings: Mapping[str, Any], num_classes: int, num_samples: int) -> float:
    """``λ_H`` of a trial: given, or ``c²/(N λ_W)`` with ``c = t/√K`` where it gives ``threshold = t``."""
    if "feature_decay" in settings:
        return float(settings["feature_decay"])
    c = settings["threshold"] / math.sqrt(num_classes)
    return float(c * c / (num_samples * settings["weight_decay"]))


def problem_of(settings: Mapping[str, Any], counts: IntArray) -> ufm.Problem:
    """State the unrestricted feature model behind a trial, for class `counts` (K,).

    Raises
    ------
    UnsupportedError
        If the trial does not regularise features; then the model follows from the trained network.
    """
    decay = settings.get("train", {}).get("decay", "ufm")
    if decay != "ufm":
        raise UnsupportedError(
            f"decay={decay!r} does not regularise features: thresholds follow from the trained network"
        )
    num_samples = int(np.sum(counts))
    return ufm.Problem(
        encoding_of(settings, len(counts)),
        counts,
        weight_decay=settings["weight_decay"],
        feature_decay=feature_decay_of(settings, len(counts), num_samples),
        bias_decay=settings["bias_decay"],
        features=settings["features"],
        **{key: value for key, value in settings.get("train", {}).items() if key in OF_THEORY},
    )
