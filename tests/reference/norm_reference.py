"""Slow reference for a last normalization of each sample: all d entries, gains, offsets, head and bias are free."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from reference.tail_reference import fit

Array = NDArray[np.float64]


def normalize(raw: Array, kind: str) -> tuple[Array, Array]:
    """Columns of mean square 1, of mean 0 for ``"layer"``; and the lengths that they had."""
    centered = raw - raw.mean(axis=0) if kind == "layer" else raw
    lengths = np.linalg.norm(centered, axis=0)
    return centered * (math.sqrt(len(raw)) / lengths), lengths


def train_norm(
    targets: Array,
    feature_dim: int,
    kind: str,
    weight_decay: float,
    gain_decay: float,
    offset_decay: float,
    bias_decay: float,
    loss: str,
    starts: int,
) -> tuple[float, Array]:
    """Return the lowest loss over `targets` (q, N), one sample a column, and the features (d, N)."""
    (q, n), d = targets.shape, feature_dim
    has_offset, has_bias = not math.isinf(offset_decay), not math.isinf(bias_decay)
    shapes: list[tuple[int, ...]] = [(q, d), (d,), (d, n), *[(d,)] * has_offset, *[(q,)] * has_bias]
    ends = np.cumsum([math.prod(shape) for shape in shapes])

    def parts(x: Array) -> tuple[Array, Array, Array, Array, Array]:
        values = [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]
        offset = values[3] if has_offset else np.zeros(d)
        return values[0], values[1], values[2], offset, values[-1] if has_bias else np.zeros(q)

    def objective(x: Array) -> tuple[float, Array]:
        weight, gain, raw, offset, bias = parts(x)
        unit, lengths = normalize(raw, kind)
        features = gain[:, None] * unit + offset[:, None]
        value, change = fit(weight @ features + bias[:, None], targets, loss)
        value += 0.5 * (weight_decay * float(np.sum(weight**2)) + gain_decay * float(gain @ gain))
        back = weight.T @ change
        to_unit = gain[:, None] * back
        to_raw = to_unit - unit * ((to_unit * unit).sum(axis=0) / d)
        to_raw = to_raw * (math.sqrt(d) / lengths)
        if kind == "layer":
            to_raw = to_raw - to_raw.mean(axis=0)
        gradient = [change @ features.T + weight_decay * weight, (back * unit).sum(axis=1) + gain_decay * gain, to_raw]
        if has_offset:
            value += 0.5 * offset_decay * float(offset @ offset)
            gradient.append(back.sum(axis=1) + offset_decay * offset)
        if has_bias:
            value += 0.5 * bias_decay * float(bias @ bias)
            gradient.append(change.sum(axis=1) + bias_decay * bias)
        return value, np.concatenate([g.ravel() for g in gradient])

    found = []
    for seed in range(starts):
        start = np.random.default_rng(1000 + seed).standard_normal(ends[-1])
        options = {"maxiter": 2500, "maxfun": 5000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-9}
        found.append(minimize(objective, start, jac=True, method="L-BFGS-B", options=options))
    best = min(found, key=lambda result: result.fun)
    _, gain, raw, offset, _ = parts(best.x)
    return float(best.fun), gain[:, None] * normalize(raw, kind)[0] + offset[:, None]
