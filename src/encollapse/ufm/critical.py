"""The critical bias decay, from the optimality conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.structured.long_tail import LongTail


@dataclass(frozen=True)
class CriticalPoint:
    """The smallest ``λ_b`` above which ``Z u ≠ 0`` (None: not known), and the reason in words."""

    bias_decay: float | None
    reason: str


def critical_point(label_svd: LabelSVD, threshold: float) -> CriticalPoint:
    """Find where the mean direction starts to be learned.

    As long as ``Z u = 0`` the bias is ``ē/(1 + λ_b)`` and ``x = β ē`` with ``β = λ_b/(1 + λ_b)``. That is
    optimal exactly when soft-thresholding ``A_c + β ē uᵀ`` leaves ``u`` alone, which means that no singular
    value above c has a left vector touching ``ē``: the largest eigenvalue of ``Λ + β² ē ēᵀ`` on the
    eigenspaces that ``ē`` touches is at most c². It reaches c² where the secular equation
    ``1 = β² Σ_i ē_i²/(c² - Λ_i)`` holds :cite:p:`golub1973`.
    """
    touched = label_svd.touched
    if len(touched) == 0:
        return _NOTHING_TO_LEARN
    spectrum = label_svd.spectrum[touched]
    mean = label_svd.mean[touched]
    c = threshold / label_svd.labels.scale
    if spectrum.max() >= c:
        return _already_learned(float(spectrum.max()) * label_svd.labels.scale, threshold)
    # BurerMonteiro difference of squares: c close to a singular value must not cancel.
    return _where_it_reaches(float(np.sum(mean**2 / ((c - spectrum) * (c + spectrum)))))


def critical_point_of_tail(labels: LongTail, threshold: float) -> CriticalPoint:
    """Find the same for labels without a decomposition.

    ``ē`` touches every eigenspace of ``A_c A_cᵀ`` but the null space of ``A_c``: in that of an eigenvalue λ the vector
    is ``(Λ - λ)^{-1} p``, and its product with ``ē`` is α by the secular equation.
    """
    if not labels.mean.any():
        return _NOTHING_TO_LEARN
    c = threshold / labels.scale
    pencil = labels.pencil(c)
    if pencil.count_above(c, np.zeros((1, len(labels.roots))))[0] > 0:
        return _already_learned(pencil.largest_at_rest() * labels.scale, threshold)
    return _where_it_reaches(pencil.quadratic_at(c, labels.mean))


_NOTHING_TO_LEARN = CriticalPoint(
    math.inf, "The mean label is zero, so the bias is zero and the mean direction is not learned at any bias decay."
)


def _already_learned(largest: float, threshold: float) -> CriticalPoint:
    return CriticalPoint(
        0.0,
        "The mean label has a part along a learned direction of the centered labels: a singular value of "
        f"{largest:.6g} is at or above the threshold c = {threshold:.6g}. So every bias decay above zero turns the "
        "class means.",
    )


def _where_it_reaches(form: float) -> CriticalPoint:
    """From ``Σ_i ē_i²/(c² - Λ_i)``."""
    beta = 1.0 / math.sqrt(form)
    if beta >= 1.0:
        return CriticalPoint(
            math.inf,
            "The mean label is too short against the threshold c: even without a bias the mean direction is "
            "not learned.",
        )
    critical = beta / (1.0 - beta)
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.6g} the bias takes up the mean label and the class means stay as with a "
        "free bias; above it the mean direction is learned too and the frame turns.",
    )
