"""Values as JSON holds them: plain, without NaN and infinity, and back again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Turn a value into what JSON holds: NaN becomes null and infinity the string ``"inf"``."""
    if isinstance(value, Mapping):
        return plain_dict(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return value
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def plain_dict(values: Mapping[Any, Any]) -> dict[str, Any]:
    """A mapping of such values, as :func:`plain` turns it."""
    return {str(k): plain(v) for k, v in values.items()}


def revived(value: Any) -> Any:
    """Inverse of :func:`plain` for tables of numbers: ``"inf"`` and ``"-inf"`` as numbers again."""
    if isinstance(value, Mapping):
        return {key: revived(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [revived(entry) for entry in value]
    return {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value


def finite(value: Any) -> float | None:
    """A finite number as a float, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
