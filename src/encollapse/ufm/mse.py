"""The convex problem that the UFM under MSE reduces to, solved for given labels."""

from __future__ import annotations

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
    found = _decompose(reduction, threshold, bias_decay)
    # Singular values that exceed c by rounding only are not learnt.
    excess = found.singular - threshold
    largest = float(found.singular.max(initial=0.0))
    order = np.argsort(-found.singular)
    kept = order[excess[order] > 8 * EPS * max(threshold, largest)]
    left, right, shrunk = found.left[:, kept], found.right[:, kept], excess[kept]
    outputs = (left * shrunk) @ right.T
    # The difference of labels and outputs would carry the rounding of the labels, which drowns a small c.
    dual = (found.left * np.minimum(found.singular, threshold)) @ found.right.T
    loss, certificate = duality_gap(
        labels, outputs, dual, float(shrunk.sum()), found.shift, found.bias, threshold, bias_decay
    )
    singular = np.zeros(min(labels.centered.shape))
    singular[: len(kept)] = shrunk
    return Minimiser(loss, certificate, found.bias, left, singular, right.T, found.iterations)


@dataclass(frozen=True, eq=False)
class _Decomposition:
    """Singular triplets of ``A_c + x uᵀ`` (columns), and the split of the mean label, ``shift + bias = ē``."""

    left: FloatArray
    singular: FloatArray
    right: FloatArray
    shift: FloatArray
    bias: FloatArray
    iterations: int


def _decompose(reduction: Reduction, threshold: float, bias_decay: float) -> _Decomposition:
    """Find the optimal shift x, and update the decomposition of the centred labels by it."""
    r, t = reduction, np.flatnonzero(reduction.mean)
    if bias_decay == 0.0 or len(t) == 0:
        zero = np.zeros_like(r.labels.mean)
        bias = r.labels.mean.copy() if bias_decay == 0.0 else zero
        return _Decomposition(r.left, r.spectrum, r.right, zero, bias, 0)
    split = split_mean(r.spectrum[t], r.mean[t], threshold, bias_decay)
    # A_c + x uᵀ = [left_t Q] σ [(right_t diag(d) Q + u wᵀ)/σ]ᵀ on the touched triplets; the others stay.
    updated = r.right[:, t] @ (r.spectrum[t, None] * split.vectors) + np.outer(
        r.labels.root_priors, split.weights
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        updated = np.where(split.singular > 0, updated / split.singular, 0.0)
    inert = np.setdiff1d(np.arange(len(r.spectrum)), t)
    return _Decomposition(
        left=np.column_stack([r.left[:, t] @ split.vectors, r.left[:, inert]]),
        singular=np.concatenate([split.singular, r.spectrum[inert]]),
        right=np.column_stack([updated, r.right[:, inert]]),
        shift=r.left[:, t] @ split.shift,
        bias=r.left[:, t] @ split.bias,
        iterations=split.iterations,
    )
