"""What a study varies: every parameter that takes more than one value, with its values in order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from encollapse._internal.format import number_label
from encollapse.study.labels import dataset_label, encoding_label
from encollapse.study.trials import canonical_json
from encollapse.train.settings import DEFAULTS
from encollapse.train.usual import RECIPES

SEED = "seed"
_WHOLE = ("dataset", "encoding")

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
        return _text(self.key, self.raw(settings))

    def raw(self, settings: Mapping[str, Any]) -> Any:
        """The value in these settings, or what it is where they do not give it."""
        return _value(flat(settings), self.key)


def varied(all_settings: Iterable[Mapping[str, Any]]) -> list[Parameter]:
    """Parameters with two values or more, the one with most values first, seeds last."""
    found: dict[str, dict[str, Any]] = {}
    tables = [flat(settings) for settings in all_settings]
    for key in dict.fromkeys(key for table in tables for key in table):
        for value in (_value(table, key) for table in tables):
            found.setdefault(key, {})[canonical_json(value)] = value
    parameters = [
        Parameter(key, title(key), tuple(_text(key, value) for value in _ordered(values.values())))
        for key, values in found.items()
        if len(values) > 1
    ]
    return sorted(parameters, key=lambda p: (p.key == SEED, -len(p.values)))


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by key, tables such as ``train`` and ``model_options`` unfolded to ``train.key``.

    What describes a data set or an encoding stays together, for it has a name of its own.
    """
    table: dict[str, Any] = {}
    for key, value in settings.items():
        unfolded = isinstance(value, Mapping) and key not in _WHOLE
        table |= {f"{key}.{name}": entry for name, entry in value.items()} if unfolded else {key: value}
    return table


def _value(table: Mapping[str, Any], key: str) -> Any:
    """A setting. An option of the training that is not given has the value of the recipe, or its default."""
    option = key.removeprefix("train.")
    if key in table or option == key:
        return table.get(key)
    return RECIPES.get(table.get("train.recipe") or "", {}).get(option, DEFAULTS.get(option))


def title(key: str) -> str:
    """What people call a setting."""
    return _NAMES.get(key, key.rpartition(".")[2].replace("_", " "))


def named(parameters: Iterable[Parameter]) -> str:
    """Names of parameters in a sentence: ``encoding``, ``width and weight decay λ_W``. Seeds are left out."""
    names = [p.name for p in parameters if p.key != SEED]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "network"


def without_axes(all_settings: Iterable[Mapping[str, Any]]) -> list[Parameter]:
    """Parameters that tell families apart: neither bias decay nor seed."""
    return [p for p in varied(all_settings) if p.key not in (SEED, "bias_decay")]


def numeric(all_settings: Iterable[Mapping[str, Any]]) -> list[Parameter]:
    """Parameters whose values are all finite numbers, so that they make an axis. Bias decay and seed have their own."""
    tables = list(all_settings)

    def measures(parameter: Parameter) -> bool:
        values = [parameter.raw(settings) for settings in tables]
        return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)

    return [p for p in without_axes(tables) if measures(p)]


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Numbers ascending, all else in the order of the study."""
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
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_text('', entry)}" for name, entry in value.items()) or "none"
    return number_label(float(value)) if isinstance(value, float) else str(value).replace("_", " ")
