"""Seeds taken together: mean and range."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from encollapse.study.results import TrialResult

BARS = "error bars run from the lowest to the highest seed, a mark without them is a single seed"
"""What captions say of the error bars."""


@dataclass(frozen=True)
class Spread:
    """Values of several seeds: mean, lowest and highest, and how many."""

    mean: float
    low: float
    high: float
    number: int


def spread(trials: Iterable[TrialResult], read: Callable[[TrialResult], float | None]) -> Spread | None:
    """Take the values of trials together; None where no trial has one."""
    values = [value for value in map(read, trials) if value is not None]
    if not values:
        return None
    # The mean of equal values may differ from them by rounding, and must not leave their range.
    mean = float(np.clip(np.mean(values), min(values), max(values)))
    return Spread(mean, min(values), max(values), len(values))
