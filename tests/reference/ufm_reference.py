"""Slow, obvious ways to minimize the unrestricted feature model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.factored_descent import lowest

Array = NDArray[np.float64]


def half_square(outputs: Array, target: Array) -> float:
    """Half the squared distance of one output vector to its target."""
    return float((outputs - target) @ (outputs - target)) / 2


def sample_objective(
    codewords: Array,
    counts: NDArray[np.int64],
    features: list[Array],
    weight: Array,
    bias: Array,
    decays: tuple[float, float, float],
    loss: Callable[[Array, Array], float] = half_square,
) -> float:
    """F of the paper with its double sum over classes and samples written out."""
    weight_decay, feature_decay, bias_decay = decays
    total = 0.0
    num_samples = int(counts.sum())
    for k, rows in enumerate(features):
        assert len(rows) == counts[k]
        for h in rows:
            total += loss(weight @ h + bias, codewords[:, k]) / num_samples
            total += feature_decay / 2 * float(h @ h)
    total += weight_decay / 2 * float((weight**2).sum())
    return total + (bias_decay / 2 * float(bias @ bias) if bias.any() else 0.0)


def brute_force(problem: Any, seed: int, feature_dim: int, restarts: int = 1) -> tuple[float, Array, Array]:
    """Lowest value that L-BFGS finds from random starts over (W, M, b); returns (loss, MᵀM, bias)."""
    codewords, priors = problem.encoding.codewords, problem.counts / problem.counts.sum()

    def loss(outputs: Array) -> tuple[float, Array]:
        residual = outputs - codewords
        return 0.5 * float((priors * residual**2).sum()), priors * residual

    return lowest(problem, loss, seed, feature_dim, restarts)
