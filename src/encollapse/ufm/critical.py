"""The critical bias decay, from the optimality conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encollapse.ufm.reduction import Reduction


@dataclass(frozen=True)
class CriticalPoint:
    """The smallest ``λ_b`` above which ``Z u ≠ 0`` (None: not known), and the reason in words."""

    bias_decay: float | None
    reason: str


def critical_point(reduction: Reduction, threshold: float) -> CriticalPoint:
    """Find where the mean direction starts to be learnt.

    As long as ``Z u = 0`` the bias is ``ē/(1 + λ_b)`` and ``x = β ē`` with ``β = λ_b/(1 + λ_b)``. That is
    optimal exactly when soft-thresholding ``A_c + β ē uᵀ`` leaves ``u`` alone, which means that no singular
    value above c has a left vector touching ``ē``: the largest eigenvalue of ``Λ + β² ē ēᵀ`` on the
    eigenspaces that ``ē`` touches is at most c². It reaches c² where the secular equation
    ``1 = β² Σ_i ē_i²/(c² - Λ_i)`` holds :cite:p:`golub1973`.
    """
    touched = reduction.touched
    if len(touched) == 0:
        return CriticalPoint(
            math.inf,
            "The mean label is zero, so the bias is zero and the mean direction is not learnt at any bias decay.",
        )
    spectrum = reduction.spectrum[touched]
    mean = reduction.mean[touched]
    c = threshold / reduction.labels.scale
    if spectrum.max() >= c:
        return CriticalPoint(
            0.0,
            "The mean label has a part along a learnt direction of the centred labels: a singular value of "
            f"{spectrum.max() * reduction.labels.scale:.6g} is at or above the threshold c = {threshold:.6g}. So every "
            "bias decay above zero turns the class means.",
        )
    # Factored difference of squares: c close to a singular value must not cancel.
    beta = 1.0 / math.sqrt(float(np.sum(mean**2 / ((c - spectrum) * (c + spectrum)))))
    if beta >= 1.0:
        return CriticalPoint(
            math.inf,
            "The mean label is too short against the threshold c: even without a bias the mean direction is "
            "not learnt.",
        )
    critical = beta / (1.0 - beta)
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.6g} the bias takes up the mean label and the class means stay as with a "
        "free bias; above it the mean direction is learnt too and the frame turns.",
    )
