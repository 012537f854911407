"""Samples kept away from the training: how the network decides about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from encollapse._internal.typing import BoolArray
from encollapse.data.imbalance import rare_classes
from encollapse.train.loop.snapshot import Observation
from encollapse.train.loop.task import Task
from encollapse.train.models.batches import chunks


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
def hold_out(task: Task, seen: Observation) -> HoldOut | None:
    """Score the network on the samples that it is not trained on; None where there are none."""
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
