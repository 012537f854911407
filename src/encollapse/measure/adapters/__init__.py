"""Measurement where users already are: torchmetrics, Lightning, transformers. Each loads on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError, MissingDependencyError
from encollapse.measure.result import VALUES, Collapse

NAMES = {
    "NeuralCollapse": ("metric", "torchmetrics"),
    "CollapseCallback": ("lightning_callback", "lightning"),
    "CollapseTrainerCallback": ("trainer_callback", "transformers"),
}
"""Module and framework of every adapter."""


def load(name: str) -> Any:
    """Import an adapter.

    Raises
    ------
    MissingDependencyError
        If its framework is not installed.
    """
    module, framework = NAMES[name]
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"measure.{name} needs {framework} ({error}); install it with: pip install {framework}"
        ) from None


def chosen_metrics(metrics: Sequence[str] | None, known: Sequence[str] = VALUES) -> tuple[str, ...]:
    """Return the names of the values to log. None means all of `known`.

    Raises
    ------
    ArgumentError
        If there is no value of that name.
    """
    return tuple(known if metrics is None else (checks.choice(name, "metrics", known) for name in metrics))


def entries(collapse: Collapse, metrics: Sequence[str], prefix: str) -> dict[str, float]:
    """Names with the prefix and values, without those that are missing."""
    values = ((name, collapse.values[name]) for name in metrics)
    return {prefix + name: value for name, value in values if value is not None}


def one_of(found: Any, which: str | int | None, name: str) -> tuple[Any, int]:
    """Return one of several loaders or data sets in a list or a dictionary, and its number, or a single one as it is.

    Raises
    ------
    ArgumentError
        If there are several and none is chosen, or there is none of that name.
    """
    if not isinstance(found, Mapping | list | tuple):
        if which is None:
            return found, 0
        known: dict[Any, Any] = {}
    else:
        known = dict(found) if isinstance(found, Mapping) else dict(enumerate(found))
    chosen = next(iter(known)) if which is None and len(known) == 1 else which
    if chosen not in known:
        keys = ", ".join(map(repr, known)) or "only one, without a name"
        raise ArgumentError(
            f"which: got {which!r}, and of the {name} of the Trainer there are {keys}; choose by which="
        )
    return known[chosen], list(known).index(chosen)
