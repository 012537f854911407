"""What to call a trial beside the others of its study: by what varies between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encollapse.study.trials import Trial, dataset_label, encoding_label, model_label, number_label

_ALWAYS = ("encoding", "bias_decay")


def labels_of(trials: Sequence[Trial], *, always: Sequence[str] = _ALWAYS) -> dict[str, str]:
    """Labels by id that name what is not the same for all trials, and `always` the encoding and bias decay."""
    parts = {trial.id: _parts(trial.settings) for trial in trials}
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


def _parts(settings: Mapping[str, Any]) -> dict[str, str]:
    parts = {
        "dataset": dataset_label(settings),
        "model": model_label(settings),
        "features": f"{settings['features']} features",
        "encoding": encoding_label(settings),
        "weight_decay": f"λ_W = {number_label(settings['weight_decay'])}",
    }
    if "threshold" in settings:
        parts["strength"] = f"t = {number_label(settings['threshold'])}"
    if "feature_decay" in settings:
        parts["strength"] = f"λ_H = {number_label(settings['feature_decay'])}"
    if "epochs" in settings:
        parts["epochs"] = f"{settings['epochs']} epochs"
    parts |= {f"train.{key}": f"{key.replace('_', ' ')} {value}" for key, value in settings.get("train", {}).items()}
    if "measure" in settings:
        parts["measure"] = ", ".join(f"{key} {value}" for key, value in settings["measure"].items())
    return parts | {"bias_decay": f"λ_b = {number_label(settings['bias_decay'])}", "seed": f"seed {settings['seed']}"}
