"""Errors of study files in words: where in the file, what is wrong, what to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from encollapse._internal.checks import did_you_mean


def block_name(index: int) -> str:
    """What errors call a ``[[runs]]`` table."""
    return f"[[runs]] block {index + 1}"


def place(error: ErrorDetails, raw: Mapping[str, Any]) -> str:
    """Where in the file: the block in words, then the key as the file writes it."""
    location = list(error["loc"])
    if not location:
        return "the file"
    if location[0] == "runs" and len(location) > 1 and isinstance(location[1], int):
        head, rest = [block_name(location[1])], location[2:]
        value: Any = raw["runs"][location[1]]
    elif location[0] == "defaults" and len(location) > 1:
        head, rest, value = ["[defaults]"], location[1:], raw["defaults"]
    else:
        head, rest, value = [], location, raw
    words = ""
    for part in rest:
        if isinstance(part, int):
            if isinstance(value, list) and not any(_has_axis(entry) for entry in value):
                words += f"[{part}]"
                value = value[part]
        elif isinstance(value, Mapping) and (part in value or error["type"] == "missing"):
            words += f".{part}" if words else str(part)
            value = value.get(part)
    return ": ".join([*head, words or "the block"])


def _has_axis(entry: Any) -> bool:
    """Whether one entry of a list may stand for several, so that numbers of entries say nothing."""
    return isinstance(entry, Mapping) and any(isinstance(v, list | Mapping) for v in entry.values())


def message(error: ErrorDetails, keys: Mapping[str, list[str]]) -> str:
    """Say what is wrong with a value and what to write; `keys` are the known keys of each table."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        return f"no such key{suggest(key, _keys_at(error, keys))}"
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and error["loc"][-1] == "file":
        return f"expected a file ending in .json or .npz, got {value!r}"
    if kind == "string_pattern_mismatch":
        return f"expected letters, digits, '.', '_' and '-', got {value!r}"
    if kind == "too_short":
        return "expected at least one value, got []"
    if kind == "model_type":
        return f"expected a name or a table, got {value!r}"
    if "counts" in error["loc"]:
        return f"expected a whole number above 0, or a list of them (one a class), got {value!r}"
    if "every" in error["loc"]:
        return f'expected a whole number above 0, "log", or a list of whole numbers from 0, got {value!r}'
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


def _keys_at(error: ErrorDetails, keys: Mapping[str, list[str]]) -> list[str]:
    parents = [str(part) for part in error["loc"][:-1] if not isinstance(part, int)]
    table = next((name for name in ("dataset", "encoding", "model", "measure") if name in parents), None)
    return keys[table or ("runs" if parents else "")]


def suggest(word: str, known: Iterable[str]) -> str:
    """Say what was probably meant, or what there is."""
    known = list(known)
    return f"; {did_you_mean(word, known) or 'there are ' + ', '.join(known)}"
