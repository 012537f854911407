"""What a trial found, before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from encollapse.geometry import ClassGeometry
from encollapse.ufm import Solution


@dataclass(frozen=True, eq=False)
class Found:
    """The record of a trial, what was measured on it, and the prediction for it."""

    record: dict[str, Any]
    measured: ClassGeometry
    prediction: Solution
