"""The change of coordinates in which the bias is the only unknown.

With ``A = E diag(u)``, ``u = √π`` and ``ē = A u``, the centred labels ``A_c = A - ē uᵀ`` satisfy ``A_c u = 0``.
The optimal outputs are the soft-thresholded ``A - b uᵀ = A_c + x uᵀ`` with ``x = ē - b``, so only the
spectrum of ``A_c`` and the coordinates of ``ē`` in its left singular basis matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse import _checks
from encollapse._typing import FloatArray

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Reduction:
    """Spectrum of the centred labels, and the mean label in its eigenbasis.

    Everything is divided by `scale`, the largest entry of the weighted labels, so that tolerances are
    relative and extreme units neither overflow nor vanish.

    Attributes
    ----------
    scale : float
        What the labels were divided by.
    centered : (q, K)
        ``A_c / scale``.
    root_priors : (K,)
        ``u``.
    mean : (q,)
        ``ē / scale``.
    basis : (q, n)
        Orthonormal: the left singular vectors of `centered` with singular values above rounding and,
        where the mean has a part outside their span, the direction of that part.
    spectrum : (n,)
        The singular values, then 0 for that extra direction.
    coordinates : (n,)
        ``basisᵀ mean``.
    """

    scale: float
    centered: FloatArray
    root_priors: FloatArray
    mean: FloatArray
    basis: FloatArray
    spectrum: FloatArray
    coordinates: FloatArray

    @classmethod
    def of(cls, codewords: FloatArray, priors: FloatArray) -> Reduction:
        """Reduce the labels with codewords (q, K) and class frequencies (K,)."""
        peak = float(np.abs(codewords).max())
        scale = peak if peak > 0 else 1.0
        unit = codewords / scale
        root = np.sqrt(priors)
        mean = unit @ priors
        # Centring the codewords before weighting them keeps labels with a large common part exact.
        centered = (unit - mean[:, None]) * root
        left, values, _ = np.linalg.svd(centered, full_matrices=False)
        kept = values > values[0] * max(centered.shape) * EPS
        basis, spectrum = left[:, kept], values[kept]
        coordinates = basis.T @ mean
        outside = mean - basis @ coordinates
        outside -= basis @ (basis.T @ outside)
        length = float(np.linalg.norm(outside))
        if length > 64 * EPS * float(np.linalg.norm(mean)) and basis.shape[1] < len(mean):
            basis = np.column_stack([basis, outside / length])
            spectrum = np.append(spectrum, 0.0)
            coordinates = np.append(coordinates, length)
        return cls(
            scale,
            *(_checks.read_only(v) for v in (centered, root, mean, basis, spectrum, coordinates)),
        )

    @cached_property
    def touched(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which coordinates of the mean label are above rounding, shape (n,)."""
        norm = float(np.linalg.norm(self.mean))
        floor = 1e3 * EPS * np.sqrt(max(self.centered.shape))
        if norm <= floor:
            return np.zeros(len(self.spectrum), dtype=bool)
        return np.asarray(np.abs(self.coordinates) > floor * norm)

    @property
    def label_energy(self) -> float:
        """``½ |A|² / scale²``: the value of the objective at zero without a bias."""
        return 0.5 * float(np.linalg.norm(self.centered) ** 2 + np.linalg.norm(self.mean) ** 2)
