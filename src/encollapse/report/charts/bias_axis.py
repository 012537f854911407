"""The axis of the bias regularization: logarithmic in between, with 0 and ∞ at its broken ends."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from encollapse._internal.format import SUPERSCRIPTS
from encollapse._internal.typing import FloatArray

_GAP = 0.55  # of a decade, between the last finite value and the end that stands for 0 or ∞
_MARGIN = 0.35


@dataclass(frozen=True)
class BiasAxis:
    """Places of bias decays from 0 to ∞ on a line; ``low`` and ``high`` are the finite range in decades."""

    low: float
    high: float

    @staticmethod
    def covering(values: Iterable[float]) -> BiasAxis:
        """Make an axis wide enough for every finite value given."""
        decades = [math.log10(value) for value in values if 0 < value < math.inf] or [0.0]
        return BiasAxis(min(decades) - 2 * _MARGIN, max(decades) + 2 * _MARGIN)

    def holds(self, value: float) -> bool:
        """Whether a bias decay lies on the unbroken part."""
        return 0 < value < math.inf and self.low < math.log10(value) < self.high

    def place(self, value: float) -> float:
        """Position of a bias decay."""
        if value == 0:
            return self.low - _GAP
        return self.high + _GAP if math.isinf(value) else math.log10(value)

    def grid(self, points: int = 181) -> FloatArray:
        """Finite bias decays that fill the axis evenly."""
        return np.logspace(self.low, self.high, points)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and names of the ticks: 0, about six decades, ∞."""
        decades = range(math.ceil(self.low), math.floor(self.high) + 1)
        step = max(1, math.ceil(len(decades) / 6))
        shown = [d for d in decades if d % step == 0]
        names = ["0", *map(_decade_label, shown), "∞"]
        return [self.place(0.0), *map(float, shown), self.place(math.inf)], names

    def minor_ticks(self) -> list[float]:
        """Places of 2, 3, …, 9 times each decade."""
        decades = range(math.floor(self.low), math.floor(self.high) + 1)
        minor = [d + math.log10(m) for d in decades for m in range(2, 10)]
        return [m for m in minor if self.low <= m <= self.high]

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis, beyond the places of 0 and ∞."""
        return self.low - _GAP - _MARGIN, self.high + _GAP + _MARGIN

    @property
    def breaks(self) -> tuple[float, float]:
        """Places at which the axis is broken."""
        return self.low - _GAP / 2, self.high + _GAP / 2


def _decade_label(decade: int) -> str:
    return f"{10.0**decade:g}" if -3 < decade < 4 else f"10{str(decade).translate(SUPERSCRIPTS)}"
