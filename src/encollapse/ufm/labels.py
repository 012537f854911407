"""The labels of a problem, weighted by their frequency and split into centred part and mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse import _checks
from encollapse._typing import FloatArray


@dataclass(frozen=True, eq=False)
class WeightedLabels:
    """``A = E diag(u) = A_c + ē uᵀ`` with ``u = √π``, in units of `scale`.

    Everything is divided by `scale`, the largest entry of the codewords, so that tolerances are relative and
    extreme units neither overflow nor vanish.

    Attributes
    ----------
    scale : float
        What the labels were divided by.
    centered : (q, K)
        ``A_c / scale``; ``A_c u = 0``.
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
            _checks.read_only(values)

    @classmethod
    def of(cls, codewords: FloatArray, priors: FloatArray) -> WeightedLabels:
        """Weigh the codewords (q, K) by class frequencies (K,)."""
        peak = float(np.abs(codewords).max())
        scale = peak if peak > 0 else 1.0
        unit = codewords / scale
        root = np.sqrt(priors)
        mean = unit @ priors
        # Centring the codewords before weighting them keeps labels with a large common part exact.
        return cls(scale, (unit - mean[:, None]) * root, root, mean)

    @property
    def energy(self) -> float:
        """``½ |A|²`` in units of scale²: the value of the objective at zero without a bias."""
        return 0.5 * float(np.linalg.norm(self.centered) ** 2 + np.linalg.norm(self.mean) ** 2)
