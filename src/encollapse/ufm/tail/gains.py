"""Descent on head, gains, offsets and normalized features of the classes, from several random starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.tail.sample_norm import SampleNormProblem

_STARTS = 24  # of the descent, a quarter of it for large problems
_LARGE = 2000
"""Parameters above which a quarter of the starts is taken."""
_ROUNDS = ((1, 700), (6, 2000), (24, 12_000))
"""Share of the starts that goes on, and for how many iterations: of one-hot labels with K = 10, the order of the
descents after 700 iterations is that of their ends, and the last digits take some thousand more.
"""
_DEAD = 1e-7  # a feature with less than this share of the outputs carries nothing
_AT_REST = 1e-5
"""Largest derivative, relative to the decays' part of it, up to which a point counts as stationary."""


@dataclass(frozen=True, eq=False)
class Descended:
    """A stationary point."""

    loss: float
    weight: FloatArray
    means: FloatArray
    bias: FloatArray
    at_rest: bool
    iterations: int


@dataclass(frozen=True, eq=False)
class _Explicit:
    """The objective over all parameters, features being those of one sample of each class.

    Gains sit on few coordinates, so a wide normalization is taken as these and the rest of it, which has no gains: one
    more entry that holds the square left over, and under LayerNorm minus the sum of the others.
    """

    problem: SampleNormProblem

    @property
    def width(self) -> int:
        """Coordinates with gains."""
        p = self.problem
        return min(p.feature_dim, 2 * min(p.code_dim, p.num_classes) + 1)

    @property
    def rest(self) -> int:
        """Coordinates without."""
        return self.problem.feature_dim - self.width

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of head, gains, raw features, then offsets and bias where there are any."""
        p, n = self.problem, self.width
        shapes: list[tuple[int, ...]] = [(p.code_dim, n), (n,), (n + (self.rest > 0), p.num_classes)]
        shapes += [(n,)] if not math.isinf(p.offset_decay) else []
        return shapes + ([(p.code_dim,)] if not math.isinf(p.bias_decay) else [])

    def split(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return head, gains, raw features, offsets and bias, zeros for what is missing."""
        p, shapes = self.problem, self.shapes
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        parts = [part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True)]
        offsets = parts[3] if not math.isinf(p.offset_decay) else np.zeros(self.width)
        bias = parts[-1] if not math.isinf(p.bias_decay) else np.zeros(p.code_dim)
        return parts[0], parts[1], parts[2], offsets, bias

    def metric(self, raw: FloatArray) -> FloatArray:
        """Half the derivative of the sum of squares of all d entries."""
        n, layer = self.width, self.problem.kind == "layer"
        result = raw.copy()
        if layer and self.rest:
            result[:n] += raw[:n].sum(axis=0) / self.rest
            if self.rest == 1:
                result[n] = 0.0
        elif layer:
            result -= raw.mean(axis=0)
        return result

    def normalized(self, raw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries with gains after the normalization, and the root of the sum of squares before it."""
        metric = self.metric(raw)
        lengths = np.sqrt((raw * metric).sum(axis=0))
        entries = raw if self.rest else metric
        return entries[: self.width] * (math.sqrt(self.problem.feature_dim) / lengths), lengths

    def means(self, x: FloatArray) -> FloatArray:
        """Features of the classes."""
        _, gains, raw, offsets, _ = self.split(x)
        return gains[:, None] * self.normalized(raw)[0] + offsets[:, None]

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        p = self.problem
        weight, gains, raw, offsets, bias = self.split(x)
        entries, lengths = self.normalized(raw)
        means = gains[:, None] * entries + offsets[:, None]
        outputs = weight @ means + bias[:, None]
        copies = np.ones_like(outputs)
        value = float(p.any_loss.value(outputs, p.targets, copies) @ p.priors)
        change = p.any_loss.gradient(outputs, p.targets, copies) * p.priors
        value += 0.5 * p.weight_decay * float(np.sum(weight**2)) + 0.5 * p.gain_decay * float(gains @ gains)
        to_means = weight.T @ change
        to_entries = gains[:, None] * to_means * math.sqrt(p.feature_dim)
        along = (to_entries * entries).sum(axis=0) / math.sqrt(p.feature_dim)
        pull = to_entries if self.rest or p.kind == "rms" else to_entries - to_entries.mean(axis=0)
        to_raw = -self.metric(raw) * (along / lengths**2)
        to_raw[: self.width] += pull / lengths
        parts = [change @ means.T + p.weight_decay * weight, (to_means * entries).sum(axis=1) + p.gain_decay * gains]
        parts.append(to_raw)
        if not math.isinf(p.offset_decay):
            value += 0.5 * p.offset_decay * float(offsets @ offsets)
            parts.append(to_means.sum(axis=1) + p.offset_decay * offsets)
        if not math.isinf(p.bias_decay):
            value += 0.5 * p.bias_decay * float(bias @ bias)
            parts.append(change.sum(axis=1) + p.bias_decay * bias)
        return value, np.concatenate([part.ravel() for part in parts])


def descend(problem: SampleNormProblem) -> Descended:
    """Return the lowest of several descents."""
    objective = _Explicit(problem)
    size = sum(math.prod(shape) for shape in objective.shapes)
    count = _STARTS if size <= _LARGE else _STARTS // 4
    points = [np.random.default_rng(seed).standard_normal(size) for seed in range(count)]
    steps = 0
    for share, iterations in _ROUNDS:
        options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 30, "ftol": 0.0, "gtol": 1e-11}
        kept = points[: max(1, count // share)]
        ends = [minimize(objective, point, jac=True, method="L-BFGS-B", options=options) for point in kept]
        steps += sum(int(end.nit) for end in ends)
        ends.sort(key=lambda end: float(end.fun))
        points = [end.x for end in ends]
    best = ends[0]
    weight, _, _, _, bias = objective.split(best.x)
    means = objective.means(best.x)
    # In their own axes, as many as there are: a gain may be shared by several entries.
    left, singular, right = np.linalg.svd(means, full_matrices=False)
    alive = singular * np.linalg.norm(weight @ left, axis=0) > _DEAD
    weight, means = (weight @ left)[:, alive], singular[alive, None] * right[alive]
    slope = float(np.abs(objective(best.x)[1]).max())
    decay = problem.weight_decay * float(np.abs(weight).max(initial=0.0))
    return Descended(float(best.fun), weight, means, bias, slope <= _AT_REST * decay or not alive.any(), steps)
