"""Slow references for tails: every parameter of every layer is free, and L-BFGS descends from random starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec

Array = NDArray[np.float64]


def sample(num_classes: int, num_samples: int, width: int, seed: int = 0) -> tuple[NDArray[np.int64], Array]:
    """Imbalanced classes with their own means and a common one."""
    generator = np.random.default_rng(seed)
    weights = np.linspace(1, 3, num_classes)
    labels = generator.choice(num_classes, num_samples, p=weights / weights.sum())
    labels[:num_classes] = np.arange(num_classes)
    means = 2 * generator.standard_normal((num_classes, width))
    return labels, generator.standard_normal((num_samples, width)) + means[labels] + 1.0


def encoding_for(num_classes: int, code_dim: int, loss: str, seed: int = 3) -> ec.encodings.Encoding:
    """One-hot labels, or random ones that the loss takes."""
    if num_classes == code_dim:
        return ec.encodings.one_hot(num_classes)
    if loss == "mse":
        return ec.encodings.random(num_classes, code_dim, seed=seed)
    columns = np.random.default_rng(seed).dirichlet(np.ones(code_dim), num_classes).T
    return ec.encodings.Encoding(columns)


def gram_error(features: Array, wanted: Array) -> float:
    """Distance of two Gram matrices of rows, over the length of the second."""
    gram = wanted @ wanted.T
    return float(np.linalg.norm(features @ features.T - gram) / np.linalg.norm(gram))


@dataclass
class Trained:
    loss: float
    features: Array
    weight: Array
    bias: Array


def fit(outputs: Array, targets: Array, loss: str, factors: Array | float = 1.0) -> tuple[float, Array]:
    """Mean loss over the columns, each times its factor, and its derivative."""
    n = outputs.shape[1]
    if loss == "mse":
        return 0.5 * float(np.sum(factors * (outputs - targets) ** 2)) / n, factors * (outputs - targets) / n
    top = outputs.max(axis=0)
    weights = np.exp(outputs - top)
    total = weights.sum(axis=0)
    value = float((factors * (top + np.log(total) - (targets * outputs).sum(axis=0))).mean())
    return value, factors * (weights / total - targets) / n


def train_tail(
    targets: Array,
    activations: Array,
    decays: Sequence[float],
    bias_decay: float,
    loss: str,
    *,
    inner_bias_decay: float = math.inf,
    starts: int = 1,
    factors: Array | float = 1.0,
) -> Trained:
    """Train layers ``W_M ··· W_1 φ + b`` with plain decay, the head's last; `targets` (q, N), `activations` (N, p)."""
    q, (_, p), depth = len(targets), activations.shape, len(decays)
    width = min(q, p) + 1
    has_bias, has_inner = not math.isinf(bias_decay), not math.isinf(inner_bias_decay)
    shapes: list[tuple[int, ...]] = [(width, p), *[(width, width)] * (depth - 2), (q, width)]
    shapes += [(q,)] * has_bias + [(width,)] * has_inner
    ends = np.cumsum([math.prod(shape) for shape in shapes])

    def layers(x: Array) -> tuple[list[Array], Array, Array]:
        parts = [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]
        bias = parts[depth] if has_bias else np.zeros(q)
        return parts[:depth], bias, parts[-1] if has_inner else np.zeros(width)

    def forward(x: Array) -> list[Array]:
        weights, bias, inner = layers(x)
        values = [activations.T, weights[0] @ activations.T + inner[:, None]]
        for weight in weights[1:]:
            values.append(weight @ values[-1])
        values[-1] = values[-1] + bias[:, None]
        return values

    def objective(x: Array) -> tuple[float, Array]:
        weights, bias, inner = layers(x)
        values = forward(x)
        total, change = fit(values[-1], targets, loss, factors)
        total += 0.5 * sum(d * float(np.sum(w * w)) for d, w in zip(decays, weights, strict=True))
        gradients: list[Array] = []
        to_bias = change.sum(axis=1)
        for i in range(depth - 1, -1, -1):
            gradients.insert(0, change @ values[i].T + decays[i] * weights[i])
            if i == 0:
                to_inner = change.sum(axis=1)
            change = weights[i].T @ change
        if has_bias:
            total += 0.5 * bias_decay * float(bias @ bias)
            gradients.append(to_bias + bias_decay * bias)
        if has_inner:
            total += 0.5 * inner_bias_decay * float(inner @ inner)
            gradients.append(to_inner + inner_bias_decay * inner)
        return total, np.concatenate([g.ravel() for g in gradients])

    best = None
    for seed in range(starts):
        start = 0.5 * np.random.default_rng(seed).standard_normal(ends[-1])
        options = {"maxiter": 20000, "maxfun": 40000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-11}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        best = found if best is None or found.fun < best.fun else best
    assert best is not None
    weights, bias, _ = layers(best.x)
    return Trained(float(best.fun), forward(best.x)[-2].T, weights[-1], bias)
