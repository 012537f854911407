"""Errors of study files in words: where in the file, what is wrong, what to write."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from encollapse._internal.checks import did_you_mean
from encollapse.study.trials import RENAMED


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
        elif isinstance(value, Mapping) and ((name := _written(value, part)) or error["type"] == "missing"):
            words += f".{name or part}" if words else str(name or part)
            value = value.get(name)
    return ": ".join([*head, words or "the block"])


def _has_axis(entry: Any) -> bool:
    """Whether one entry of a list may stand for several, so that numbers of entries say nothing."""
    return isinstance(entry, Mapping) and any(isinstance(v, list | Mapping) for v in entry.values())


def message(error: ErrorDetails, keys: Mapping[str, list[str]]) -> str:
    """Say what is wrong with a value and what to write. `keys` are the known keys of each table."""
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


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Number, from 1, of the line where the entry at `path` is written, or of the nearest one around it.

    ``("runs", 1, "dataset", "counts")`` is the key ``counts`` of the data set in the second ``[[runs]]`` table.
    None if not even the table of the first part is found. `tomllib` keeps no lines, but it tells which lines bring
    the entry: those that end the shortest beginning of the file that has it.
    """
    lines = text.splitlines()
    depth = _depth(tomllib.loads(text), path)
    if depth == 0:
        return None

    def end_of(count: int) -> int:
        """The fewest lines, not below `count`, that do not end inside an entry."""
        return next(n for n in range(count, len(lines) + 1) if _parsed(lines[:n]) is not None)

    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        end = end_of(middle)
        if _depth(_parsed(lines[:end]), path) < depth:
            low = end + 1
        else:
            high = middle
    # Of the lines of the entry the only one that writes the last part of the path, or the part before that, ...
    for name in reversed([part for part in path if isinstance(part, str)]):
        key = re.compile(rf"(?<![\w-]){re.escape(name)}\s*=(?!=)")
        writing = [n for n in range(low, end_of(low) + 1) if key.search(lines[n - 1])]
        if len(writing) == 1:
            return writing[0]
    return low


def _parsed(lines: Sequence[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _depth(value: Any, path: Sequence[str | int]) -> int:
    """How many parts of the path there are."""
    for depth, part in enumerate(path):
        if isinstance(part, int):  # pydantic numbers what a value stands for, be it a list or not
            value = value[part] if isinstance(value, list) and part < len(value) else value
        elif isinstance(value, dict) and (name := _written(value, part)) is not None:
            value = value[name]
        else:
            return depth
    return len(path)


def _written(table: Mapping[str, Any], key: Any) -> str | None:
    """The key as the file writes it, perhaps by the name that it used to have, or None if it is not there."""
    return next((name for name in (key, *(o for _, o, new in RENAMED if new == key)) if name in table), None)
