"""Study files: TOML, checked key by key, with shared defaults and blocks whose lists are grids."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from encollapse import data
from encollapse.data import imbalance, label_noise
from encollapse.encodings.catalogue import CATALOGUE
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.geometry.metrics.convention import PRESETS
from encollapse.study import axes
from encollapse.study.located import locate_dataset, locate_encoding
from encollapse.study.spec_errors import block_name, message, place, suggest
from encollapse.study.spec_lines import line_of
from encollapse.study.train_options import ELSEWHERE, OPTIONS, check_training
from encollapse.study.trials import THEORY, Trial
from encollapse.study.zips import check_zips
from encollapse.train import models
from encollapse.train.models.catalogue import CATALOGUE as MODELS
from encollapse.train.settings import DECAYS

DEFAULTS: dict[str, Any] = {"model": [{"name": "mlp"}], "features": ["linear"], "seeds": [0]}
"""Values of keys that neither a block nor ``[defaults]`` gives."""

NEEDED = ("dataset", "encoding", "weight_decay", "bias_decay")


def _expand(takes_list: axes.TakesList = lambda path: False) -> BeforeValidator:
    return BeforeValidator(lambda value: axes.values(value, takes_list))


def _checked(check: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Call a check of another room, whose errors of type pydantic would let through."""
    try:
        return check(*given)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def _as_table(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Whole = Annotated[int, Field(ge=1)]


class DatasetSpec(_Strict):
    """A data set by name or path, how many samples to keep of each class, and options of its loader."""

    name: Annotated[str, Field(min_length=1)]
    counts: Whole | list[Whole] | None = None
    per_class: Whole | None = None
    imbalance: dict[str, Any] | None = None
    label_noise: float | dict[str, Any] | None = None
    holdout: Annotated[float, Field(ge=0, lt=1)] | None = None
    standardise: bool | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        if not data.recognised(value) and not ((info.context or {})["base"] / value).is_dir():
            known = suggest(value, list(data.names()))
            raise ValueError(
                f"no data set is called {value!r}{known}; give a name, openml:NAME, a file or a folder"
            )
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


class EncodingSpec(_Strict):
    """An encoding of the catalogue by name, with its options, or one from a file."""

    name: str | None = None
    options: dict[str, Any] = {}
    file: Annotated[str, Field(pattern=r"\.(json|npz)$")] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is None:
            return None
        name = value.replace("_", "-")
        if name not in CATALOGUE:
            raise ValueError(
                f"no encoding is called {value!r}{suggest(name, CATALOGUE)}; "
                'one from a file is { file = "my.json" }'
            )
        return name

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        entry = CATALOGUE.get(info.data.get("name") or "")
        if entry is None:
            return value
        unknown = [o for o in value if o not in entry.options]
        if unknown:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"the encoding has no option {unknown[0]!r}; it has: {known}")
        return value

    def fault(self) -> str | None:
        """What is missing or too much, if anything."""
        if (self.name is None) == (self.file is None):
            return "expected either a name or a file"
        if self.name is None:
            return "an encoding from a file has no options; leave them out" if self.options else None
        options = CATALOGUE[self.name].options
        for option, parameter in options.items():
            if parameter.default is parameter.empty and option not in self.options:
                return (
                    f"the encoding {self.name!r} needs the option {option!r}; write "
                    f'{{ name = "{self.name}", options = {{ {option} = ... }} }}'
                )
        return None


class ModelSpec(_Strict):
    """A network by name, with its options."""

    name: str
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != THEORY and not models.recognised(value):
            known = suggest(value, [*models.names(), THEORY])
            raise ValueError(f"no model is called {value!r}{known}; a class of your own is 'module:Class'")
        return value

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("name")
        if name == THEORY and value:
            raise ValueError(f"{THEORY!r} is no network and has no options; leave them out")
        if name is not None and name != THEORY:
            _checked(models.check_options, name, value)
        return value


class Measure(_Strict):
    """What is looked at during training, and by which convention the end is measured."""

    every: Whole | Literal["log"] | Annotated[list[Whole], Field(min_length=1)] | None = None
    convention: str | None = None
    frames: bool | None = None

    @field_validator("convention")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"no convention is called {value!r}{suggest(value, PRESETS)}")
        return value


def _encoding_takes_list(path: axes.Path) -> bool:
    return path[:1] == ("options",) and any(
        isinstance(entry.example_for(2).get(path[-1]), list) for entry in CATALOGUE.values() if entry.describe
    )


def _model_takes_list(path: axes.Path) -> bool:
    return path[:1] == ("options",) and any(
        isinstance(option.default, list)
        for entry in MODELS.values()
        for name, option in entry.options.items()
        if name == path[-1]
    )


def _dataset_takes_list(path: axes.Path) -> bool:
    return path in (("counts",), ("imbalance", "counts"), ("label_noise", "matrix"))


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dataset = Annotated[DatasetSpec, BeforeValidator(_as_table)]
Coding = Annotated[EncodingSpec, BeforeValidator(_as_table)]
Model = Annotated[ModelSpec, BeforeValidator(_as_table)]
NotNegative = Annotated[float, Field(ge=0)]


class Block(_Strict):
    """One ``[[runs]]`` table. A list stands for a grid axis; the block is the product of its axes."""

    dataset: Annotated[list[Dataset], _expand(_dataset_takes_list)] | None = None
    model: Annotated[list[Model], _expand(_model_takes_list)] | None = None
    encoding: Annotated[list[Coding], _expand(_encoding_takes_list)] | None = None
    weight_decay: Annotated[list[Positive], _expand()] | None = None
    feature_decay: Annotated[list[Positive], _expand()] | None = None
    threshold: Annotated[list[Positive], _expand()] | None = None
    bias_decay: Annotated[list[NotNegative], _expand()] | None = None
    features: Annotated[list[Literal["linear", "relu"]], _expand()] | None = None
    epochs: Annotated[list[Annotated[int, Field(ge=0)]], _expand()] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], _expand()] | None = None
    train: dict[str, Any] | None = None
    measure: Measure | None = None
    zip: list[str] | list[list[str]] | None = None

    @field_validator("encoding")
    @classmethod
    def _complete(cls, value: list[EncodingSpec] | None) -> list[EncodingSpec] | None:
        for spec in value or ():
            fault = spec.fault()
            if fault is not None:
                raise ValueError(fault)
        return value

    @field_validator("train")
    @classmethod
    def _options(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for option in value or ():
            if option in ELSEWHERE:
                raise ValueError(f"{option} has a key of its own; write {ELSEWHERE[option]} in the block")
            if option not in OPTIONS:
                raise ValueError(f"the training has no option {option!r}{suggest(option, OPTIONS)}")
        return None if value is None else {k: axes.values(v, lambda path: False) for k, v in value.items()}


class StudyFile(_Strict):
    """A whole study file before its blocks are merged with the defaults."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    defaults: Block = Block()
    runs: Annotated[list[Block], Field(min_length=1)]


_KEYS = {
    "": list(StudyFile.model_fields),
    "runs": list(Block.model_fields),
    "dataset": list(DatasetSpec.model_fields),
    "encoding": list(EncodingSpec.model_fields),
    "model": list(ModelSpec.model_fields),
    "measure": list(Measure.model_fields),
}
"""Keys of each table of a study file, for suggestions."""


def read(text: str, source: str) -> tuple[StudyFile, list[dict[str, Any]]]:
    """Parse and check a study file; return it with its blocks merged with defaults, as plain values.

    Every axis of a merged block is a list. Files that a block names are looked for beside the study file, and
    stand in it with what identifies their content.

    Raises
    ------
    FileFormatError
        Naming the file, the line, the block and the key, what is wrong with it and what to write.
    """
    base = Path(source).parent
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{source}: not valid TOML: {error}") from None
    try:
        study = StudyFile.model_validate(raw, context={"base": base})
    except ValidationError as error:
        first = error.errors()[0]
        where = _lined(source, text, list(first["loc"]))
        raise FileFormatError(f"{where}: {place(first, raw)}: {message(first, _KEYS)}") from None
    return study, [_merge(study, i, source, text) for i in range(len(study.runs))]


def check_trainings(trials: Iterable[Trial], index: int, source: str, text: str) -> None:
    """Refuse trials of a block whose training would refuse its options.

    Raises
    ------
    FileFormatError
        Naming the file, the line, the block and the option.
    """
    for trial in trials:
        try:
            check_training(trial.settings)
        except (ArgumentError, ArgumentTypeError) as error:
            option = str(error).partition(":")[0].partition("[")[0]
            line = line_of(text, ["runs", index, "train", option]) or line_of(text, ["defaults", "train"])
            where = source if line is None else f"{source}:{line}"
            raise FileFormatError(f"{where}: {block_name(index)}: train: {error}") from None


def _lined(source: str, text: str, path: list[str | int]) -> str:
    line = line_of(text, path)
    return source if line is None else f"{source}:{line}"


def _merge(study: StudyFile, index: int, source: str, text: str) -> dict[str, Any]:
    own, shared = _given(study.runs[index]), _given(study.defaults)

    def refuse(key: str, problem: str, table: dict[str, Any] | None = None) -> FileFormatError:
        """Make the error for a key of this block, or of the defaults where the key comes from there."""
        in_defaults = key in shared and (table is shared or key not in own)
        path: list[str | int] = ["defaults", key] if in_defaults else ["runs", index, key]
        name = "[defaults]" if in_defaults else block_name(index)
        return FileFormatError(f"{_lined(source, text, path)}: {name}: {key}: {problem}")

    for table in (own, shared):
        if "threshold" in table and "feature_decay" in table:
            raise refuse("threshold", "threshold and feature_decay exclude each other; keep one", table)
    if "threshold" in own or "feature_decay" in own:
        shared.pop("threshold", None)
        shared.pop("feature_decay", None)
    merged = DEFAULTS | shared | own
    for key in ("train", "measure"):
        if key in own and key in shared:
            merged[key] = shared[key] | own[key]
    for key in NEEDED:
        if key not in merged:
            raise refuse(key, "missing; give it here or in [defaults]")
    decays = merged.get("train", {}).get("decay", DECAYS[:1])
    if DECAYS[0] in decays and "threshold" not in merged and "feature_decay" not in merged:
        raise refuse("feature_decay", "missing; give it, or threshold (t = c√K, from which it is derived)")
    base = Path(source).parent
    for key, locate in (("dataset", locate_dataset), ("encoding", locate_encoding)):
        try:
            merged[key] = [locate(entry, base) for entry in merged[key]]
        except (FileFormatError, FileNotFoundError) as error:
            raise refuse(key, str(error)) from None
    try:
        check_zips(merged)
    except ValueError as error:
        raise refuse("zip", str(error)) from None
    return merged


def _given(block: Block) -> dict[str, Any]:
    return block.model_dump(exclude_none=True)
