"""Moments as one vector: what torchmetrics and executors carry from one process to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch

from encollapse.measure.class_moments import ClassMoments


@dataclass(frozen=True)
class MomentShape:
    """What moments must agree on to be merged."""

    num_classes: int
    feature_dim: int
    covariance: bool = True

    def blank(self, device: torch.device | str = "cpu") -> ClassMoments:
        """Moments of nothing."""
        return ClassMoments(self.num_classes, self.feature_dim, device=device, covariance=self.covariance)


def pack(moments: ClassMoments) -> torch.Tensor:
    """Moments as one vector (L,). Counts are exact up to 2⁵³ samples a class."""
    return torch.cat([value.double().flatten() for value in moments.named().values()])


def unpack(packed: torch.Tensor, shape: MomentShape) -> ClassMoments:
    """Moments from :func:`pack`, on the device of the vector. One without entries stands for moments of nothing."""
    moments = shape.blank(packed.device)
    if not len(packed):
        return moments
    like = moments.named()
    pieces = torch.split(packed, [value.numel() for value in like.values()])
    moments.load_state_dict(
        {n: piece.view(like[n].shape).to(like[n].dtype) for n, piece in zip(like, pieces, strict=True)}
    )
    return moments


def merge_packed(stacked: Iterable[torch.Tensor], shape: MomentShape) -> torch.Tensor:
    """Merge packed moments (P, L), row by row, into one (L,)."""
    return pack(reduce(ClassMoments.merge, (unpack(packed, shape) for packed in stacked)))
