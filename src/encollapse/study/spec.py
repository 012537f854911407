"""Study files: TOML, checked key by key, with shared defaults and blocks whose lists are grids."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from encollapse import data
from encollapse.encodings.catalogue import CATALOGUE
from encollapse.errors import FileFormatError
from encollapse.study.spec_errors import block_name, message, place, suggest

DEFAULTS: dict[str, Any] = {"model": ["mlp"], "features": ["linear"], "seeds": [0]}
"""Values of keys that neither a block nor ``[defaults]`` gives."""

NEEDED = ("dataset", "encoding", "weight_decay", "bias_decay")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _as_table(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Imbalance(_Strict):
    """Class counts given by a rule: geometric from `first` for class 0 to `last` for class K - 1."""

    kind: Literal["geometric"]
    first: Annotated[int, Field(ge=1)]
    last: Annotated[int, Field(ge=1)]


class DatasetSpec(_Strict):
    """A data set by name, how many samples to keep of each class, and options of its loader."""

    name: Annotated[str, Field(min_length=1)]
    counts: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=1)]] | None = None
    imbalance: Imbalance | None = None
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in data.names() and not value.endswith(".npz"):
            known = suggest(value, list(data.names()))
            raise ValueError(f"no data set is called {value!r}{known}; a path must end in .npz")
        return value

    @field_validator("imbalance")
    @classmethod
    def _one_rule(cls, value: Imbalance | None, info: Any) -> Imbalance | None:
        if value is not None and info.data.get("counts") is not None:
            raise ValueError("counts and imbalance exclude each other; keep one")
        return value


class EncodingSpec(_Strict):
    """An encoding of the catalogue by name, with its options."""

    name: str
    options: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        name = value.replace("_", "-")
        if name not in CATALOGUE:
            raise ValueError(f"no encoding is called {value!r}{suggest(name, CATALOGUE)}")
        return name

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        entry = CATALOGUE.get(info.data.get("name", ""))
        if entry is None:
            return value
        unknown = [o for o in value if o not in entry.options]
        if unknown:
            known = ", ".join(entry.options) or "none"
            raise ValueError(f"the encoding has no option {unknown[0]!r}; it has: {known}")
        return value

    def missing_option(self) -> str | None:
        """Name of an option that the encoding needs and the file does not give."""
        options = CATALOGUE[self.name].options
        return next((n for n, p in options.items() if p.default is p.empty and n not in self.options), None)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dataset = Annotated[DatasetSpec, BeforeValidator(_as_table)]
Coding = Annotated[EncodingSpec, BeforeValidator(_as_table)]
Bias = Annotated[float, Field(ge=0)]


class Block(_Strict):
    """One ``[[runs]]`` table. A list stands for a grid axis; the block is the product of its axes."""

    dataset: Annotated[list[Dataset], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    model: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    encoding: Annotated[list[Coding], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    weight_decay: Annotated[list[Positive], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    feature_decay: Annotated[list[Positive], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    threshold: Annotated[list[Positive], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    bias_decay: Annotated[list[Bias], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    features: (
        Annotated[list[Literal["linear", "relu"]], BeforeValidator(_as_list), Field(min_length=1)] | None
    ) = None
    epochs: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_as_list)] | None = None
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]] | None, BeforeValidator(_as_list), Field(min_length=1)
    ] = None
    train: dict[str, Any] | None = None

    @field_validator("encoding")
    @classmethod
    def _complete(cls, value: list[EncodingSpec] | None) -> list[EncodingSpec] | None:
        for spec in value or ():
            missing = spec.missing_option()
            if missing is not None:
                raise ValueError(
                    f"the encoding {spec.name!r} needs the option {missing!r}; write "
                    f'{{ name = "{spec.name}", options = {{ {missing} = ... }} }}'
                )
        return value


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
    "imbalance": list(Imbalance.model_fields),
    "encoding": list(EncodingSpec.model_fields),
}
"""Keys of each table of a study file, for suggestions."""


def read(text: str, source: str) -> tuple[StudyFile, list[dict[str, Any]]]:
    """Parse and check a study file; return it with its blocks merged with defaults, as plain values.

    Raises
    ------
    FileFormatError
        Naming the file, the block and the key, what is wrong with it and what to write.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(f"{source}: not valid TOML: {error}") from None
    try:
        study = StudyFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise FileFormatError(f"{source}: {place(first, raw)}: {message(first, _KEYS)}") from None
    return study, [_merge(study, i, source) for i in range(len(study.runs))]


def _merge(study: StudyFile, index: int, source: str) -> dict[str, Any]:
    own = _given(study.runs[index])
    shared = _given(study.defaults)
    where = f"{source}: {block_name(index)}"
    for table, name in ((own, where), (shared, f"{source}: [defaults]")):
        if "threshold" in table and "feature_decay" in table:
            raise FileFormatError(f"{name}: threshold and feature_decay exclude each other; keep one")
    if "threshold" in own or "feature_decay" in own:
        shared.pop("threshold", None)
        shared.pop("feature_decay", None)
    merged = DEFAULTS | shared | own
    if "train" in own and "train" in shared:
        merged["train"] = shared["train"] | own["train"]
    for key in NEEDED:
        if key not in merged:
            raise FileFormatError(f"{where}: {key}: missing; give it here or in [defaults]")
    if "threshold" not in merged and "feature_decay" not in merged:
        raise FileFormatError(
            f"{where}: feature_decay: missing; give it, or threshold (t = c√K, from which it is derived)"
        )
    return merged


def _given(block: Block) -> dict[str, Any]:
    return block.model_dump(exclude_none=True)
