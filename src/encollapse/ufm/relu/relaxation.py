"""The relaxation of non-negative features to doubly nonnegative Gram matrices, by augmented Lagrangians.

Features V (K, K) of any sign whose Gram matrix ``VᵀV`` has no entry below 0 are a relaxation: the Gram matrix of every
non-negative matrix is among theirs. With multipliers ``P ≥ 0`` of these inequalities a minimizer has
``V (c² I - YᵀY - N) = 0`` for ``N = P`` times the price of the classifier, and at the global one the bracket is
positive semidefinite. So the multipliers are the split that the lower bound needs. The bound is valid at every step,
and at the end it is the minimum of the relaxation.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.relu.lower_bound import NonnegativeModel, best_split, raised, relu_lower_bound

_ROUNDS = 40  # of the penalty
_STEPS = 400  # of L-BFGS a round
_FEASIBLE = 1e-11  # a violation below this share of the largest entry is rounding
_GROWTH = 4.0  # of the penalty where a round has not brought the violation down to a quarter


def relax(
    model: NonnegativeModel, features: FloatArray, rest: FloatArray, *, bound: float, loss: float
) -> tuple[float, FloatArray]:
    """Minimize over the relaxation. Return a lower bound, and the features V (K, K) that reach it.

    Parameters
    ----------
    model : NonnegativeModel
        The objective.
    features, rest
        Non-negative features to start from.
    bound, loss : float
        A lower bound known before, and the least value known. The search ends where they meet to 1e-9.
    """
    k = model.num_classes
    outputs = model.outputs(features, rest)
    values, vectors = np.linalg.eigh(features.T @ features)
    start = np.sqrt(np.maximum(values, 1e-6 * max(float(values[-1]), 1e-300)))[:, None] * vectors.T
    rest = model.rest_of(outputs, start, rest)
    x, shape = np.concatenate([start.ravel(), rest]), (k, k)
    gram = model.dual(start, rest).gram
    multipliers = best_split(gram, model.threshold, raised(gram)) / model.weight_price
    price = model.threshold**2 / model.weight_price
    penalty = 10.0 * price / max(float(values[-1]), 1e-300)
    scale = 1.0 / loss
    inside = ~np.eye(k, dtype=bool)

    def lagrangian(x: FloatArray) -> tuple[float, FloatArray]:
        v = x[: k * k].reshape(shape)
        value, slope, other = model.value_and_gradient(v, x[k * k :])
        pushed = np.where(inside, np.maximum(multipliers - penalty * (v.T @ v), 0.0), 0.0)
        value += float(np.sum(pushed**2) - np.sum(multipliers**2)) / (4.0 * penalty)
        return scale * value, scale * np.concatenate([(slope - v @ pushed).ravel(), other])

    violated = np.inf
    best, enough = bound, loss * (1.0 - 1e-9)
    waited = 0
    for _ in range(_ROUNDS):
        x = minimize(
            lagrangian,
            x,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _STEPS, "maxfun": 2 * _STEPS, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30},
        ).x
        v = x[: k * k].reshape(shape)
        gram = v.T @ v
        before = multipliers
        multipliers = np.where(inside, np.maximum(multipliers - penalty * gram, 0.0), 0.0)
        found = relu_lower_bound(model, v, x[k * k :], [model.weight_price * multipliers], enough=-np.inf)
        now = float(np.abs(multipliers - before).max()) / penalty
        gained = found - best
        waited = 0 if gained > 1e-3 * (loss - max(best, found)) else waited + 1
        best = max(best, found)
        if best >= enough or waited > 4 or now <= _FEASIBLE * float(gram.max()):
            break
        if now > 0.25 * violated:
            penalty *= _GROWTH
        violated = now
    return best, v
