"""The convex problem that the UFM under MSE reduces to, solved for given labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encollapse._typing import FloatArray
from encollapse.ufm.certificate import Certificate, duality_gap
from encollapse.ufm.newton import split_mean
from encollapse.ufm.reduction import EPS, Reduction


@dataclass(frozen=True, eq=False)
class Minimiser:
    """Minimiser ``(Z, b)`` of ``½|Z + b uᵀ - A|² + c|Z|_* + λ_b/2|b|²``, in units of the labels.

    Attributes
    ----------
    loss : float
        The minimum.
    certificate : Certificate
        Its duality gap.
    bias : (q,)
        b.
    left, singular, right : (q, r), (min(q, K),), (r, K)
        ``Z = left diag(singular[:r]) right``; the singular values beyond the rank r are 0.
    iterations : int
        Newton steps taken for the bias.
    """

    loss: float
    certificate: Certificate
    bias: FloatArray
    left: FloatArray
    singular: FloatArray
    right: FloatArray
    iterations: int


def minimise(reduction: Reduction, threshold: float, bias_decay: float) -> Minimiser:
    """Minimise the convex problem; `threshold` is c in units of the labels."""
    labels = reduction.labels
    shift, bias, iterations = _split(reduction, threshold, bias_decay)
    left, singular, right = np.linalg.svd(
        labels.centered + np.outer(shift, labels.root_priors), full_matrices=False
    )
    # Singular values that exceed c by rounding only are not learnt.
    excess = singular - threshold
    learnt = excess > 8 * EPS * max(threshold, float(singular[0]))
    shrunk = np.where(learnt, excess, 0.0)
    rank = int(learnt.sum())
    outputs = (left[:, :rank] * shrunk[:rank]) @ right[:rank]
    dual = (left * np.minimum(singular, threshold)) @ right
    loss, certificate = duality_gap(
        labels, outputs, dual, float(shrunk.sum()), shift, bias, threshold, bias_decay
    )
    return Minimiser(loss, certificate, bias, left[:, :rank].copy(), shrunk, right[:rank].copy(), iterations)


def _split(reduction: Reduction, threshold: float, bias_decay: float) -> tuple[FloatArray, FloatArray, int]:
    """Split the mean label into what the features learn and what the bias takes, and count the steps."""
    mean = reduction.labels.mean
    if bias_decay == 0.0:
        return np.zeros_like(mean), mean.copy(), 0
    if math.isinf(bias_decay):
        return mean.copy(), np.zeros_like(mean), 0
    split = split_mean(reduction.spectrum, reduction.coordinates, threshold, bias_decay)
    return reduction.basis @ split.shift, reduction.basis @ split.bias, split.iterations
