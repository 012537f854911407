"""From the settings of a trial to the objects they name: data, encoding, problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from encollapse import data, encodings, ufm
from encollapse._internal.typing import IntArray
from encollapse.errors import UnsupportedError
from encollapse.study.spec.file_digests import require_content
from encollapse.train.settings import DEFAULTS, decay_of

_OF_LOAD = ("counts", "per_class", "imbalance", "label_noise", "holdout", "standardize", "seed")
"""Keys of a data set that :func:`encollapse.data.load` takes for all of them."""

TRIAL = "trial"
"""Seed of a data set that is drawn anew for each seed of the trials."""

_REWEIGHTED = ("class_weights", "logit_adjustment")


def dataset_of(settings: Mapping[str, Any]) -> data.Dataset:
    """Load the data set that a trial names, with the class counts it asks for."""
    spec = settings["dataset"]
    source = require_content(spec) if "file" in spec else spec["name"]
    given = {key: spec[key] for key in _OF_LOAD if key in spec}
    if given.get("seed") == TRIAL:
        given["seed"] = settings["seed"]
    options = spec.get("options", {}) | ({"labels": spec["labels"]} if "labels" in spec else {})
    return data.load(source, **given, **options)


def encoding_of(settings: Mapping[str, Any], counts: IntArray) -> encodings.Encoding:
    """Make the encoding that a trial names, or that its class `counts` (K,) and decays ask for.

    Raises
    ------
    ArgumentError
        If no encoding has the geometry that is to be designed under the trial's decays.
    UnsupportedError
        If one is to be designed and the trial does not regularize features.
    """
    spec = settings["encoding"]
    if "file" in spec:
        return encodings.Encoding.load(require_content(spec))
    if "design" in spec:
        _require_ufm_decay(settings)
        return ufm.design(spec["design"], counts, name=spec["name"], **_decays(settings, counts))
    return encodings.by_name(spec["name"], len(counts), **spec.get("options", {}))


def feature_decay_of(settings: Mapping[str, Any], num_classes: int, num_samples: int) -> float:
    """``λ_H`` of a trial: given, or ``c²/(N λ_W)`` with ``c = t/√K`` where it gives ``relative_threshold = t``."""
    if "feature_decay" in settings:
        return float(settings["feature_decay"])
    c = settings["relative_threshold"] / math.sqrt(num_classes)
    return float(c * c / (num_samples * settings["weight_decay"]))


def problem_of(settings: Mapping[str, Any], counts: IntArray) -> ufm.Problem:
    """State the unrestricted feature model behind a trial, for class `counts` (K,).

    Raises
    ------
    UnsupportedError
        If the trial does not regularize features. Then the model follows from the trained network. Or if its loss
        treats classes differently.
    """
    train = settings.get("train", {})
    decay = decay_of(train)
    if decay != "ufm":
        return _law_of_tail(settings, counts, decay)
    for option in _REWEIGHTED:
        if train.get(option, DEFAULTS[option]) != DEFAULTS[option]:
            raise UnsupportedError(f"{option} makes a loss that the theory here is not about: no prediction")
    return ufm.Problem(
        encoding_of(settings, counts),
        counts,
        features=settings["features"],
        **_decays(settings, counts),
        **{key: train[key] for key in ("loss", "feature_dim") if key in train},
    )


def _law_of_tail(settings: Mapping[str, Any], counts: IntArray, decay: str) -> ufm.Problem:
    """The problem that one decay on every parameter poses through a last batch normalization (theory of a training).

    Raises
    ------
    UnsupportedError
        If the tail of the network has no such law before the training.
    """
    tail = (settings.get("model_options") or {}).get("tail", "none")
    if decay != "plain":
        raise UnsupportedError(f"decay={decay!r} belongs to no objective: networks are measured without a prediction")
    if tail not in ("batch-norm", "batch-norm-relu"):
        raise UnsupportedError(
            f"decay='plain' with tail={tail!r} has no law before the training: what is predicted follows "
            "from the trained network"
        )
    decays = dict.fromkeys(("weight_decay", "gain_decay"), settings["weight_decay"])
    return ufm.batch_norm_problem(
        encoding_of(settings, counts),
        counts,
        bias_decay=settings["bias_decay"],
        features="relu" if tail == "batch-norm-relu" else "linear",
        loss=settings.get("train", {}).get("loss", "mse"),
        **decays,
    )


def _require_ufm_decay(settings: Mapping[str, Any]) -> None:
    decay = decay_of(settings.get("train", {}))
    if decay != "ufm":
        raise UnsupportedError(
            f"decay={decay!r} does not regularize features: thresholds follow from the trained network"
        )


def _decays(settings: Mapping[str, Any], counts: IntArray) -> dict[str, Any]:
    return {
        "weight_decay": settings["weight_decay"],
        "feature_decay": feature_decay_of(settings, len(counts), int(np.sum(counts))),
        "bias_decay": settings["bias_decay"],
    }
