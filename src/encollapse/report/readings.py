"""What the record of a trial says, whichever release wrote it: None stands for what it does not hold."""

from __future__ import annotations

from typing import Any

from encollapse.geometry.comparison import MEANINGS as ERRORS
from encollapse.study.results import TrialResult


def metric(result: TrialResult, name: str) -> float | None:
    """A metric of the final collapse, by its name in :class:`encollapse.measure.Collapse`."""
    return number((result.record.get("collapse") or {}).get(name))


def error(result: TrialResult, name: str) -> float | None:
    """An error of the comparison with the prediction."""
    return number((result.record.get("comparison") or {}).get(name))


def on_hold_out(result: TrialResult, name: str) -> float | None:
    """A metric on samples that were not trained on: ``accuracy`` or ``nc4_agreement``."""
    return number(result.record.get(f"test_{name}"))


def value(result: TrialResult, name: str) -> float | None:
    """A value by name, wherever the record has it: an error, a metric, ``test_…`` for the hold-out, or a scalar."""
    if name in ERRORS:
        return error(result, name)
    if name.startswith("test_"):
        return on_hold_out(result, name.removeprefix("test_"))
    found = metric(result, name)
    return number(result.record.get(name)) if found is None else found


def decay_kind(result: TrialResult) -> str:
    """``ufm`` (explicit on the features), ``plain`` or ``decoupled``."""
    return str(result.settings.get("train", {}).get("decay", "ufm"))


def number(value: Any) -> float | None:
    """A finite number, or None; records hold infinity as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None
