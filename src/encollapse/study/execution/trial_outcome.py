"""What a trial found, before it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from encollapse.encodings import Encoding
from encollapse.geometry import ClassGeometry
from encollapse.study.store.arrays import Arrays
from encollapse.ufm import Solution


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """The record of a trial, its encoding, what was measured, the prediction if there is one, and further arrays."""

    record: dict[str, Any]
    encoding: Encoding
    measured: ClassGeometry
    predicted: ClassGeometry | None
    prediction: Solution | None
    arrays: Arrays = field(default_factory=dict)
