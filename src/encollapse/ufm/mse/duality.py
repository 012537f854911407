"""Loss and certificate of any point of the convex problem under MSE, from the point alone."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.bias_decay import bias_penalty
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.mse.weighted_labels import WeightedLabels


def duality_gap(
    labels: WeightedLabels,
    outputs: FloatArray,
    dual: FloatArray,
    nuclear_norm: float,
    shift: FloatArray,
    bias: FloatArray,
    threshold: float,
    bias_decay: float,
) -> tuple[float, Certificate]:
    """Loss of ``(Z, b)`` and a certificate, both in units of ``labels.scale²``.

    The primal is ``½|Z + b uᵀ - A|² + c|Z|_* + λ_b/2|b|²``. Its dual is to maximize
    ``<Y, A> - ½|Y|² - |Y u|²/(2λ_b)`` over ``|Y|_op ≤ c`` (``Y u = 0`` at ``λ_b = 0``, no last term at ∞). The
    given candidate is moved so that ``Y u = λ_b b`` to the last bit and scaled back into the ball: it is
    feasible whatever the primal point, so the bound holds even if the solver failed.

    Parameters
    ----------
    labels : WeightedLabels
        The labels.
    outputs : (q, K)
        Z.
    dual : (q, K)
        Candidate for Y, best taken from the clipped singular values: the difference ``A - b uᵀ - Z`` would
        carry the rounding of A, which drowns a small c.
    nuclear_norm : float
        ``|Z|_*``.
    shift, bias : (q,)
        ``ē - b`` and b.
    threshold, bias_decay : float
        c (in units of ``labels.scale``) and ``λ_b``.
    """
    u = labels.root_priors
    residual = labels.centered + np.outer(shift, u) - outputs
    penalty = bias_penalty(bias_decay, bias)
    loss = 0.5 * float(np.sum(residual**2)) + threshold * nuclear_norm + penalty
    dual_mean = dual @ u if math.isinf(bias_decay) else bias_decay * bias
    dual = dual + np.outer(dual_mean - dual @ u, u)
    largest = _operator_norm_bound(dual, threshold)
    shrink = 1.0 if largest <= threshold else threshold / largest
    # <Y, A> = <Y, A_c> + <Y u, ē>: the large common part of the labels meets the exact Y u only.
    linear = float(np.sum(dual * labels.centered) + dual_mean @ labels.mean)
    bound = shrink * linear - shrink**2 * (0.5 * float(np.sum(dual**2)) + penalty)
    return loss, certify(loss, min(bound, loss))


def _operator_norm_bound(matrix: FloatArray, expected: float) -> float:
    """Upper bound of the largest singular value, cheap for large matrices where it is near `expected`.

    A Cholesky factorization of ``(1 + δ)² expected² I - Y Yᵀ`` exists only if the norm is below
    ``(1 + δ) expected``. δ covers the rounding of the product.
    """
    n = min(matrix.shape)
    if n > 128:
        small = matrix if matrix.shape[0] == n else matrix.T
        slack = 1.0 + n * EPS
        test = -(small @ small.T)
        test[np.diag_indices_from(test)] += (slack * expected) ** 2
        with contextlib.suppress(np.linalg.LinAlgError):
            np.linalg.cholesky(test)
            return float(slack * expected)
    return float(np.linalg.norm(matrix, 2))
