"""Lists in a study file: an axis of a grid, or a value that happens to be a list."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

Path = tuple[str, ...]
TakesList = Callable[[Path], bool]


def values(value: Any, takes_list: TakesList, path: Path = ()) -> list[Any]:
    """Every value that an entry of a study file stands for, in the order of the file.

    A list is an axis, wherever it stands, unless `takes_list` says of its path that a list is what the key
    takes. ``{ grid = [...] }`` is an axis everywhere and ``{ value = [...] }`` a value everywhere. A table with
    axes inside stands for the product of them.

    Raises
    ------
    ValueError
        If an axis is empty; the text names it.
    """
    if isinstance(value, dict):
        if set(value) == {"value"}:
            return [value["value"]]
        if set(value) == {"grid"}:
            return _axis(value["grid"], takes_list, path)
        columns = [values(entry, takes_list, (*path, key)) for key, entry in value.items()]
        return [dict(zip(value, row, strict=True)) for row in itertools.product(*columns)]
    if isinstance(value, list) and not takes_list(path):
        return _axis(value, takes_list, path)
    return [value]


def _axis(entries: Any, takes_list: TakesList, path: Path) -> list[Any]:
    where = f"{'.'.join(path)}: " if path else ""
    if not isinstance(entries, list):
        raise ValueError(f"{where}grid: expected a list, got {entries!r}")
    if not entries:
        raise ValueError(f"{where}expected at least one value, got []")
    expanded: list[Any] = []
    for entry in entries:
        # A list inside an axis is a value: it is what an axis of lists is made of.
        expanded += [entry] if isinstance(entry, list) else values(entry, takes_list, path)
    return expanded
