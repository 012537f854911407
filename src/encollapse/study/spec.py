"""Study files: TOML, checked key by key, with shared defaults and blocks whose lists are grids."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from encollapse import data
from encollapse.encodings.catalogue import CATALOGUE
from encollapse.errors import FileFormatError

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
            known = _suggest(value, list(data.names()))
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
            raise ValueError(f"no encoding is called {value!r}{_suggest(name, CATALOGUE)}")
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
        raise FileFormatError(f"{source}: {_place(first, raw)}: {_message(first)}") from None
    return study, [_merge(study, i, source) for i in range(len(study.runs))]


def _merge(study: StudyFile, index: int, source: str) -> dict[str, Any]:
    own = _given(study.runs[index])
    shared = _given(study.defaults)
    where = f"{source}: {_block_name(index)}"
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


def _block_name(index: int) -> str:
    return f"[[runs]] block {index + 1}"


def _place(error: ErrorDetails, raw: Mapping[str, Any]) -> str:
    """Where in the file: the block in words, then the key as the file writes it."""
    location = list(error["loc"])
    if not location:
        return "the file"
    if location[0] == "runs" and len(location) > 1 and isinstance(location[1], int):
        head, rest = [_block_name(location[1])], location[2:]
        value: Any = raw["runs"][location[1]]
    else:
        head, rest, value = [], location, raw
    words = ""
    for part in rest:
        if isinstance(part, int):
            if isinstance(value, list):
                words += f"[{part}]"
                value = value[part]
        elif isinstance(value, Mapping) and (part in value or error["type"] == "missing"):
            words += f".{part}" if words else str(part)
            value = value.get(part)
    return ": ".join([*head, words or "the block"])


def _message(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        return f"no such key{_suggest(key, _keys_at(error))}"
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"expected letters, digits, '.', '_' and '-', got {value!r}"
    if kind == "too_short":
        return "expected at least one value, got []"
    if kind == "model_type":
        return f"expected a name or a table, got {value!r}"
    if "counts" in error["loc"]:
        return f"expected a whole number above 0, or a list of them (one a class), got {value!r}"
    text = str(error["msg"])
    for theirs, ours in _WORDING.items():
        text = text.replace(theirs, ours)
    return f"{text[0].lower()}{text[1:]}, got {value!r}"


_WORDING = {
    "Input should be": "expected",
    "greater than or equal to 0": "a number of 0 or above",
    "greater than or equal to 1": "a whole number of 1 or above",
    "greater than 0": "a number above 0",
    "a valid integer": "a whole number",
    "a valid ": "a ",
    "a finite number": "a finite number above 0",
}


def _keys_at(error: ErrorDetails) -> list[str]:
    parents = [str(p) for p in error["loc"][:-1] if not isinstance(p, int)]
    if "imbalance" in parents:
        return list(Imbalance.model_fields)
    if "dataset" in parents:
        return list(DatasetSpec.model_fields)
    if "encoding" in parents:
        return list(EncodingSpec.model_fields)
    return list(Block.model_fields if parents else StudyFile.model_fields)


def _suggest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}"
