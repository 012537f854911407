"""The critical bias decay under depth, a limited rank or non-negative features; None where it is not known."""

from __future__ import annotations

import math

import numpy as np

from encollapse.ufm.critical import CriticalPoint
from encollapse.ufm.deep.schatten_prox import Shrinkage
from encollapse.ufm.mse.label_svd import Reduction

_NO_MEAN = (
    "The mean label is zero, so the bias is zero and the mean direction is not learnt at any bias decay."
)


def limited_critical(point: CriticalPoint, rank: int, feature_dim: int) -> CriticalPoint:
    """Keep the critical point of wide features where `feature_dim` leaves it alone.

    Parameters
    ----------
    point : CriticalPoint
        Of wide features.
    rank : int
        Rank of their minimiser at ``λ_b = 0``.
    feature_dim : int
        d.
    """
    turning = point.bias_decay is not None and 0 < point.bias_decay < math.inf
    return point if feature_dim >= rank + turning else _crowded(rank, feature_dim)


def _crowded(rank: int, feature_dim: int) -> CriticalPoint:
    return CriticalPoint(
        None,
        f"feature_dim={feature_dim} leaves no room for the mean direction beside the {rank} directions that a free "
        "bias leaves to the features: they compete, the problem is not convex, and no critical bias decay is known. "
        "bias_path shows what happens.",
    )


def deep_critical(reduction: Reduction, shrinkage: Shrinkage, limit: int) -> CriticalPoint:
    """Find where the mean direction starts to be learnt by several weight layers.

    Where ``ē`` is orthogonal to the centred labels, the mean direction alone is the scalar problem
    ``β/2 (s - |ē|)² + κ s^r``: it is learnt once ``|ē|`` exceeds the threshold of ``κ/β``, at
    ``β = (threshold/|ē|)^{2-r}``, and by a jump. That this is the global minimum is proved by the lower bound of
    :meth:`SpectralModel.lower_bound` if ``√β |ē|`` is the smallest of K singular values.

    Parameters
    ----------
    reduction : Reduction
        Of the dense labels.
    shrinkage : Shrinkage
        The scalar problem, in units of the labels.
    limit : int
        Largest possible rank.
    """
    touched, spectrum, threshold = reduction.touched, reduction.spectrum, shrinkage.threshold
    if len(touched) == 0:
        return CriticalPoint(math.inf, _NO_MEAN)
    scale = reduction.labels.scale
    learnt = int(np.count_nonzero(spectrum > threshold))
    if limit < learnt:
        return _crowded(learnt, limit)
    largest = float(spectrum[touched].max())
    if largest > threshold:
        return CriticalPoint(
            0.0,
            "The mean label has a part along a learnt direction of the centred labels: a singular value of "
            f"{largest * scale:.6g} is above the threshold {threshold * scale:.6g}. So every bias decay above "
            "zero turns the class means.",
        )
    if largest > 0:
        return CriticalPoint(
            None,
            "The mean label has a part along centred labels that are not learnt, and with several weight layers the "
            "problem is not convex: no critical bias decay is known. bias_path shows what happens.",
        )
    length = float(np.linalg.norm(reduction.labels.mean))
    if length <= threshold:
        return CriticalPoint(
            math.inf,
            f"The mean label has length {length * scale:.6g}, at or below the threshold {threshold * scale:.6g}: even "
            "without a bias the mean direction is not learnt.",
        )
    if limit == learnt:
        return _crowded(learnt, limit)
    beta = (threshold / length) ** (2.0 - shrinkage.power)
    critical = beta / (1.0 - beta)
    centred = spectrum[spectrum > 0]
    classes = reduction.labels.centered.shape[1]
    smallest = float(centred.min()) if len(centred) == classes - 1 else 0.0
    if math.sqrt(beta) * length > smallest * (1 + 1e-12):
        return CriticalPoint(
            None,
            "The mean direction on its own would be learnt, by a jump, from a bias decay of "
            f"{critical:.6g} on; for this encoding that is not proved to be the global minimum.",
        )
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.6g} the bias takes up the mean label; there the mean direction is learnt "
        "by a jump, for with several weight layers the transition is of first order.",
    )


def relu_critical(
    threshold: float, num_classes: int, form: tuple[float, float] | None, is_balanced: bool
) -> CriticalPoint:
    """Find where the mean output is learnt by features that are not negative.

    For balanced affine images of one-hot labels, ``a`` the singular value of the centred labels and e that of
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
            "only. bias_path shows what happens.",
        )
    alpha, gamma = form
    a = abs(alpha) / math.sqrt(num_classes)
    mean = abs(alpha / num_classes + gamma) * math.sqrt(num_classes)
    if mean <= 64 * np.finfo(np.float64).eps * abs(alpha):
        return CriticalPoint(math.inf, _NO_MEAN)
    missing = num_classes * threshold**2 - (num_classes - 1) * a**2
    if missing < 0:
        return CriticalPoint(
            0.0,
            "The features are learnt at every bias decay, and features without negative entries have a mean: every "
            "bias decay above zero turns the classifier, while the features keep their frame.",
        )
    beta = (math.sqrt(missing) if a > threshold else threshold) / mean
    if beta >= 1.0:
        return CriticalPoint(math.inf, "The threshold c is too large: even without a bias nothing is learnt.")
    critical = beta / (1.0 - beta)
    return CriticalPoint(critical, f"Up to a bias decay of {critical:.6g} nothing is learnt at all.")
