"""The change of coordinates in which the bias is the only unknown.

The optimal outputs are the soft-thresholded ``A - b uᵀ = A_c + x uᵀ`` with ``x = ē - b``, and ``A_c u = 0``, so only
the spectrum of ``A_c`` and the coordinates of ``ē`` in its left singular basis matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse import _checks
from encollapse._typing import FloatArray
from encollapse.ufm.labels import WeightedLabels

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Reduction:
    """Spectrum of the centred labels, and the mean label in its eigenbasis.

    Attributes
    ----------
    labels : WeightedLabels
        What was decomposed; all numbers are in its units.
    basis : (q, n)
        Orthonormal: the left singular vectors of the centred labels with singular values above rounding
        and, where the mean has a part outside their span, the direction of that part.
    spectrum : (n,)
        The singular values, then 0 for that extra direction.
    coordinates : (n,)
        ``basisᵀ mean``.
    """

    labels: WeightedLabels
    basis: FloatArray
    spectrum: FloatArray
    coordinates: FloatArray

    @classmethod
    def of(cls, labels: WeightedLabels) -> Reduction:
        """Decompose the labels."""
        mean = labels.mean
        left, values, _ = np.linalg.svd(labels.centered, full_matrices=False)
        kept = values > values[0] * max(labels.centered.shape) * EPS
        basis, spectrum = left[:, kept], values[kept]
        coordinates = basis.T @ mean
        outside = mean - basis @ coordinates
        outside -= basis @ (basis.T @ outside)
        length = float(np.linalg.norm(outside))
        if length > 64 * EPS * float(np.linalg.norm(mean)) and basis.shape[1] < len(mean):
            basis = np.column_stack([basis, outside / length])
            spectrum = np.append(spectrum, 0.0)
            coordinates = np.append(coordinates, length)
        return cls(labels, *(_checks.read_only(v) for v in (basis, spectrum, coordinates)))

    @cached_property
    def touched(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which coordinates of the mean label are above rounding, shape (n,)."""
        norm = float(np.linalg.norm(self.labels.mean))
        floor = 1e3 * EPS * np.sqrt(max(self.labels.centered.shape))
        if norm <= floor:
            return np.zeros(len(self.spectrum), dtype=bool)
        return np.asarray(np.abs(self.coordinates) > floor * norm)
