"""Squared error where the global mean of the features has a price of its own, as a batch normalization gives it.

With ``ρ² = λ_mean/λ_H``, ``Ẑ = Z(P + ρ u uᵀ)``, ``β = λ_b/(1 + λ_b)`` and ``β' = β/ρ²`` the problem without its bias is

    ``½|Ẑ P - A_c|² + (β'/2)|Ẑ u - ρ ē|² + c|Ẑ|_*``

For ``β' ≤ 1`` that is the ordinary problem of the mean label ``ρ ē`` at ``λ_b' = β'/(1 - β')``. Above 1 the same
stationarity equation holds with ``λ_b' < -1``, where the bias maximizes a concave function
(docs/theory-practice.md, "Different decays of gains and offsets").
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from encollapse._internal.rounding import EPS, TINY
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.bias_decay import mean_share
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors, balanced_factors
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.minimize import minimize


def minimize_priced(
    label_svd: LabelSVD, threshold: float, bias_decay: float, mean_root: float, balance: float
) -> Minimum[DenseFactors]:
    """Minimize, with everything in units of the labels.

    Parameters
    ----------
    label_svd : LabelSVD
        Of the (q, K) labels.
    threshold, bias_decay : float
        c in units of the labels, and ``λ_b``.
    mean_root : float
        ``ρ``. Infinity keeps the mean of the features at 0.
    balance : float
        ``(N λ_H/λ_W)^{1/4}`` for labels of unit size.
    """
    labels = label_svd.labels
    beta = mean_share(bias_decay)
    if math.isinf(mean_root) or mean_root == 0.0:
        return _without_price(label_svd, threshold, beta, balance, free=mean_root == 0.0)
    scaled = label_svd if mean_root == 1.0 else LabelSVD.of(replace(labels, mean=mean_root * labels.mean))
    ratio = beta / max(mean_root**2, TINY)
    if ratio * EPS > 1.0:
        raise ArgumentError(
            f"feature_mean_decay: expected 0, or more than {EPS:.1e} of feature_decay times "
            f"bias_decay/(1 + bias_decay), got {mean_root**2:.1e} of feature_decay"
        )
    found = minimize(scaled, threshold, math.inf if ratio == 1.0 else ratio / (1.0 - ratio))
    t = found.factors.triplets()
    factors = priced_factors(t.left, t.singular, t.right, labels.root_priors, balance, 1.0 / mean_root)
    common = (t.left * t.singular) @ (t.right @ labels.root_priors) / mean_root
    bias = np.zeros_like(labels.mean) if math.isinf(bias_decay) else (labels.mean - common) / (1.0 + bias_decay)
    return replace(found.in_units(1.0, factors), bias=bias)


def _without_price(
    label_svd: LabelSVD, threshold: float, beta: float, balance: float, *, free: bool
) -> Minimum[DenseFactors]:
    """The limits: a mean that is held at 0, or one that is free.

    A free mean takes over what the bias would have to pay for, where the classifier reaches the mean label. Without a
    price on the bias either of them can carry it, and the bias does.
    """
    labels = label_svd.labels
    found = minimize(label_svd, threshold, 0.0)
    t = found.factors.triplets()
    factors = priced_factors(t.left, t.singular, t.right, labels.root_priors, balance, 0.0)
    if free:
        if beta == 0.0:
            return replace(found.in_units(1.0, factors), unique=not len(t.singular))
        center = np.linalg.lstsq(factors.weight, labels.mean, rcond=None)[0]
        moved = factors.means + center[:, None]
        values = _values(factors.weight @ moved * labels.root_priors, len(factors.values))
        return replace(
            found.in_units(1.0, replace(factors, means=moved, values=values)), bias=np.zeros_like(labels.mean)
        )
    extra = 0.5 * beta * float(labels.mean @ labels.mean)
    certificate = replace(found.certificate, lower_bound=found.certificate.lower_bound + extra)
    return replace(
        found.in_units(1.0, factors), loss=found.loss + extra, bias=(1.0 - beta) * labels.mean, certificate=certificate
    )


def reaches_mean(label_svd: LabelSVD, threshold: float) -> bool:
    """Whether the classifier that a free bias leaves reaches the mean label: it lies along learned directions."""
    return bool((label_svd.spectrum[label_svd.touched] > threshold).all())


def priced_factors(
    left: FloatArray, singular: FloatArray, right: FloatArray, root_priors: FloatArray, balance: float, inverse: float
) -> DenseFactors:
    """Split ``Ẑ`` into a classifier and class means. Their common part is `inverse` = ``1/ρ`` times that of ``Ẑ``."""
    factors = balanced_factors(left, singular, right, root_priors, balance)
    center = factors.means @ root_priors**2
    means = factors.means + (inverse - 1.0) * center[:, None]
    # Triplets of Ẑ (P + u uᵀ/ρ); a thin matrix, as the left vectors are orthonormal.
    common = (inverse - 1.0) * (right @ root_priors)
    inner = singular[:, None] * (right + np.outer(common, root_priors))
    return replace(factors, means=means, values=_values(inner, len(factors.values)))


def _values(matrix: FloatArray, count: int) -> FloatArray:
    """Singular values of a matrix, filled up with zeros to `count`."""
    found = np.zeros(count)
    values = np.linalg.svd(matrix, compute_uv=False)[:count]
    found[: len(values)] = values
    return found
