"""Slow, obvious minimisation of the unrestricted feature model under cross-entropy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def cross_entropy(outputs: Array, target: Array) -> float:
    """Cross-entropy of one output vector against one distribution, term by term."""
    total = 0.0
    peak = max(outputs)
    log_sum = peak + np.log(sum(np.exp(o - peak) for o in outputs))
    for o, p in zip(outputs, target, strict=True):
        total -= p * (o - log_sum)
    return float(total)


def sample_objective(
    codewords: Array,
    counts: NDArray[np.int64],
    features: list[Array],
    weight: Array,
    bias: Array,
    decays: tuple[float, float, float],
) -> float:
    """F with its double sum over classes and samples written out."""
    weight_decay, feature_decay, bias_decay = decays
    total = weight_decay / 2 * float((weight**2).sum()) + bias_decay / 2 * float(bias @ bias)
    for k, rows in enumerate(features):
        assert len(rows) == counts[k]
        for h in rows:
            total += cross_entropy(weight @ h + bias, codewords[:, k]) / int(counts.sum())
            total += feature_decay / 2 * float(h @ h)
    return total


def brute_force(problem: Any, seed: int, feature_dim: int, restarts: int = 1) -> tuple[float, Array, Array]:
    """Lowest value that L-BFGS finds from random starts over (W, M, b); returns (loss, MᵀM, bias)."""
    codewords, counts = problem.encoding.codewords, problem.counts
    q, k, d = problem.code_dim, problem.num_classes, feature_dim
    priors = counts / counts.sum()
    no_bias = np.isinf(problem.bias_decay)

    def unpack(v: Array) -> tuple[Array, Array, Array]:
        w, m = v[: q * d].reshape(q, d), v[q * d : q * d + d * k].reshape(d, k)
        return w, m, np.zeros(q) if no_bias else v[q * d + d * k :]

    def value_and_gradient(v: Array) -> tuple[float, Array]:
        w, m, b = unpack(v)
        outputs = w @ m + b[:, None]
        peak = outputs.max(axis=0)
        log_sum = peak + np.log(np.exp(outputs - peak).sum(axis=0))
        value = float(priors @ (log_sum - (codewords * outputs).sum(axis=0)))
        value += 0.5 * problem.weight_decay * float((w**2).sum())
        value += 0.5 * problem.feature_decay * float((counts * m**2).sum())
        slope = (np.exp(outputs - log_sum) - codewords) * priors
        parts = [
            slope @ m.T + problem.weight_decay * w,
            w.T @ slope + problem.feature_decay * counts * m,
        ]
        if not no_bias:
            value += 0.5 * problem.bias_decay * float(b @ b)
            parts.append(slope.sum(axis=1) + problem.bias_decay * b)
        return value, np.concatenate([p.ravel() for p in parts])

    rng = np.random.default_rng(seed)
    best: tuple[float, Array, Array] | None = None
    for _ in range(restarts):
        start = rng.standard_normal(q * d + d * k + (0 if no_bias else q))
        found = minimize(
            value_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11},
        )
        _, m, b = unpack(found.x)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), m.T @ m, b)
    assert best is not None
    return best
