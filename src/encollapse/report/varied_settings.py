"""What a study varies: every parameter that takes more than one value, with its values in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from encollapse._internal.format import number_label
from encollapse.study.labels import dataset_label, encoding_label
from encollapse.study.trials import canonical_json

SEED = "seed"

_NAMES = {
    "dataset": "data set",
    "weight_decay": "weight decay λ_W",
    "feature_decay": "feature decay λ_H",
    "relative_threshold": "threshold t = c√K",
    "bias_decay": "bias decay λ_b",
}


@dataclass(frozen=True)
class Parameter:
    """A varied setting: its key, what it is called, and its values as text in order."""

    key: str
    name: str
    values: tuple[str, ...]

    def of(self, settings: Mapping[str, Any]) -> str:
        """The value in these settings, as text."""
        return _text(self.key, flat(settings).get(self.key))


def varied(all_settings: Iterable[Mapping[str, Any]]) -> list[Parameter]:
    """Parameters with two values or more, the one with most values first, seeds last."""
    found: dict[str, dict[str, Any]] = {}
    tables = [flat(settings) for settings in all_settings]
    for key in dict.fromkeys(key for table in tables for key in table):
        for table in tables:
            found.setdefault(key, {})[canonical_json(table.get(key))] = table.get(key)
    parameters = [
        Parameter(key, title(key), tuple(_text(key, value) for value in _ordered(values.values())))
        for key, values in found.items()
        if len(values) > 1
    ]
    return sorted(parameters, key=lambda p: (p.key == SEED, -len(p.values)))


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by key, with the table ``train`` unfolded to ``train.key``."""
    table = {key: value for key, value in settings.items() if key != "train"}
    return table | {f"train.{key}": value for key, value in settings.get("train", {}).items()}


def title(key: str) -> str:
    """What people call a setting."""
    return _NAMES.get(key, key.removeprefix("train.").replace("_", " "))


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Numbers ascending; all else in the order of the study."""
    listed = list(values)
    numbers = [v for v in listed if isinstance(v, int | float) and not isinstance(v, bool)]
    return sorted(numbers) + [v for v in listed if not any(v is n for n in numbers)]


def _text(key: str, value: Any) -> str:
    if key == "dataset":
        return dataset_label({"dataset": value})
    if key == "encoding":
        return encoding_label({"encoding": value})
    if value is None:
        return "default"
    return number_label(float(value)) if isinstance(value, float) else str(value)
