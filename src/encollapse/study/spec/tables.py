"""The tables of a study file, each checked key by key: data sets, encodings, networks, measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from encollapse import data
from encollapse._internal.warn import warn
from encollapse.data import imbalance, label_noise
from encollapse.encodings.registry import ENCODINGS
from encollapse.errors import ArgumentTypeError
from encollapse.metrics.convention import PRESETS
from encollapse.study.grid import KeyPath
from encollapse.study.spec.messages import suggest
from encollapse.study.trials import RENAMED, THEORY
from encollapse.train import models
from encollapse.train.models.catalog import MODELS


def _checked(check: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Call a check of another room, whose errors of type pydantic would let through."""
    try:
        return check(*given)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None


class Strict(BaseModel):
    """A table that has the keys it says and no others, whose values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Whole = Annotated[int, Field(ge=1)]
_Passes = Annotated[int, Field(ge=0)]


def with_names_of_today(value: Any, table: str) -> Any:
    """A table of a study file in which keys that had another name have that of today, with a warning for each."""
    for known, old, new in RENAMED if isinstance(value, dict) else ():
        if known == table and old in value and new not in value:
            warn(f"study file: {old} is called {new} today; rename the key")
            value = {new if key == old else key: entry for key, entry in value.items()}
            if not table and "zip" in value:
                value["zip"] = json.loads(json.dumps(value["zip"]).replace(json.dumps(old), json.dumps(new)))
    return value


class DatasetSpec(Strict):
    """A data set by name or path, how many samples to keep of each class, and options of its loader."""

    name: Annotated[str, Field(min_length=1)]
    counts: Whole | list[Whole] | None = None
    per_class: Whole | None = None
    imbalance: dict[str, Any] | None = None
    label_noise: float | dict[str, Any] | None = None
    holdout: Annotated[float, Field(ge=0, lt=1)] | None = None
    standardize: bool | None = None
    seed: Annotated[int, Field(ge=0)] | Literal["trial"] | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return with_names_of_today(value, "dataset")

    @field_validator("name")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        try:
            found = data.recognized(value) or ((info.context or {})["base"] / value).is_dir()
        except OSError as error:  # a name that is longer than those of files
            raise ValueError(f"{value[:40]!r}... cannot be looked for: {error.strerror}") from None
        if not found:
            known = suggest(value, list(data.names()))
            raise ValueError(f"no data set is called {value!r}{known}; give a name, openml:NAME, a file or a folder")
        return value

    @field_validator("imbalance")
    @classmethod
    def _one_rule(cls, value: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        for other in ("counts", "per_class"):
            if value is not None and info.data.get(other) is not None:
                raise ValueError(f"{other} and imbalance exclude each other; keep one")
        return None if value is None else _checked(imbalance.check, value)

    @field_validator("label_noise")
    @classmethod
    def _noise(cls, value: float | dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else _checked(label_noise.check, value)

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("name", "")
        for option in value if name else ():
            known = data.options_of(name)
            if option not in known:
                there = suggest(option, known) if known else "; it has none"
                raise ValueError(f"the data set has no option {option!r}{there}")
        return value


class EncodingSpec(Strict):
    """An encoding of the catalog by name, with its options, one from a file, or one designed for each trial."""

    name: str | None = None
    options: dict[str, Any] = {}
    file: Annotated[str, Field(pattern=r"\.(json|npz)$")] | None = None
    design: Literal["simplex", "orthogonal"] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is None:
            return None
        name = value.replace("_", "-")
        if name not in ENCODINGS:
            raise ValueError(
                f'no encoding is called {value!r}{suggest(name, ENCODINGS)}; one from a file is {{ file = "my.json" }}'
            )
        return name

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        entry = ENCODINGS.get(info.data.get("name") or "")
        if entry is None:
            return value
        unknown = [o for o in value if o not in entry.options]
        if unknown:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"the encoding has no option {unknown[0]!r}; it has: {known}")
        return value

    def fault(self) -> str | None:
        """What is missing or too much, if anything."""
        if [self.name, self.file, self.design].count(None) != 2:
            return "expected one of name, file and design"
        if self.name is None:
            return "only an encoding by name has options; leave them out" if self.options else None
        options = ENCODINGS[self.name].options
        for option, parameter in options.items():
            if parameter.default is parameter.empty and option not in self.options:
                return (
                    f"the encoding {self.name!r} needs the option {option!r}; write "
                    f'{{ name = "{self.name}", options = {{ {option} = ... }} }}'
                )
        return None


class ModelSpec(Strict):
    """A network by name, with its options."""

    name: str
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != THEORY and not models.recognized(value):
            known = suggest(value, [*models.names(), THEORY])
            raise ValueError(f"no model is called {value!r}{known}; a class of your own is 'module:Class'")
        return value

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("name")
        if name == THEORY and value:
            raise ValueError(f"{THEORY!r} is no network and has no options; leave them out")
        if name in models.names():
            value = with_names_of_today(value, "model_options")
        if name is not None and name != THEORY:
            _checked(models.check_options, name, value)
        return value


class Measure(Strict):
    """What is looked at during training, and by which convention the end is measured."""

    every: Whole | Literal["log"] | Annotated[list[_Passes], Field(min_length=1)] | None = None
    convention: str | None = None
    frames: bool | None = None

    @field_validator("convention")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"no convention is called {value!r}{suggest(value, PRESETS)}")
        return value


def encoding_takes_list(path: KeyPath) -> bool:
    """Whether a list at this path of an encoding is a value, not an axis."""
    return path[:1] == ("options",) and any(
        isinstance(entry.example_for(2).get(path[-1]), list) for entry in ENCODINGS.values() if entry.describe
    )


def model_takes_list(path: KeyPath) -> bool:
    """Whether a list at this path of a network is a value, not an axis."""
    return path[:1] == ("options",) and any(
        isinstance(option.default, list)
        for entry in MODELS.values()
        for name, option in entry.options.items()
        if name == path[-1]
    )


def dataset_takes_list(path: KeyPath) -> bool:
    """Whether a list at this path of a data set is a value, not an axis."""
    return path in (("counts",), ("imbalance", "counts"), ("label_noise", "matrix"))
