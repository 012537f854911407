"""Trials: one network to train, as plain settings with a name made from their content."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_AXES = (
    "dataset",
    "model",
    "features",
    "encoding",
    "weight_decay",
    "feature_decay",
    "threshold",
    "epochs",
    "bias_decay",
)


@dataclass(frozen=True)
class Trial:
    """Settings of one training run. Equal settings give the same `id`, in whatever order they are written."""

    settings: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits, a hash of the settings."""
        return hashlib.sha256(canonical_json(self.settings).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """What a progress line or a table calls the trial."""
        return trial_label(self.settings)


def expand(block: Mapping[str, Any]) -> list[Trial]:
    """Every trial of a merged block: the product of its lists, seeds innermost."""
    axes = [name for name in _AXES if name in block]
    trials = []
    for values in itertools.product(*(block[name] for name in axes), block["seeds"]):
        settings = dict(zip([*axes, "seed"], values, strict=True))
        if block.get("train"):
            settings["train"] = block["train"]
        trials.append(Trial(_canonical(settings)))
    return trials


def _canonical(value: Any) -> Any:
    """Drop what is empty, so that leaving a key out and giving its empty value are the same trial."""
    if isinstance(value, Mapping):
        kept = {k: _canonical(v) for k, v in value.items()}
        return {k: v for k, v in sorted(kept.items()) if v is not None and v != {}}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys in which equal values have equal text; infinity is written as a string."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Turn a value into what JSON holds: NaN becomes null and infinity the string ``"inf"``."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return value
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def parse_settings(text: str) -> dict[str, Any]:
    """Inverse of :func:`canonical_json` for settings: ``"inf"`` as a number where a number is meant."""
    settings: dict[str, Any] = json.loads(text)
    if settings.get("bias_decay") == "inf":
        settings["bias_decay"] = math.inf
    return settings


_LONG = 24  # characters above which the value of an option, such as a tree, is left out of a label


def number_label(value: float | None) -> str:
    """A regularisation as people read it: ``0``, ``0.4286``, ``∞``; a dash where there is none."""
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _options_label(options: Mapping[str, Any]) -> str:
    shown = [f"{k}={v}" if len(str(v)) <= _LONG else f"{k}=…" for k, v in options.items()]
    return f" ({', '.join(shown)})" if options else ""


def encoding_label(settings: Mapping[str, Any]) -> str:
    """Name of the encoding with its options."""
    spec = settings["encoding"]
    return f"{spec['name']}{_options_label(spec.get('options', {}))}"


def dataset_label(settings: Mapping[str, Any]) -> str:
    """Name of the data set with what is particular about its class counts."""
    spec = settings["dataset"]
    name = f"{spec['name']}{_options_label(spec.get('options', {}))}"
    if "imbalance" in spec:
        rule = spec["imbalance"]
        return f"{name}, {rule['first']}→{rule['last']} a class"
    counts = spec.get("counts")
    if isinstance(counts, int):
        return f"{name}, {counts} a class"
    if counts:
        return f"{name}, {max(counts)}…{min(counts)} a class"
    return name


def trial_label(settings: Mapping[str, Any]) -> str:
    """Data set, encoding, bias regularisation and seed in one line."""
    return (
        f"{dataset_label(settings)} · {encoding_label(settings)} · "
        f"λ_b = {number_label(settings['bias_decay'])} · seed {settings['seed']}"
    )
