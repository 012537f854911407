"""What the callbacks write to a log."""

from __future__ import annotations

from collections.abc import Sequence

from encollapse._internal import checks
from encollapse.measure.result import VALUES, Collapse


def chosen_metrics(metrics: Sequence[str] | None, known: Sequence[str] = VALUES) -> tuple[str, ...]:
    """Return the names of the values to log; None means all of `known`.

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
