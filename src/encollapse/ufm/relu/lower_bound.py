"""A lower bound for non-negative features, from the doubly nonnegative relaxation."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.relu.model import ReluModel

_LARGEST = 200
"""Above this many classes the split of the gradient is not optimized."""


def relu_lower_bound(model: ReluModel, gram: FloatArray) -> float:
    """Return a value that J goes below at no doubly nonnegative Γ, and so at no non-negative features.

    J is convex, so ``J(Γ*) ≥ J(Γ) + <G, Γ* - Γ>`` with the gradient G at ``Γ = gram``. Write ``G = S + P`` with P
    non-negative entry by entry. Then ``<P, Γ*> ≥ 0``, and ``<S, Γ*> ≥ -δ tr Γ*`` where ``-δ`` is the lowest eigenvalue
    of S, if that is below 0; and ``½ c² tr Γ* ≤ J(Γ*) ≤ J(Γ)`` at the minimizer. At a global minimum where the
    relaxation is tight there is a split with ``δ = 0``, and ``<G, Γ> = 0``.

    Parameters
    ----------
    model : ReluModel
        The function J.
    gram : (K, K)
        Γ, best at a stationary point: the bound holds for any and is as good as the point.
    """
    value, gradient = model.at(gram)
    tangent = value - float(np.sum(gradient * gram))
    largest_trace = 2.0 * value / model.threshold**2
    positive = np.maximum(gradient, 0.0)
    np.fill_diagonal(positive, 0.0)
    deficit = _deficit(gradient - positive)
    size = len(gradient)
    if 2 < size <= _LARGEST and deficit * largest_trace > 1e-12 * abs(value):
        deficit = min(deficit, _deficit(gradient - _best_positive_part(gradient, positive)))
    return tangent - deficit * largest_trace


def _deficit(matrix: FloatArray) -> float:
    return max(0.0, -float(np.linalg.eigvalsh(matrix)[0]))


def _best_positive_part(gradient: FloatArray, start: FloatArray) -> FloatArray:
    """Non-negative P, zero on the diagonal, that leaves the least of ``G - P`` outside the semidefinite cone."""
    size = len(gradient)
    rows, columns = np.triu_indices(size, 1)
    scale = float(np.abs(gradient).max())

    def outside(entries: FloatArray) -> tuple[float, FloatArray]:
        rest = gradient / scale
        rest[rows, columns] -= entries
        rest[columns, rows] -= entries
        values, vectors = np.linalg.eigh(rest)
        negative = np.minimum(values, 0.0)
        below = (vectors * negative) @ vectors.T
        return 0.5 * float(negative @ negative), -2.0 * below[rows, columns]

    found = minimize(
        outside,
        start[rows, columns] / scale,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(rows),
        options={"maxiter": 2000, "maxfun": 3000, "ftol": 0.0, "gtol": 1e-15},
    )
    result = np.zeros_like(gradient)
    result[rows, columns] = result[columns, rows] = found.x * scale
    return result
