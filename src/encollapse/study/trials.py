"""Trials: one network to train, as plain settings with a name made from their content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from encollapse._internal.json_values import plain
from encollapse.study.grid import points
from encollapse.study.labels import trial_label
from encollapse.train import models
from encollapse.train.settings import decay_of

THEORY = "ufm"
"""The model that is no network: its features are free, and the exact minimizer stands for the training."""

_OF_TRAINING = ("epochs", "measure", "model_options")
_OF_FEATURES = ("feature_decay", "relative_threshold")
OF_THEORY = ("loss", "feature_dim", "class_weights", "logit_adjustment")
"""Options of `train` that also change the minimum of the theory."""


@dataclass(frozen=True)
class Trial:
    """Settings of one training run. Equal settings give the same `id`, in whatever order they are written.

    Attributes
    ----------
    settings : mapping
        Plain values by key: ``dataset``, ``encoding``, ``model``, decays, ``seed`` and, where given, ``train``.

    Examples
    --------
    >>> import encollapse as ec
    >>> (trial, *_) = ec.study.load("digits-transition").trials
    >>> trial.id
    '62b2688e6fcf2e1e'
    >>> ec.study.Trial(dict(reversed(trial.settings.items()))).id == trial.id
    True
    >>> ec.study.Trial({**trial.settings, "seed": 7}).label
    'digits, 174 a class · mlp · one-hot · λ_b = 0 · seed 7'
    """

    settings: Mapping[str, Any]

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits, a hash of the settings and of the content of the files they name."""
        return hashlib.sha256(canonical_json(identity(self.settings)).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """What a progress line or a table calls the trial."""
        return trial_label(self.settings)


PLACES = {"dataset": ("file", "labels"), "encoding": ("file",)}
"""Keys that say where the files of a table are."""


RENAMED = (
    ("", "threshold", "relative_threshold"),
    ("dataset", "standardise", "standardize"),
    ("model_options", "normalisation", "normalization"),
)
"""Settings that had another name: the table that holds them, the old name, the new one."""


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the places of files: what is in them counts, not where they are.

    They have their first names, so that a trial keeps its identity when a setting is called something else.
    """
    return {
        key: {k: v for k, v in value.items() if k not in PLACES[key]} if key in PLACES else value
        for key, value in renamed(settings, {(table, new): old for table, old, new in RENAMED}).items()
    }


def renamed(settings: Mapping[str, Any], names: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Settings with other names for some keys, by table. A network of the user's keeps the names of its options."""
    given = dict(settings)
    if settings.get("model") not in models.names():
        names = {key: name for key, name in names.items() if key[0] != "model_options"}
    for table in {table for table, _ in names if table in given}:
        given[table] = {names.get((table, key), key): value for key, value in given[table].items()}
    return {names.get(("", key), key): value for key, value in given.items()}


def expand(block: Mapping[str, Any]) -> list[Trial]:
    """Every trial of a merged block: zipped axes together, the others as a product, seeds innermost."""
    return [Trial(_settings(point, block.get("measure", {}))) for point in points(block)]


def _settings(point: dict[str, Any], measure: Mapping[str, Any]) -> dict[str, Any]:
    model, seed = point["model"], point["seeds"]
    own = ("model", "seeds")
    settings = {k: v for k, v in point.items() if k not in own and not k.startswith("train.")} | {
        "model": model["name"],
        "model_options": model.get("options"),
        "model_content": model.get("content"),
        "seed": seed,
        "train": {key.removeprefix("train."): v for key, v in point.items() if key.startswith("train.")},
        "measure": {key: value for key, value in measure.items() if value not in _UNSAID},
    }
    if settings["model"] == THEORY:  # what only a training has does not make another trial
        settings = {key: value for key, value in settings.items() if key not in _OF_TRAINING}
        settings["train"] = {k: v for k, v in settings["train"].items() if k in OF_THEORY}
        settings["seed"] = 0
    if decay_of(settings["train"]) != "ufm":  # the features are not regularized then
        settings = {key: value for key, value in settings.items() if key not in _OF_FEATURES}
    canonical: dict[str, Any] = _canonical(settings)
    return canonical


_UNSAID = ("default", False)
"""Values of `measure` that mean the same as leaving the key out."""


def _canonical(value: Any) -> Any:
    """Drop what is empty, so that leaving a key out and giving its empty value are the same trial."""
    if isinstance(value, Mapping):
        kept = {k: _canonical(v) for k, v in value.items()}
        return {k: v for k, v in sorted(kept.items()) if v is not None and v != {}}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys in which equal values have equal text. Infinity is written as a string."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def kind_of(settings: Mapping[str, Any], without: Sequence[str]) -> str:
    """Text that is equal for trials whose settings differ in some keys only."""
    return canonical_json({key: value for key, value in settings.items() if key not in without})


def parse_settings(text: str) -> dict[str, Any]:
    """Inverse of :func:`canonical_json` for settings of any release, whose keys get the names they have today."""
    settings: dict[str, Any] = json.loads(text)
    if settings.get("bias_decay") == "inf":
        settings["bias_decay"] = math.inf
    return renamed(settings, {(table, old): new for table, old, new in RENAMED})
