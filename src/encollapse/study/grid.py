"""The grid of a block of a study file: its axes, the values along each, and which of them advance together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

KeyPath = tuple[str, ...]
TakesList = Callable[[KeyPath], bool]

ORDER = (
    "dataset",
    "model",
    "features",
    "encoding",
    "weight_decay",
    "feature_decay",
    "relative_threshold",
    "epochs",
    "train",
    "bias_decay",
    "seeds",
)
"""Order in which axes vary, the last one fastest. ``train`` stands for ``train.OPTION`` of every option."""


def values(value: Any, takes_list: TakesList, path: KeyPath = ()) -> list[Any]:
    """Every value that an entry of a study file stands for, in the order of the file.

    A list is an axis, wherever it stands, unless `takes_list` says of its path that a list is what the key
    takes. ``{ grid = [...] }`` is an axis everywhere and ``{ value = [...] }`` a value everywhere. A table with
    axes inside stands for the product of them.

    Raises
    ------
    ValueError
        If an axis is empty. The text names it.
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


def _axis(entries: Any, takes_list: TakesList, path: KeyPath) -> list[Any]:
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


def axes_of(block: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Axes of a merged block by name, in the order in which they vary."""
    found: dict[str, list[Any]] = {}
    for key in ORDER:
        if key == "train":
            found |= {f"train.{option}": values for option, values in sorted(block.get("train", {}).items())}
        elif key in block:
            found[key] = block[key]
    return found


def check_zips(block: Mapping[str, Any]) -> None:
    """Raise ValueError unless every zip names axes of one length, each of them once."""
    axes, seen = axes_of(block), set[str]()
    for group in groups_of(block):
        if len(group) < 2:
            raise ValueError(f"expected at least two axes that advance together, got {group!r}")
        for name in group:
            if name not in axes:
                raise ValueError(f"the block has no axis {name!r}; it has: {', '.join(axes)}")
            if name in seen:
                raise ValueError(f"{name} is named twice; keep one")
            seen.add(name)
        first, *others = group
        for other in others:
            if len(axes[first]) != len(axes[other]):
                raise ValueError(
                    f"{first} has {len(axes[first])} values and {other} has {len(axes[other])}; "
                    "axes that advance together need as many"
                )


def groups_of(block: Mapping[str, Any]) -> list[list[str]]:
    """Names of the axes that advance together, one list a group."""
    given: Any = block.get("zip", [])
    return [given] if given and isinstance(given[0], str) else list(given)


def points(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One value for every axis, for each point of the block: zipped axes together, the others as a product."""
    axes, groups = axes_of(block), groups_of(block)
    together = {name: group for group in groups for name in group}
    joint, done = [], set[str]()
    for name in axes:
        if name not in done:
            group = together.get(name, [name])
            done.update(group)
            joint.append([dict(zip(group, row, strict=True)) for row in zip(*map(axes.get, group), strict=True)])
    for chosen in itertools.product(*joint):
        yield {name: value for part in chosen for name, value in part.items()}
