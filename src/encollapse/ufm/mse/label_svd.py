"""The change of coordinates in which the bias is the only unknown.

The optimal outputs are the soft-thresholded ``A - b uᵀ = A_c + x uᵀ`` with ``x = ē - b``, and ``A_c u = 0``, so only
the spectrum of ``A_c`` and the coordinates of ``ē`` in its left singular basis matter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.ufm.mse.weighted_labels import WeightedLabels


class Slot:
    """Room for one value that is costly to compute and too large to keep for many keys, empty in copies."""

    def __init__(self) -> None:
        self._held: tuple[object, object] | None = None

    def get(self, key: object) -> object:
        """Return what was put for this very key, or None."""
        held = self._held
        return held[1] if held is not None and held[0] is key else None

    def put(self, key: object, value: object) -> None:
        """Keep a value in place of the last one."""
        self._held = (key, value)

    def __getstate__(self) -> dict[str, None]:
        return {"_held": None}


@dataclass(frozen=True, eq=False)
class LabelSVD:
    """Singular triplets of the centered labels, with as few of them as possible touched by the mean label.

    Inside a degenerate eigenspace only the direction of the mean label's projection matters, so the
    triplets are rotated until one of them carries all of it. The others are inert whatever the bias is.

    Attributes
    ----------
    labels : WeightedLabels
        What was decomposed. All numbers are in its units.
    left, right : (q, n), (K, n)
        Singular vectors, as columns.
    spectrum : (n,)
        Singular values, descending, then perhaps 0 for the direction of the mean label outside their span,
        whose right vector is zero.
    mean : (n,)
        Coordinates ``leftᵀ ē``, exactly 0 in all but one triplet of a degenerate eigenspace.
    """

    labels: WeightedLabels
    left: FloatArray
    right: FloatArray
    spectrum: FloatArray
    mean: FloatArray
    slot: Slot = field(default_factory=Slot, repr=False)

    @classmethod
    def of(cls, labels: WeightedLabels) -> LabelSVD:
        """Decompose the labels."""
        small, large = sorted(labels.centered.shape)
        memory.require_room(
            "decomposition of the labels", 3 * small, large, instead="use one_hot or its relatives, which need none"
        )
        left, spectrum, rows = np.linalg.svd(labels.centered, full_matrices=False)
        # The labels are centered exactly (`WeightedLabels.of`), so the size of their mean says nothing about rounding.
        kept = spectrum > spectrum[0] * max(labels.centered.shape) * EPS
        # A_c u = 0 leaves K - 1 directions, and where all of A_c is rounding only counting finds the one too many.
        kept[labels.centered.shape[1] - 1 :] = False
        left, spectrum, right = left[:, kept], spectrum[kept], rows[kept].T
        # A_c u = 0 holds up to rounding, which vectors of small singular values magnify.
        right = right - np.outer(labels.root_priors, labels.root_priors @ right)
        mean = left.T @ labels.mean
        left, right, mean = _gather(left, right, spectrum, mean)
        outside = labels.mean - left @ mean
        for _ in range(2):
            outside -= left @ (left.T @ outside)
        length = float(np.linalg.norm(outside))
        if length > 64 * EPS * float(np.linalg.norm(labels.mean)) and left.shape[1] < len(labels.mean):
            left = np.column_stack([left, outside / length])
            right = np.column_stack([right, np.zeros(len(right))])
            spectrum, mean = np.append(spectrum, 0.0), np.append(mean, length)
        return cls(labels, *(checks.read_only(v) for v in (left, right, spectrum, mean)))

    @cached_property
    def defect(self) -> tuple[float, float]:
        """Bounds of ``|A_c - A_c'|_F`` and ``|ē - ē'|`` for the nearest labels whose decomposition is exact.

        Computed, not assumed: the residuals of the decomposition, and what its vectors lack to be orthonormal among
        each other and with u.
        """
        labels, size = self.labels, float(self.spectrum.max(initial=0.0))
        residual = (self.left * self.spectrum) @ self.right.T
        residual -= labels.centered
        right = np.column_stack([self.right[:, self.spectrum > 0], labels.root_priors])
        skew_left, skew_right = _skew(self.left), _skew(right)
        outside = np.linalg.norm(self.left @ self.mean - labels.mean)
        return (
            float(np.linalg.norm(residual)) + size * (skew_left + skew_right),
            float(outside) + skew_left * float(np.linalg.norm(labels.mean)),
        )

    @cached_property
    def touched(self) -> IntArray:
        """Indices of the triplets that the mean label touches by more than rounding.

        Solving needs no such judgment and uses every coordinate that is not exactly 0.
        """
        size = float(np.linalg.norm(self.labels.mean))
        floor = 64 * EPS * np.sqrt(max(self.labels.centered.shape))
        # The largest label is of size 1 here, so a mean within rounding of 1 is zero.
        return np.flatnonzero(np.abs(self.mean) > floor * size) if size > floor else np.empty(0, np.int64)


def _skew(vectors: FloatArray) -> float:
    """``|VᵀV - I|_F``, which bounds the distance to the nearest orthonormal vectors."""
    products = vectors.T @ vectors
    products[np.diag_indices_from(products)] -= 1.0
    return float(np.linalg.norm(products))


def _gather(
    left: FloatArray, right: FloatArray, spectrum: FloatArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rotate each cluster of equal singular values so that its first triplet takes all of the mean label."""
    if len(spectrum) == 0:
        return left, right, mean
    apart = -np.diff(spectrum) > 8 * EPS * spectrum[0]
    starts = np.concatenate([[0], np.flatnonzero(apart) + 1, [len(spectrum)]])
    left, right, mean = left.copy(), right.copy(), mean.copy()
    for first, end in itertools.pairwise(starts):
        if end - first < 2:
            continue
        part = mean[first:end].copy()
        size = float(np.linalg.norm(part))
        # A Householder reflection that maps the projection onto the first axis.
        axis = part.copy()
        axis[0] += np.copysign(size, part[0])
        square = float(axis @ axis)
        if square > 0:
            for block in (left, right):
                block[:, first:end] -= np.outer(block[:, first:end] @ axis, 2.0 * axis / square)
        mean[first:end] = 0.0
        mean[first] = -np.copysign(size, part[0])
    return left, right, mean
