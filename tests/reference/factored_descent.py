"""Descent over the factors (W, M, b) of the unrestricted feature model from random starts, for any loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def lowest(
    problem: Any, loss: Callable[[Array], tuple[float, Array]], seed: int, feature_dim: int, restarts: int
) -> tuple[float, Array, Array]:
    """Lowest value that L-BFGS finds; returns (loss, MᵀM, bias).

    `loss` takes outputs (q, K), one column a class, to their average loss and its derivative (q, K). Class means stay
    non-negative where the problem says so.
    """
    counts = problem.counts
    q, k, d = problem.code_dim, problem.num_classes, feature_dim
    no_bias = np.isinf(problem.bias_decay)
    shares = counts / counts.sum()
    # The mean of the features may have a price of its own.
    extra = 0.0
    if problem.feature_mean_decay is not None:
        extra = counts.sum() * (problem.feature_mean_decay - problem.feature_decay)

    def unpack(v: Array) -> tuple[Array, Array, Array]:
        w = v[: q * d].reshape(q, d)
        m = v[q * d : q * d + d * k].reshape(d, k)
        return w, m, np.zeros(q) if no_bias else v[q * d + d * k :]

    def value_and_gradient(v: Array) -> tuple[float, Array]:
        w, m, b = unpack(v)
        value, slope = loss(w @ m + b[:, None])
        value += 0.5 * problem.weight_decay * float((w**2).sum())
        value += 0.5 * problem.feature_decay * float((counts * m**2).sum())
        center = m @ shares
        value += 0.5 * extra * float(center @ center)
        pull = problem.feature_decay * counts * m + extra * np.outer(center, shares)
        parts = [slope @ m.T + problem.weight_decay * w, w.T @ slope + pull]
        if not no_bias:
            value += 0.5 * problem.bias_decay * float(b @ b)
            parts.append(slope.sum(axis=1) + problem.bias_decay * b)
        return value, np.concatenate([p.ravel() for p in parts])

    rng = np.random.default_rng(seed)
    best: tuple[float, Array, Array] | None = None
    for _ in range(restarts):
        start = rng.standard_normal(q * d + d * k + (0 if no_bias else q))
        bounds = None
        if problem.features == "relu":
            start[q * d : q * d + d * k] = np.abs(start[q * d : q * d + d * k])
            bounds = [(0.0 if q * d <= i < q * d + d * k else None, None) for i in range(start.size)]
        found = minimize(
            value_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11},
        )
        _, m, b = unpack(found.x)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), m.T @ m, b)
    assert best is not None
    return best
