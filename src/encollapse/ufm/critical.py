"""The critical bias decay, from the optimality conditions, or None where it is not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from encollapse._internal.format import count
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.label_structure import LabelStructure
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.mean_price import minimize_priced
from encollapse.ufm.mse.minimize import minimize_along
from encollapse.ufm.structured.long_tail import LongTail, minimize_tail

_ALMOST = 1.0 - 1e-9
"""``β`` of a bias that costs so much that it is next to nothing."""
_BRACKETS = 16  # parts of the range that are searched for a change of sign
_CARRIED = 1e-9
"""Rounding of the share of the mean label that features carry."""


@dataclass(frozen=True)
class CriticalPoint:
    """The smallest ``λ_b`` above which ``Z u ≠ 0`` (None: not known), and the reason in words."""

    bias_decay: float | None
    reason: str


def critical_point(
    structure: LabelStructure,
    prox: SchattenProx,
    feature_dim: int | None,
    features: str,
    *,
    mean_root: float = 1.0,
    weighted: bool = False,
) -> CriticalPoint:
    """Find where the mean direction starts to be learned.

    Parameters
    ----------
    structure : LabelStructure
        The labels and the loss.
    prox : SchattenProx
        What the layers do to one singular value.
    feature_dim : int, optional
        d. None is wide enough.
    features : {"linear", "relu"}
        Sign constraint of the features.
    mean_root : float
        ``ρ``, the root of the price of the features' mean over that of the features.
    weighted : bool
        Whether classes weigh differently in the loss.
    """
    if weighted:
        return _WEIGHTED
    if structure.loss is not None:
        return _NO_CLOSED_FORM if features == "linear" else _NO_CLOSED_FORM_RELU
    limit, classes = structure.rank_limit(feature_dim), len(structure.counts)
    if features == "relu":
        return _relu_critical(prox.threshold, classes, structure.affine_form, structure.is_balanced)
    if prox.factors > 2:
        label_svd = structure.dense_label_svd
        return _deep_critical(label_svd, prox.in_units(label_svd.labels.scale), limit)
    if structure.long_tail is not None:
        point = _long_tail_critical(structure.long_tail, prox.threshold, mean_root)
    else:
        point = _linear_critical(structure.label_svd, prox.threshold, mean_root)
    if feature_dim is None or limit == structure.rank_limit(None):
        return point
    # The critical point of wide features stands where the minimizers on both sides of it fit.
    rank = structure.centered_rank(prox.threshold)
    turning = point.bias_decay is not None and 0 < point.bias_decay < math.inf
    return point if feature_dim >= rank + turning else _crowded(rank, feature_dim)


_NO_CLOSED_FORM = CriticalPoint(
    None,
    "Only MSE has a closed form for the bias decay at which the mean direction starts to be learned: under another "
    "loss what the bias takes up depends on the outputs of every class. At a bias decay of 0 it is not learned. "
    "Solving the problem at several bias decays shows where it starts.",
)
_WEIGHTED = CriticalPoint(
    None,
    "With class weights no closed form is known for the bias decay at which the mean direction starts to be learned. "
    "Solving the problem at several bias decays shows where it starts.",
)
_NO_CLOSED_FORM_RELU = CriticalPoint(
    None,
    "Under another loss than MSE no critical bias decay is known with non-negative features. Under cross-entropy with "
    "balanced affine images of one-hot labels there is none to know: the features are orthogonal, the classifier is a "
    "simplex and the bias is zero at every bias decay. For other labels, solving the problem at several bias decays "
    "shows what happens.",
)
_NO_MEAN = CriticalPoint(
    math.inf, "The mean label is zero, so the bias is zero and the mean direction is not learned at any bias decay."
)


def _linear_critical(label_svd: LabelSVD, threshold: float, mean_root: float) -> CriticalPoint:
    """Find where the mean direction starts to be learned.

    As long as ``Z u = 0`` the bias is ``ē/(1 + λ_b)`` and ``x = β ē`` with ``β = λ_b/(1 + λ_b)``. That is
    optimal exactly when soft-thresholding ``A_c + β ē uᵀ`` leaves ``u`` alone, which means that no singular
    value above c has a left vector touching ``ē``: the largest eigenvalue of ``Λ + β² ē ēᵀ`` on the
    eigenspaces that ``ē`` touches is at most c². It reaches c² where the secular equation
    ``1 = β² Σ_i ē_i²/(c² - Λ_i)`` holds :cite:p:`golub1973`. A price ``ρ²`` of the features' mean divides β by ρ.
    """
    touched = label_svd.touched
    if len(touched) == 0:
        return _NO_MEAN
    spectrum = label_svd.spectrum[touched]
    mean = label_svd.mean[touched]
    c = threshold / label_svd.labels.scale
    if spectrum.max() >= c:
        return _already_learned(float(spectrum.max()) * label_svd.labels.scale, threshold)
    # A factored difference of squares: c close to a singular value must not cancel.
    return _where_it_reaches(float(np.sum(mean**2 / ((c - spectrum) * (c + spectrum)))), mean_root)


def _long_tail_critical(labels: LongTail, threshold: float, mean_root: float) -> CriticalPoint:
    """Find the same for labels without a decomposition.

    ``ē`` touches every eigenspace of ``A_c A_cᵀ`` but the null space of ``A_c``: in that of an eigenvalue λ the vector
    is ``(Λ - λ)^{-1} p``, and its product with ``ē`` is α by the secular equation.
    """
    if not labels.mean.any():
        return _NO_MEAN
    c = threshold / labels.scale
    pencil = labels.pencil(c)
    if pencil.count_above(c, np.zeros((1, len(labels.roots))))[0] > 0:
        return _already_learned(pencil.largest_at_rest() * labels.scale, threshold)
    return _where_it_reaches(pencil.quadratic_at(c, labels.mean), mean_root)


def _already_learned(largest: float, threshold: float) -> CriticalPoint:
    return CriticalPoint(
        0.0,
        "The mean label has a part along a learned direction of the centered labels: a singular value of "
        f"{largest:.4g} is at or above the threshold c = {threshold:.4g}. So every bias decay above zero turns the "
        "class means.",
    )


def _where_it_reaches(form: float, mean_root: float) -> CriticalPoint:
    """From ``Σ_i ē_i²/(c² - Λ_i)`` and ρ."""
    beta = mean_root / math.sqrt(form)
    if beta >= 1.0:
        return CriticalPoint(
            math.inf,
            "The mean label is too short against the threshold c: even without a bias the mean direction is "
            "not learned.",
        )
    critical = beta / (1.0 - beta)
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.4g} the bias takes up the mean label, and the class means stay as with a "
        "free bias. Above it the mean direction is learned too, and the frame turns.",
    )


def practical_point(structure: LabelStructure, threshold: float, mean_root: float, share: float) -> float:
    """Smallest ``λ_b`` at which the features carry a share of the mean label that they carry without a bias.

    The share ``1 - |Z u - ē|/|ē|`` never falls in ``β = λ_b/(1 + λ_b)``, for ``Z u`` is the proximal path of a convex
    function: the larger the weight of ``½|Z u - ē|²``, the smaller that term at the minimum. The bias alone tells it,
    so no singular vectors are needed: a few values together bracket the root, which the secant then finds.
    """
    carried = _carried(structure, threshold, mean_root)
    if carried is None:
        return math.inf
    grid = np.append(np.linspace(0.0, 1.0, _BRACKETS, endpoint=False)[1:], _ALMOST)
    shares = carried(grid)
    most = float(shares[-1])
    if most <= _CARRIED:
        return math.inf
    i = int(np.argmax(shares >= share * most))
    low, high = (0.0 if i == 0 else float(grid[i - 1])), float(grid[i])
    beta = brentq(lambda value: float(carried(np.array([value]))[0]) - share * most, low, high, xtol=1e-14, rtol=1e-13)
    return float(beta / (1.0 - beta))


def _carried(
    structure: LabelStructure, threshold: float, mean_root: float
) -> Callable[[FloatArray], FloatArray] | None:
    """What features carry of the mean label at values of β (m,), or None where it is zero.

    With the mean label ``ρ ē`` at ``β' = β/ρ²`` the stationarity of the bias gives ``(1 + λ_b')|b'|/(ρ |ē|)`` for the
    rest, as long as ``β' < 1``.
    """
    labels: LongTail | LabelSVD
    tail = structure.long_tail
    if tail is not None and mean_root == 1.0 and not tail.is_buried:
        labels, scale, mean = tail, tail.scale, tail.mean
        if not mean.any():
            return None
    else:
        found = structure.label_svd
        if not len(found.touched):
            return None
        scale, mean = found.labels.scale, found.labels.mean
        labels = found if mean_root == 1.0 else LabelSVD.of(replace(found.labels, mean=mean_root * mean))
    c, length = threshold / scale, float(np.linalg.norm(mean))

    def carried(betas: FloatArray) -> FloatArray:
        primed = betas / mean_root**2
        below = primed < 1.0
        decays = primed[below] / (1.0 - primed[below])
        minima: Sequence[Minimum[Any]] = []
        if len(decays):
            minima = (
                minimize_tail(labels, c, decays) if isinstance(labels, LongTail) else minimize_along(labels, c, decays)
            )
        result = np.empty_like(betas)
        lengths = np.array([float(np.linalg.norm(one.bias)) for one in minima])
        result[below] = 1.0 - (1.0 + decays) * lengths / (mean_root * length)
        for i in np.flatnonzero(~below):
            priced = minimize_priced(structure.label_svd, c, betas[i] / (1.0 - betas[i]), mean_root, 1.0)
            result[i] = 1.0 - float(np.linalg.norm(priced.bias)) / (1.0 - betas[i]) / length
        return result

    return carried


def _crowded(rank: int, feature_dim: int) -> CriticalPoint:
    return CriticalPoint(
        None,
        f"With {count(feature_dim, 'feature dimension')} there is no room for the mean direction beside the "
        f"{rank} that a free bias leaves to the features. They compete for room, the problem is not convex, and no "
        "critical bias decay is known. Solving the problem at several bias decays shows what happens.",
    )


def _deep_critical(label_svd: LabelSVD, schatten_prox: SchattenProx, limit: int) -> CriticalPoint:
    """Find where the mean direction starts to be learned by several weight layers.

    Where ``ē`` is orthogonal to the centered labels, the mean direction alone is the scalar problem
    ``β/2 (s - |ē|)² + κ s^r``: it is learned once ``|ē|`` exceeds the threshold of ``κ/β``, at
    ``β = (threshold/|ē|)^{2-r}``, and by a jump. That this is the global minimum is proved by the lower bound of
    :meth:`SchattenModel.lower_bound` if ``√β |ē|`` is the smallest of K singular values.

    Parameters
    ----------
    label_svd : LabelSVD
        Of the dense labels.
    schatten_prox : SchattenProx
        The scalar problem, in units of the labels.
    limit : int
        Largest possible rank.
    """
    touched, spectrum, threshold = label_svd.touched, label_svd.spectrum, schatten_prox.threshold
    if len(touched) == 0:
        return _NO_MEAN
    scale = label_svd.labels.scale
    learned = int(np.count_nonzero(spectrum > threshold))
    if limit < learned:
        return _crowded(learned, limit)
    largest = float(spectrum[touched].max())
    if largest > threshold:
        return CriticalPoint(
            0.0,
            "The mean label has a part along a learned direction of the centered labels: a singular value of "
            f"{largest * scale:.4g} is above the threshold {threshold * scale:.4g}. So every bias decay above "
            "zero turns the class means.",
        )
    if largest > 0:
        return CriticalPoint(
            None,
            "The mean label has a part along centered labels that are not learned, and with several weight layers the "
            "problem is not convex: no critical bias decay is known. Solving the problem at several bias decays "
            "shows what happens.",
        )
    length = float(np.linalg.norm(label_svd.labels.mean))
    if length <= threshold:
        return CriticalPoint(
            math.inf,
            f"The mean label has length {length * scale:.4g}, at or below the threshold {threshold * scale:.4g}: even "
            "without a bias the mean direction is not learned.",
        )
    if limit == learned:
        return _crowded(learned, limit)
    beta = (threshold / length) ** (2.0 - schatten_prox.power)
    critical = beta / (1.0 - beta)
    centered = spectrum[spectrum > 0]
    classes = label_svd.labels.centered.shape[1]
    smallest = float(centered.min()) if len(centered) == classes - 1 else 0.0
    if math.sqrt(beta) * length > smallest * (1 + 1e-12):
        return CriticalPoint(
            None,
            "The mean direction on its own would be learned, by a jump, from a bias decay of "
            f"{critical:.4g} on. For this encoding that is not proved to be the global minimum.",
        )
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.4g} the bias takes up the mean label. There the mean direction is learned "
        "by a jump, since with several weight layers the transition is of first order.",
    )


def _relu_critical(
    threshold: float, num_classes: int, form: tuple[float, float] | None, is_balanced: bool
) -> CriticalPoint:
    """Find where the mean output is learned by features that are not negative.

    For balanced affine images of one-hot labels, ``a`` the singular value of the centered labels and e that of
    the mean, the learning of an orthogonal frame sets in where ``(K - 1) a² + β² e² > K c²``, and of the mean alone
    where ``β e > c``. Features that are not negative have a mean as soon as they are not zero.

    Parameters
    ----------
    threshold : float
        c.
    num_classes : int
        K.
    form : (α, γ), optional
        Codewords ``α I + γ 11ᵀ``, if they are of this form.
    is_balanced : bool
        Whether all counts agree.
    """
    if form is None or not is_balanced:
        return CriticalPoint(
            None,
            "With non-negative features a critical bias decay is known for balanced affine images of one-hot labels "
            "only. Solving the problem at several bias decays shows what happens.",
        )
    alpha, gamma = form
    a = abs(alpha) / math.sqrt(num_classes)
    mean = abs(alpha / num_classes + gamma) * math.sqrt(num_classes)
    if mean <= 64 * EPS * abs(alpha):
        return _NO_MEAN
    missing = num_classes * threshold**2 - (num_classes - 1) * a**2
    if missing < 0:
        return CriticalPoint(
            0.0,
            "The features are learned at every bias decay, and features without negative entries have a mean: every "
            "bias decay above zero turns the classifier, while the features keep their frame.",
        )
    beta = (math.sqrt(missing) if a > threshold else threshold) / mean
    if beta >= 1.0:
        return CriticalPoint(math.inf, "The threshold c is too large: even without a bias nothing is learned.")
    critical = beta / (1.0 - beta)
    return CriticalPoint(critical, f"Up to a bias decay of {critical:.4g} nothing is learned at all.")
