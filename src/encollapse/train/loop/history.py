"""The history of a training: when to look, and what to note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encollapse.train.loop.effective_decays import effective_decays
from encollapse.train.loop.holdout import hold_out
from encollapse.train.loop.snapshot import Observation
from encollapse.train.loop.task import Task
from encollapse.train.settings import Settings

CHECK_EVERY = 10
"""Passes between two checks of whether the training may end, where the history does not say when."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The network's class geometry after `epoch` passes, in the user's units.

    Attributes
    ----------
    epoch : int
        Passes over the data.
    class_means : (d, K) array
        Mean features of the classes, uncentered.
    weight : (q, d) array
        Weight of the head.
    bias : (q,) array
        Its bias; zeros without one.
    """

    epoch: int
    class_means: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Timetable:
    """After how many passes to note a row, and after how many to see whether the training may end."""

    rows: frozenset[int]
    checks: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings) -> Timetable:
        """The timetable of the settings."""
        first, total = settings.epochs, settings.epochs + settings.finish
        every = settings.history_every
        if isinstance(every, int):
            checks = _regular(every, first, total)
            return cls(frozenset(checks), tuple(sorted(checks)))
        wanted = _powers(total) if isinstance(every, str) else {epoch for epoch in every if epoch <= total}
        rows = wanted | {0, total}
        return cls(frozenset(rows), tuple(sorted(rows | _regular(CHECK_EVERY, first, total))))

    def after(self, epoch: int) -> int:
        """The next check after `epoch` passes."""
        return next(check for check in self.checks if check > epoch)


def _regular(every: int, first: int, total: int) -> set[int]:
    """Multiples of a number of passes, counted anew from the start of the second phase, and the end of each."""
    return {*range(0, first, every), *range(first, total, every), total}


def _powers(total: int) -> set[int]:
    """Powers of √2, rounded to whole passes."""
    rows, power = {0}, 1.0
    while round(power) <= total:
        rows.add(round(power))
        power *= 2**0.5
    return rows


def row_of(task: Task, seen: Observation, epoch: int, phase: str) -> dict[str, Any]:
    """An observation as plain values."""
    found = seen.collapse(task.labels, task.work.encoding, task.settings.loss)
    row: dict[str, Any] = {"epoch": epoch, "phase": phase, "loss": seen.loss, **seen.terms}
    judged = seen.stationarity
    row["stationarity"] = seen.judged
    row |= {"descent": judged and judged.descent, "escape": judged and judged.escape}
    if task.settings.decay != "ufm":
        effective = effective_decays(seen, task.settings, task.targets)
        row |= {"effective_weight_decay": effective.weight, "effective_feature_decay": effective.feature}
    cosine = found.geometry.mean_cosine()
    row["mean_cosine"] = cosine if cosine == cosine else None
    row |= found.values
    scored = hold_out(task, seen)
    if scored is not None:
        row |= {
            "test_accuracy": scored.accuracy,
            "test_nc4_agreement": scored.nc4_agreement,
            "test_ncc_accuracy": scored.ncc_accuracy,
            "test_balanced_accuracy": scored.balanced_accuracy,
            "test_minority_accuracy": scored.minority_accuracy,
        }
    return row


def frame_of(task: Task, seen: Observation, epoch: int) -> Frame:
    """The class geometry of an observation."""
    means = seen.class_means(task.labels, task.work.encoding.num_classes)
    bias = seen.weight.new_zeros(len(seen.weight)) if seen.bias is None else seen.bias
    return Frame(epoch, *(value.float().contiguous().numpy() for value in (means, seen.weight, bias)))
