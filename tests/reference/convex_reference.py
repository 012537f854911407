"""Slow, obvious minimization of the unrestricted feature model under cross-entropy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.factored_descent import lowest

Array = NDArray[np.float64]


def cross_entropy(outputs: Array, target: Array) -> float:
    """Cross-entropy of one output vector against one distribution, term by term."""
    total = 0.0
    peak = max(outputs)
    log_sum = peak + np.log(sum(np.exp(o - peak) for o in outputs))
    for o, p in zip(outputs, target, strict=True):
        total -= p * (o - log_sum)
    return float(total)


def brute_force(problem: Any, seed: int, feature_dim: int, restarts: int = 1) -> tuple[float, Array, Array]:
    """Lowest value that L-BFGS finds from random starts over (W, M, b); returns (loss, MᵀM, bias)."""
    codewords, priors = problem.encoding.codewords, problem.counts / problem.counts.sum()
    if problem.class_weights is not None:
        priors = priors * problem.class_weights

    def loss(outputs: Array) -> tuple[float, Array]:
        peak = outputs.max(axis=0)
        log_sum = peak + np.log(np.exp(outputs - peak).sum(axis=0))
        value = float(priors @ (log_sum - (codewords * outputs).sum(axis=0)))
        return value, (np.exp(outputs - log_sum) - codewords) * priors

    return lowest(problem, loss, seed, feature_dim, restarts)
