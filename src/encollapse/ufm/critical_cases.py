"""The critical bias decay under depth, a limited rank or non-negative features; None where it is not known."""

from __future__ import annotations

import math

import numpy as np

from encollapse.ufm.critical import CriticalPoint
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.mse.label_svd import LabelSVD

_NO_MEAN = "The mean label is zero, so the bias is zero and the mean direction is not learned at any bias decay."


def limited_critical(point: CriticalPoint, rank: int, feature_dim: int) -> CriticalPoint:
    """Keep the critical point of wide features where `feature_dim` leaves it alone.

    Parameters
    ----------
    point : CriticalPoint
        Of wide features.
    rank : int
        Rank of their minimizer at ``λ_b = 0``.
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


def deep_critical(label_svd: LabelSVD, schatten_prox: SchattenProx, limit: int) -> CriticalPoint:
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
        return CriticalPoint(math.inf, _NO_MEAN)
    scale = label_svd.labels.scale
    learned = int(np.count_nonzero(spectrum > threshold))
    if limit < learned:
        return _crowded(learned, limit)
    largest = float(spectrum[touched].max())
    if largest > threshold:
        return CriticalPoint(
            0.0,
            "The mean label has a part along a learned direction of the centered labels: a singular value of "
            f"{largest * scale:.6g} is above the threshold {threshold * scale:.6g}. So every bias decay above "
            "zero turns the class means.",
        )
    if largest > 0:
        return CriticalPoint(
            None,
            "The mean label has a part along centered labels that are not learned, and with several weight layers the "
            "problem is not convex: no critical bias decay is known. bias_path shows what happens.",
        )
    length = float(np.linalg.norm(label_svd.labels.mean))
    if length <= threshold:
        return CriticalPoint(
            math.inf,
            f"The mean label has length {length * scale:.6g}, at or below the threshold {threshold * scale:.6g}: even "
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
            f"{critical:.6g} on; for this encoding that is not proved to be the global minimum.",
        )
    return CriticalPoint(
        critical,
        f"Up to a bias decay of {critical:.6g} the bias takes up the mean label; there the mean direction is learned "
        "by a jump, for with several weight layers the transition is of first order.",
    )


def relu_critical(
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
            "The features are learned at every bias decay, and features without negative entries have a mean: every "
            "bias decay above zero turns the classifier, while the features keep their frame.",
        )
    beta = (math.sqrt(missing) if a > threshold else threshold) / mean
    if beta >= 1.0:
        return CriticalPoint(math.inf, "The threshold c is too large: even without a bias nothing is learned.")
    critical = beta / (1.0 - beta)
    return CriticalPoint(critical, f"Up to a bias decay of {critical:.6g} nothing is learned at all.")
