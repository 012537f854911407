"""Study files: TOML, checked key by key, with shared defaults and blocks whose lists are grids."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.study import grid
from encollapse.study.spec.file_digests import locate_dataset, locate_encoding, locate_model
from encollapse.study.spec.messages import block_name, line_of, message, place, suggest
from encollapse.study.spec.tables import (
    DatasetSpec,
    EncodingSpec,
    Measure,
    ModelSpec,
    Strict,
    dataset_takes_list,
    encoding_takes_list,
    model_takes_list,
    with_names_of_today,
)
from encollapse.study.spec.train_options import ELSEWHERE, OPTIONS, check_training
from encollapse.study.trials import Trial
from encollapse.train.options import DECAYS
from encollapse.train.settings import SYNONYMS, decay_of

DEFAULTS: dict[str, Any] = {"model": [{"name": "mlp"}], "features": ["linear"], "seeds": [0]}
"""Values of keys that neither a block nor ``[defaults]`` gives."""

NEEDED = ("dataset", "encoding", "weight_decay", "bias_decay")


def _expand(takes_list: grid.TakesList = lambda path: False) -> BeforeValidator:
    return BeforeValidator(lambda value: grid.values(value, takes_list))


def _as_table(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DatasetTable = Annotated[DatasetSpec, BeforeValidator(_as_table)]
EncodingTable = Annotated[EncodingSpec, BeforeValidator(_as_table)]
ModelTable = Annotated[ModelSpec, BeforeValidator(_as_table)]
NotNegative = Annotated[float, Field(ge=0)]


class RunsTable(Strict):
    """One ``[[runs]]`` table. A list stands for a grid axis. The block is the product of its axes."""

    dataset: Annotated[list[DatasetTable], _expand(dataset_takes_list)] | None = None
    model: Annotated[list[ModelTable], _expand(model_takes_list)] | None = None
    encoding: Annotated[list[EncodingTable], _expand(encoding_takes_list)] | None = None
    weight_decay: Annotated[list[Positive], _expand()] | None = None
    feature_decay: Annotated[list[Positive], _expand()] | None = None
    relative_threshold: Annotated[list[Positive], _expand()] | None = None
    bias_decay: Annotated[list[NotNegative], _expand()] | None = None
    features: Annotated[list[Literal["linear", "relu"]], _expand()] | None = None
    epochs: Annotated[list[Annotated[int, Field(ge=0)]], _expand()] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], _expand()] | None = None
    train: dict[str, Any] | None = None
    measure: Measure | None = None
    zip: list[str] | list[list[str]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return with_names_of_today(value, "")

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
        if value is not None:
            value = {SYNONYMS.get(option, option): given for option, given in value.items()}
        for option in value or ():
            if option in ELSEWHERE:
                raise ValueError(f"{option} has a key of its own; write {ELSEWHERE[option]} in the block")
            if option not in OPTIONS:
                raise ValueError(f"the training has no option {option!r}{suggest(option, OPTIONS)}")
        return None if value is None else {k: grid.values(v, lambda path: False) for k, v in value.items()}


class StudyFile(Strict):
    """A whole study file before its blocks are merged with the defaults."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    trial_seconds: Positive | None = None
    defaults: RunsTable = RunsTable()
    runs: Annotated[list[RunsTable], Field(min_length=1)]


_KEYS = {
    "": list(StudyFile.model_fields),
    "runs": list(RunsTable.model_fields),
    "dataset": list(DatasetSpec.model_fields),
    "encoding": list(EncodingSpec.model_fields),
    "model": list(ModelSpec.model_fields),
    "measure": list(Measure.model_fields),
}
"""Keys of each table of a study file, for suggestions."""


def read(text: str, source: str) -> tuple[StudyFile, list[dict[str, Any]]]:
    """Parse and check a study file, and return it with its blocks merged with defaults, as plain values.

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
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or tables in tables in tables
        reason = str(error).partition(";")[0]  # what Python advises next does not help the author of a file
        raise FileFormatError(f"{source}: cannot be read: {reason}; write less of it") from None
    _require_sizes(raw, source, text, [])
    try:
        study = StudyFile.model_validate(raw, context={"base": base})
    except ValidationError as error:
        first = error.errors()[0]
        where = _lined(source, text, list(first["loc"]))
        raise FileFormatError(f"{where}: {place(first, raw)}: {message(first, _KEYS)}") from None
    return study, [_merge(study, i, source, text) for i in range(len(study.runs))]


_DEEPEST = 100
"""Tables in tables in tables that a study file may have."""


def _require_sizes(value: Any, source: str, text: str, path: list[str | int]) -> None:
    """Refuse whole numbers that do not have the 64 bits of TOML, and tables that lie too deep in others.

    Raises
    ------
    FileFormatError
        Naming the file, the line and the key.
    """
    fault = ""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        fault = "expected a whole number from -2**63 to 2**63 - 1, as TOML has them, got a larger one"
    elif len(path) > _DEEPEST:
        fault = f"tables and lists inside each other, more than {_DEEPEST} of them; write them flatter"
    if fault:
        keys = ".".join(str(key) for key in path[:4] if isinstance(key, str))
        raise FileFormatError(f"{_lined(source, text, path[:4])}: {keys}: {fault}")
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        _require_sizes(entry, source, text, [*path, key])


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
        if "relative_threshold" in table and "feature_decay" in table:
            problem = "relative_threshold (t = c√K) and feature_decay exclude each other; keep one"
            raise refuse("relative_threshold", problem, table)
    if "relative_threshold" in own or "feature_decay" in own:
        shared.pop("relative_threshold", None)
        shared.pop("feature_decay", None)
    merged = DEFAULTS | shared | own
    for key in ("train", "measure"):
        if key in own and key in shared:
            merged[key] = shared[key] | own[key]
    for key in NEEDED:
        if key not in merged:
            raise refuse(key, "missing; give it here or in [defaults]")
    train = merged.get("train", {})
    decays = train.get("decay") or [decay_of({"recipe": recipe}) for recipe in train.get("recipe", [None])]
    if DECAYS[0] in decays and "relative_threshold" not in merged and "feature_decay" not in merged:
        raise refuse(
            "feature_decay",
            "missing; give it, or relative_threshold: t = c√K, √K times Problem.threshold, from which it follows",
        )
    base = Path(source).parent
    for key, locate in (("dataset", locate_dataset), ("encoding", locate_encoding)):
        try:
            merged[key] = [locate(entry, base) for entry in merged[key]]
        except (FileFormatError, OSError) as error:
            raise refuse(key, str(error)) from None
    merged["model"] = [locate_model(entry) for entry in merged["model"]]
    try:
        grid.check_zips(merged)
    except ValueError as error:
        raise refuse("zip", str(error)) from None
    return merged


def _given(block: RunsTable) -> dict[str, Any]:
    return block.model_dump(exclude_none=True)
