"""Options that several commands share, and how their text is read. Errors name the option."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from encollapse.errors import ArgumentError

if TYPE_CHECKING:
    from encollapse.encodings import Encoding

N = TypeVar("N", int, float)


def named(module: str) -> Callable[[str], list[str]]:
    """What the Tab key offers: the names that a module of the library lists."""

    def names(incomplete: str) -> list[str]:
        known = importlib.import_module(f"encollapse.{module}").names()
        return [name for name in known if name.startswith(incomplete)]

    return names


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
EncodingName = Annotated[
    str,
    typer.Option(
        "--encoding",
        "-e",
        help="A name of `encollapse encodings`, or a .json or .npz file.",
        autocompletion=named("encodings"),
    ),
]
EncodingOptions = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", metavar="NAME=VALUE", help="Option of the encoding. May be repeated."),
]
WeightDecay = Annotated[float, typer.Option(help="λ_W, regularization of the last layer's weight.")]
LayerDecays = Annotated[
    str,
    typer.Option(
        metavar="FLOAT[,FLOAT...]",
        help="λ_W, regularization of the last layer's weight. With --depth, one number for all layers or one for each.",
    ),
]
FeatureDecay = Annotated[float, typer.Option(help="λ_H, regularization of the sum over all samples' features.")]
BiasDecay = Annotated[float, typer.Option(help="λ_b, regularization of the bias. inf means no bias.")]
Counts = Annotated[str | None, typer.Option(metavar="N,N,...", help="Samples of each class.")]


def parse_encoding(name: str, options: list[str] | None, num_classes: int | None) -> Encoding:
    """Read an encoding from a file, or make one of the catalog with NAME=VALUE options."""
    from encollapse import encodings

    if name.endswith((".json", ".npz")):
        if options:
            raise ArgumentError("option: an encoding from a file has no options; leave --option out")
        return encodings.Encoding.load(name)
    if num_classes is None:
        raise ArgumentError("classes: not known; give --classes, or one number a class in --counts")
    return encodings.by_name(name, num_classes, **parse_options(options))


def example_options(name: str, options: list[str] | None, num_classes: int) -> list[str]:
    """Options that the catalog's example of an encoding has and that are needed and not given."""
    from encollapse.encodings.registry import ENCODINGS

    entry = ENCODINGS.get(name.replace("_", "-"))
    if entry is None:
        return []
    given, example = parse_options(options), entry.example_for(num_classes)
    needed = [o for o, p in entry.options.items() if p.default is p.empty and o not in given]
    return [f"{o}={json.dumps(example[o], separators=(',', ':'))}" for o in needed]


def parse_options(given: list[str] | None, what: str = "option") -> dict[str, Any]:
    """Read ``["smoothing=0.2", ...]``. Values are JSON or Python's constants where they can be, else text."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ArgumentError(f"{what}: expected NAME=VALUE, got {text!r}; for example 'seed=3'")
        found[name.replace("-", "_")] = _value(value)
    return found


def _value(text: str) -> Any:
    for read in (json.loads, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None}.get(text, text)


def parse_matrix(text: str, what: str) -> Any:
    """Read a matrix from a file. Any other text is a name."""
    if not text.endswith((".npy", ".npz", ".safetensors")):
        return text
    return read_array(text, what)


def read_array(path: str | Path, what: str, key: str | None = None, option: str = "") -> Any:
    """Read an array from a file. Errors name the option, and the one that chooses among several arrays."""
    from encollapse.measure import load_array

    try:
        return load_array(path, key)
    except (ArgumentError, FileNotFoundError) as error:
        reason = str(error).removeprefix("path: ")
        if reason.startswith("key: ") and option:
            reason = reason.replace("; choose one of", f"; choose by {option} one of")
        raise type(error)(f"{what}: {reason.removeprefix('key: ')}") from None


def parse_counts(text: str | None) -> list[int] | None:
    """Read ``100,50,20``."""
    if text is None:
        return None
    return _numbers(text, int, "counts: expected whole numbers with commas between")


def _numbers(text: str, read: Callable[[str], N], expected: str) -> list[N]:
    try:
        return [read(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"{expected}, got {text!r}") from None


def parse_decays(text: str) -> float | list[float]:
    """Read ``5e-3``, or one number a layer: ``1e-3,5e-3``."""
    expected = "weight_decay: expected a number, or one for each layer with commas between"
    numbers = _numbers(text, float, expected)
    return numbers if len(numbers) > 1 else numbers[0]


def parse_rule(text: str | None, what: str) -> dict[str, Any] | None:
    """Read ``exponential:ratio=100`` or ``step:majority=100,minority=5`` as the mapping that study files have."""
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    return {"kind": kind} | parse_options(re.split(r",(?=\w+=)", rest) if rest else None, what)


def require_page(path: Path | None, name: str) -> None:
    """Refuse a page that could not be written, before the work."""
    if path is not None:
        from encollapse._internal import files

        files.folder(files.with_suffix(path, name, (".html", ".htm")).parent)


def parse_noise(text: str | None) -> float | dict[str, Any] | None:
    """Read ``0.2`` or ``pairwise:fraction=0.2``."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return parse_rule(text, "label_noise")


def parse_every(text: str | None) -> int | str | list[int] | None:
    """Read ``10``, ``log`` or ``1,2,5``."""
    if text is None or text == "log":
        return text
    expected = "history_every: expected a whole number, log, or numbers with commas between"
    numbers = _numbers(text, int, expected)
    return numbers if "," in text else numbers[0]


def parse_weights(text: str | None) -> str | list[float] | None:
    """Read ``balanced``, ``none`` or ``1,1,2.5``."""
    if text is None or "," not in text:
        return text
    return _numbers(text, float, "class_weights: expected balanced, or numbers with commas between")


def parse_data(given: list[str] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set: NAME=VALUE texts, and those that have a flag of their own and are not None."""
    found = {name: value for name, value in named.items() if value is not None}
    more = parse_options(given, "data-option")
    for name in found.keys() & more.keys():
        raise ArgumentError(f"data-option: {name} is given by a flag too; give it once")
    return found | more


def parse_pair(text: str | None, name: str) -> tuple[str, str] | None:
    """Read ``encoding,bias_decay``."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise ArgumentError(f"{name}: expected two names with a comma between, got {text!r}")
    return parts[0], parts[1]
