"""Minimize a spectral model: in closed form where that is proved, else the best stationary point of several starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.bias_decay import bias_penalty
from encollapse.ufm.certificate import certify
from encollapse.ufm.deep.model import SchattenModel, SchattenState
from encollapse.ufm.deep.saddle_free_newton import lowest
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors

STATIONARY_TOLERANCE = 1e-8
"""Gradient, relative to the terms that cancel in it, up to which first-order conditions count as met."""

_RANDOM_STARTS = 6  # beside the structured ones
_LARGE = 200  # unknowns above which a single random start must do, at a cubic cost a step


def minimize_schatten(model: SchattenModel, *, known_bound: float = 0.0) -> Minimum[DenseFactors]:
    """Minimize the model, in units of the labels, with every factor under a decay of 1.

    At ``λ_b = 0`` the bias is ``ē``: every singular value of ``A_c + x uᵀ`` is at least that of ``A_c`` (Weyl), and
    each term of f grows with its singular value. The same holds at any ``λ_b`` where the mean label is zero. Without a
    bias there is nothing left to choose. In between, Newton steps descend from several starts.

    Parameters
    ----------
    model : SchattenModel
        What to minimize.
    known_bound : float
        A lower bound of the minimum from elsewhere, in units of the labels.

    Returns
    -------
    Minimum
        Its certificate is of kind ``theorem`` in closed form, ``duality_gap`` where the lower bound is met, else
        ``stationary``. It is not unique in a tie between a singular value that is kept and one that is not, and with
        a value on the threshold of learning.
    """
    r = model.label_svd
    closed = model.bias_decay == 0.0 or math.isinf(model.bias_decay) or len(r.touched) == 0
    if closed:
        shift = model.share * r.labels.mean
        bias = r.labels.mean / (1.0 + model.bias_decay)
        steps, at_rest = 0, True
    else:
        state, steps = lowest(_starts(model))
        basis = r.left[:, model.active]
        shift, bias = basis @ state.shift, basis @ state.bias
        at_rest = state.residual <= STATIONARY_TOLERANCE * state.magnitude
    return _assemble(model, shift, bias, steps, known_bound, closed=closed, at_rest=at_rest)


def _starts(model: SchattenModel) -> Iterator[SchattenState]:
    """The mean left to the bias, learned in full and half each, then random splits and directions."""
    mean = model.mean
    for fraction in (model.share, 1.0, 0.5 * model.share):
        shift = fraction * mean
        bias = mean / (1.0 + model.bias_decay) if fraction == model.share else mean - shift
        yield model.at(shift, bias)
    generator = np.random.default_rng(0)
    size = float(np.linalg.norm(mean))
    for _ in range(_RANDOM_STARTS if len(mean) <= _LARGE else 1):
        direction = generator.standard_normal(len(mean))
        noise = size * generator.uniform(0, 1) * direction / np.linalg.norm(direction)
        shift = generator.uniform(0, 1, len(mean)) * mean + noise
        yield model.at(shift, mean - shift)


def _assemble(
    model: SchattenModel,
    shift: FloatArray,
    bias: FloatArray,
    steps: int,
    known_bound: float,
    *,
    closed: bool,
    at_rest: bool,
) -> Minimum[DenseFactors]:
    labels = model.label_svd.labels
    target = labels.centered + np.outer(shift, labels.root_priors)
    left, values, right = np.linalg.svd(target, full_matrices=False)
    singular = model.outcomes(values)
    rank = int(np.count_nonzero(singular))
    left, right = left[:, :rank], right[:rank]
    residual = target - (left * singular[:rank]) @ right
    penalty = bias_penalty(model.bias_decay, bias)
    loss = 0.5 * float(np.sum(residual**2)) + float(model.schatten_prox.penalty(singular).sum()) + penalty
    bound = min(max(model.lower_bound(), known_bound), loss)
    certificate = certify(loss, bound)
    certificate = replace(certificate, kind="theorem") if closed else certificate.or_stationary(at_rest)
    # All p factors bear the same decay, so each has the p-th root of a singular value.
    root = singular[:rank] ** (1.0 / model.schatten_prox.factors)
    factors = DenseFactors(left * (singular[:rank] / root), root[:, None] * right / labels.root_priors, singular)
    return Minimum(loss, bias, certificate, steps, factors, unique=_unique(model, values, singular))


def _unique(model: SchattenModel, values: FloatArray, singular: FloatArray) -> bool:
    near = 64 * EPS * max(float(values[0]), model.schatten_prox.threshold)
    d = model.limit
    if d < len(values) and singular[d - 1] > 0 and values[d - 1] - values[d] <= near:
        return False
    jumps = model.schatten_prox.jump > 0
    return not (jumps and bool((np.abs(values[:d] - model.schatten_prox.threshold) <= near).any()))
