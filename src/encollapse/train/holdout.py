"""Samples kept away from the training: how the network decides about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from encollapse.train.chunks import chunks
from encollapse.train.observe import Observation
from encollapse.train.task import Task


@dataclass(frozen=True)
class HoldOut:
    """Shares of the samples.

    Attributes
    ----------
    accuracy : float
        The network, by the codeword nearest to its output, is right.
    nc4_agreement : float
        It decides as the class mean of the *training* features that is nearest.
    ncc_accuracy : float
        That nearest class mean is right.
    """

    accuracy: float
    nc4_agreement: float
    ncc_accuracy: float


@torch.no_grad()
def hold_out(task: Task, seen: Observation) -> HoldOut | None:
    """Score the network on the samples that it is not trained on; None where there are none."""
    split = task.work.test
    if split is None:
        return None
    inputs, labels = torch.tensor(split.inputs), torch.tensor(split.labels)
    means = seen.class_means(task.labels, task.work.encoding.num_classes).T.contiguous()
    right = agree = nearest_right = 0
    for part in chunks(len(inputs)):
        raw = task.classifier.features(inputs[part].to(task.workers.device))
        features = task.units.feature * raw.cpu().double()
        decided = torch.tensor(task.work.encoding.decode(seen.outputs(features)))
        nearest = torch.cdist(features, means, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        right += int((decided == labels[part]).sum())
        agree += int((decided == nearest).sum())
        nearest_right += int((nearest == labels[part]).sum())
    total = len(inputs)
    return HoldOut(right / total, agree / total, nearest_right / total)
