"""The history of a training: when to look, what to note, and how the network decides about held-out samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encollapse._internal.typing import BoolArray
from encollapse.data.imbalance import rare_classes
from encollapse.train.loop.snapshot import Snapshot, effective_decays
from encollapse.train.loop.task import Task
from encollapse.train.models.classifier import chunks
from encollapse.train.settings import Settings

CHECK_EVERY = 10
"""Passes between two checks of whether the training may end, where the history does not say when."""


MOST_SAMPLES, MOST_EACH = 200, 20
"""Samples of a frame, in all and of each class."""


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
        Its bias, zeros without one.
    samples : (n, d) array or None
        Features of the first few samples of each class, the same ones in every frame. None where frames are not kept,
        in frames of earlier releases, and with more than 200 classes.
    sample_labels : (n,) array or None
        The classes of these samples.
    """

    epoch: int
    class_means: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    samples: NDArray[np.float32] | None = None
    sample_labels: NDArray[np.int32] | None = None


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


def row_of(task: Task, seen: Snapshot, epoch: int, phase: str) -> dict[str, Any]:
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


def frame_of(task: Task, seen: Snapshot, epoch: int) -> Frame:
    """The class geometry of an observation; where frames are kept, with a few samples of each class."""
    means = seen.class_means(task.labels, task.work.encoding.num_classes)
    bias = seen.weight.new_zeros(len(seen.weight)) if seen.bias is None else seen.bias
    values = [value.float().contiguous().numpy() for value in (means, seen.weight, bias)]
    each = min(MOST_EACH, MOST_SAMPLES // task.work.encoding.num_classes) if task.settings.keep_frames else 0
    frame = Frame(epoch, *values)
    if each == 0:
        return frame
    labels = task.labels.cpu().numpy()
    chosen = np.concatenate([np.flatnonzero(labels == k)[:each] for k in np.unique(labels)])
    samples = seen.features[chosen].float().numpy()
    return replace(frame, samples=samples, sample_labels=labels[chosen].astype(np.int32))


@dataclass(frozen=True)
class HoldOut:
    """Shares of the samples.

    Attributes
    ----------
    accuracy : float
        The network, by what the encoding decodes its outputs to, is right.
    nc4_agreement : float
        It decides as the class mean of the *training* features that is nearest.
    ncc_accuracy : float
        That nearest class mean is right.
    balanced_accuracy : float
        Accuracy of each class, averaged over the classes that have held-out samples.
    minority_accuracy : float or None
        The same over the rare classes: those with less than half the training samples of the largest. None where there
        is none.
    """

    accuracy: float
    nc4_agreement: float
    ncc_accuracy: float
    balanced_accuracy: float
    minority_accuracy: float | None


@torch.no_grad()
def hold_out(task: Task, seen: Snapshot) -> HoldOut | None:
    """Score the network on the samples that it is not trained on, or None where there are none."""
    split = task.work.test
    if split is None:
        return None
    inputs, labels = torch.tensor(split.inputs), torch.tensor(split.labels)
    num_classes = task.work.encoding.num_classes
    means = seen.class_means(task.labels, num_classes).T.contiguous()
    right = torch.zeros(num_classes, dtype=torch.float64)
    agree = nearest_right = 0
    for part in chunks(len(inputs)):
        raw = task.classifier.features(inputs[part].to(task.workers.device))
        features = task.units.feature * raw.cpu().double()
        outputs = seen.outputs(features)
        decided = torch.tensor(task.work.encoding.decode(outputs, loss=task.settings.loss))
        nearest = torch.cdist(features, means, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        right += torch.bincount(labels[part][decided == labels[part]], minlength=num_classes)
        agree += int((decided == nearest).sum())
        nearest_right += int((nearest == labels[part]).sum())
    total, of_class = len(inputs), torch.bincount(labels, minlength=num_classes).numpy()
    rare = rare_classes(torch.bincount(task.labels, minlength=num_classes).numpy())
    shares = right.numpy() / np.maximum(of_class, 1)

    def average(chosen: BoolArray) -> float | None:
        return float(shares[chosen & (of_class > 0)].mean()) if (chosen & (of_class > 0)).any() else None

    balanced = average(np.ones(num_classes, dtype=bool))
    assert balanced is not None
    return HoldOut(float(right.sum()) / total, agree / total, nearest_right / total, balanced, average(rare))
