"""Where in the text of a TOML file a key stands; `tomllib` does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_HEADER = re.compile(r"^\s*\[(\[)?\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_QUIET = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*')
"""Strings and comments of a line: brackets in them do not count."""


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Number, from 1, of the line where the entry at `path` is written, or of the nearest one around it.

    ``("runs", 1, "dataset", "counts")`` is the key ``counts`` of the data set in the second ``[[runs]]`` table.
    None if not even the table of the first part is found.
    """
    best: tuple[int, int] | None = None  # (parts matched, line)
    names = [part for part in path if isinstance(part, str)]
    table = path[1] if len(path) > 1 and isinstance(path[1], int) else None
    for line, index, found, body in _entries(text):
        if table is not None and index != table and found[:1] == names[:1]:
            continue
        matched = 0
        while matched < min(len(found), len(names)) and found[matched] == names[matched]:
            matched += 1
        if matched < len(found):
            continue
        inner = [_first_key(part, names[matched:]) for part in body]
        deepest = max(inner, default=0)
        if inner.count(deepest) == 1 and deepest and (best is None or matched + deepest > best[0]):
            best = (matched + deepest, line + inner.index(deepest))
        if matched and (best is None or matched > best[0]):
            best = (matched, line)
    return None if best is None else best[1]


def _first_key(text: str, names: list[str]) -> int:
    """How many of the leading `names` are written as keys of inline tables in a line."""
    found = 0
    for name in names:
        if not re.search(rf"(?<![\w-]){re.escape(name)}\s*=(?!=)", text):
            break
        found += 1
    return found


def _entries(text: str) -> Iterator[tuple[int, int | None, list[str], list[str]]]:
    """Each header and each key with its line, the number of its ``[[...]]`` table, its path and its lines."""
    lines = text.splitlines()
    counts: dict[str, int] = {}
    prefix: list[str] = []
    index: int | None = None
    at = 0
    while at < len(lines):
        start = at
        header, key = _HEADER.match(lines[at]), _KEY.match(lines[at])
        at += 1
        if header:
            prefix = _parts(header.group(2))
            if header.group(1):
                counts[prefix[0]] = counts.get(prefix[0], -1) + 1
            index = counts.get(prefix[0])
            yield start + 1, index, prefix, []
        elif key:
            at = _end(lines, start)
            yield start + 1, index, prefix + _parts(key.group(1)), lines[start:at]


def _end(lines: list[str], start: int) -> int:
    """Line after the last one of the entry that begins at `start`."""
    depth, closing = 0, None
    for at in range(start, len(lines)):
        rest = lines[at]
        while closing or (opening := re.search(r'"""|\'\'\'', rest)):
            if closing is None:
                assert opening is not None
                closing = opening.group()
                before, rest = rest[: opening.start()], rest[opening.end() :]
                depth += _depth(before)
            if closing not in rest:
                rest = ""
                break
            rest, closing = rest.split(closing, 1)[1], None
        depth += _depth(rest)
        if closing is None and depth <= 0:
            return at + 1
    return len(lines)


def _depth(text: str) -> int:
    bare = _QUIET.sub("", text)
    return sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
