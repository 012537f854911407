"""What to call a trial beside the others of its study: by what varies between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from encollapse._internal.format import number_label


class HasSettings(Protocol):
    """A trial, as far as labels need it."""

    @property
    def id(self) -> str:
        """Its name in the store."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was asked to do."""


_LONG = 24  # characters above which the value of an option, such as a tree, is left out of a label

_ALWAYS = ("encoding", "bias_decay")


def labels_of(trials: Sequence[HasSettings], *, always: Sequence[str] = _ALWAYS) -> dict[str, str]:
    """Labels by id that name what is not the same for all trials, and `always` the encoding and bias decay."""
    parts = {trial.id: setting_labels(trial.settings) for trial in trials}
    given = dict.fromkeys(key for known in parts.values() for key in known)
    keys = sorted(given, key=lambda key: key in ("bias_decay", "seed"))  # stable: only these two move, to the end
    # First what differs where it is given; what some trials have and others have not, only if that is needed.
    varying = {key for key in keys if len({known[key] for known in parts.values() if key in known}) > 1}
    shown = varying | set(always)
    labels = _labels(parts, keys, shown)
    partial = [key for key in keys if any(key not in known for known in parts.values())]
    for key in sorted(partial, key=lambda key: not key.startswith("train.")):
        with_key = _labels(parts, keys, shown | {key})
        if len(set(with_key.values())) > len(set(labels.values())):
            shown, labels = shown | {key}, with_key
    return labels


def _labels(parts: Mapping[str, Mapping[str, str]], keys: Sequence[str], shown: set[str]) -> dict[str, str]:
    return {
        trial_id: " · ".join(known[key] for key in keys if key in shown and key in known)
        for trial_id, known in parts.items()
    }


def setting_labels(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to call each setting of a trial, by key. ``strength`` is the feature decay or the relative threshold."""
    parts = {
        "dataset": dataset_label(settings),
        "model": model_label(settings),
        "features": features_label(settings),
        "encoding": encoding_label(settings),
        "weight_decay": f"λ_W = {number_label(settings['weight_decay'])}",
    }
    if "relative_threshold" in settings:
        parts["strength"] = f"t = {number_label(settings['relative_threshold'])}"
    if "feature_decay" in settings:
        parts["strength"] = f"λ_H = {number_label(settings['feature_decay'])}"
    if "epochs" in settings:
        parts["epochs"] = f"{settings['epochs']} epochs"
    parts |= {f"train.{key}": f"{key.replace('_', ' ')} {value}" for key, value in settings.get("train", {}).items()}
    if "measure" in settings:
        parts["measure"] = ", ".join(f"{key} {value}" for key, value in settings["measure"].items())
    return parts | {"bias_decay": f"λ_b = {number_label(settings['bias_decay'])}", "seed": f"seed {settings['seed']}"}


def _options_label(options: Mapping[str, Any]) -> str:
    shown = [f"{k}={v}" if len(str(v)) <= _LONG else f"{k}=…" for k, v in options.items()]
    return f" ({', '.join(shown)})" if options else ""


def encoding_label(settings: Mapping[str, Any]) -> str:
    """Name of the encoding with its options."""
    spec = settings["encoding"]
    return f"{spec['name']}{_options_label(spec.get('options', {}))}"


def model_label(settings: Mapping[str, Any]) -> str:
    """Name of the network with its options."""
    return f"{settings['model']}{_options_label(settings.get('model_options', {}))}"


def features_label(settings: Mapping[str, Any]) -> str:
    """What the features may be, in words."""
    return "features behind a ReLU" if settings["features"] == "relu" else f"{settings['features']} features"


def dataset_label(settings: Mapping[str, Any]) -> str:
    """Name of the data set with what is particular about its class counts and labels."""
    spec = settings["dataset"]
    parts = [f"{spec['name']}{_options_label(spec.get('options', {}))}"]
    counts = spec.get("counts")
    if "imbalance" in spec:
        parts.append(_imbalance_label(spec["imbalance"]))
    elif isinstance(counts, int):
        parts.append(f"{counts} a class")
    elif counts:
        parts.append(f"{max(counts)}…{min(counts)} a class")
    if "per_class" in spec:
        parts.append(f"at most {spec['per_class']} a class")
    noise = spec.get("label_noise", {})
    if noise:
        parts.append(f"{noise['kind']} label noise {noise.get('fraction', '')}".rstrip())
    return ", ".join(parts)


def _imbalance_label(rule: Mapping[str, Any]) -> str:
    if rule["kind"] == "geometric":
        return f"{rule['first']}→{rule['last']} a class"
    if rule["kind"] == "step":
        return f"{rule.get('majority', 'all')} or {rule['minority']} a class"
    if rule["kind"] == "exponential":
        return f"long tail of ratio {rule['ratio']:g}"
    return f"{max(rule['counts'])}…{min(rule['counts'])} a class"


def trial_label(settings: Mapping[str, Any]) -> str:
    """Data set, network, encoding, bias regularization and seed in one line."""
    return (
        f"{dataset_label(settings)} · {model_label(settings)} · {encoding_label(settings)} · "
        f"λ_b = {number_label(settings['bias_decay'])} · seed {settings['seed']}"
    )
