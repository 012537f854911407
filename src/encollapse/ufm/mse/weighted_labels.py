"""The labels of a problem, weighted by their frequency and split into centered part and mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray


def unit_near(size: float) -> float:
    """Power of two from `size` to twice that (as far as the range goes), or 1 for 0."""
    return math.ldexp(1.0, min(math.frexp(size)[1], 1023)) if size > 0 else 1.0


@dataclass(frozen=True, eq=False)
class WeightedLabels:
    """``A = E diag(u) = A_c + ē uᵀ`` with ``u = √π``, in units of `scale`.

    Everything is divided by `scale`, a power of two next to the largest entry of the codewords, so that tolerances are
    relative, extreme units neither overflow nor vanish, and no digit is lost.

    Attributes
    ----------
    scale : float
        What the labels were divided by.
    centered : (q, K)
        ``A_c / scale``, with ``A_c u = 0``.
    root_priors : (K,)
        ``u``, a unit vector.
    mean : (q,)
        ``ē / scale``.
    """

    scale: float
    centered: FloatArray
    root_priors: FloatArray
    mean: FloatArray

    def __post_init__(self) -> None:
        for values in (self.centered, self.root_priors, self.mean):
            checks.read_only(values)

    @classmethod
    def of(cls, codewords: FloatArray, priors: FloatArray) -> WeightedLabels:
        """Weigh the codewords (q, K) by class frequencies (K,)."""
        scale = unit_near(float(np.abs(codewords).max()))
        unit = codewords / scale
        root = np.sqrt(priors)
        mean = unit @ priors
        # Centering the codewords before weighting them keeps labels with a large common part exact: differences of
        # close numbers are, and the second pass takes off what the rounding of the mean leaves behind.
        centered = unit - mean[:, None]
        # What rounding leaves of a constant row is no spread.
        centered[unit.min(axis=1) == unit.max(axis=1)] = 0.0
        rest = centered @ priors
        return cls(scale, (centered - rest[:, None]) * root, root, mean + rest)

    @property
    def energy(self) -> float:
        """``½ |A_c|²`` in units of scale²: the value of the objective at zero with a free bias."""
        return 0.5 * float(np.linalg.norm(self.centered) ** 2)
