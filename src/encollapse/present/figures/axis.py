"""The axis of the bias regularisation: logarithmic in between, with 0 and ∞ at its broken ends."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from encollapse._typing import FloatArray
from encollapse.present.families import finite_positive
from encollapse.present.style import GREY

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
        decades = [math.log10(value) for value in finite_positive(values)] or [0.0]
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

    def draw(self, axes: Axes) -> None:
        """Set limits, ticks and break marks."""
        axes.set_xlim(self.low - _GAP - _MARGIN, self.high + _GAP + _MARGIN)
        decades = range(math.ceil(self.low), math.floor(self.high) + 1)
        step = max(1, math.ceil(len(decades) / 6))
        shown = [d for d in decades if d % step == 0]
        axes.set_xticks(
            [self.place(0.0), *shown, self.place(math.inf)], ["0", *map(_decade_label, shown), "∞"]
        )
        minor = [d + math.log10(m) for d in range(math.floor(self.low), decades.stop) for m in range(2, 10)]
        axes.set_xticks([m for m in minor if self.low <= m <= self.high], minor=True)
        axes.tick_params(axis="x", which="minor", length=2, width=0.5)
        axes.set_xlabel("bias regularisation $\\lambda_b$")
        for middle in (self.low - _GAP / 2, self.high + _GAP / 2):
            self._break_mark(axes, middle)

    def _break_mark(self, axes: Axes, middle: float) -> None:
        transform = axes.get_xaxis_transform()
        style: dict[str, Any] = {"transform": transform, "clip_on": False, "zorder": 5}
        axes.plot([middle - 0.05, middle + 0.05], [0, 0], color="white", linewidth=3, **style)
        for x in (middle - 0.05, middle + 0.05):
            axes.plot([x - 0.035, x + 0.035], [-0.018, 0.018], color=GREY, linewidth=0.8, **style)


def _decade_label(decade: int) -> str:
    return f"{10.0**decade:g}" if -3 < decade < 4 else f"$10^{{{decade}}}$"
