"""Problems next to the solver's own thresholds, and their minima in extended precision (``pip install mpmath``).

The reference shares nothing with the solver: it centers the exact codewords, and minimizes over the bias by Newton's
method on ``f(x) = Σ huber_c(σ_i) + λ_b/2 |ē - x|²`` with 60 digits, from one symmetric eigendecomposition a step. A
dual bound in the same precision proves each of its minima.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mpmath import mp
from numpy.typing import NDArray

import encollapse as ec

Array = NDArray[np.float64]

DIGITS = 60
MOST_CLASSES, MOST_OUTPUTS = 7, 5
STEPS = 200
NEAR = 1e-9  # relative: a singular value so near to c counts as learned or not


def threshold_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """A common mean of 1 to 1e15 times the spread, c within rounding of singular values, λ_b from 1e-300 to 1e300."""
    k, q = int(rng.integers(2, MOST_CLASSES + 1)), int(rng.integers(1, MOST_OUTPUTS + 1))
    counts = rng.integers(1, 50, k) if rng.random() < 0.6 else np.full(k, 7)
    encoding = _affine(rng, k) if rng.random() < 0.25 and k <= MOST_OUTPUTS else _codewords(rng, q, counts)
    priors = counts / counts.sum()
    rough = encoding.codewords - encoding.codewords[:, :1]  # exact, or nearly so, whatever the common mean is
    rough = (rough - (rough @ priors)[:, None]) * np.sqrt(priors)
    values = np.linalg.svd(rough, compute_uv=False)
    visible = values[values > 1e-12 * values[0]] if values[0] > 0 else np.ones(1)
    c = float(visible[rng.integers(len(visible))])
    kind = rng.random()
    if kind < 0.4:
        c *= 1.0 + int(rng.integers(-4, 5)) * 2.0**-52
    elif kind < 0.5:
        c *= 1.0 + float(rng.choice([-1, 1])) * 10 ** rng.uniform(-14, -6)
    else:
        c *= 10 ** rng.uniform(-8, 0.5)
    choice = rng.random()
    decay = 0.0 if choice < 0.2 else math.inf
    if choice > 0.3:
        decay = 10 ** (rng.uniform(-4, 4) if choice < 0.6 else rng.uniform(-300, 300))
    weight_decay = 10 ** rng.uniform(-5, 0)
    return ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=weight_decay,
        feature_decay=c**2 / int(counts.sum()) / weight_decay,
        bias_decay=float(decay),
    )


def _common(rng: np.random.Generator) -> float:
    """A number of 1 to 1e15, a power of two every other time."""
    return float(2.0 ** rng.integers(0, 50)) if rng.random() < 0.5 else float(10 ** rng.uniform(0, 15))


def _affine(rng: np.random.Generator, k: int) -> ec.encodings.Encoding:
    off = _common(rng)
    return ec.encodings.scaled_one_hot(k, on=off + 10 ** rng.uniform(-1, 1), off=off)


def _codewords(rng: np.random.Generator, q: int, counts: NDArray[np.int64]) -> ec.encodings.Encoding:
    codewords = rng.standard_normal((q, len(counts)))
    if rng.random() < 0.4:  # nearly equal singular values, to a few units in the last place or far more
        left, values, right = np.linalg.svd(codewords * np.sqrt(counts / counts.sum()), full_matrices=False)
        spread = 10 ** rng.uniform(-16, -6)
        codewords = (left * (1.0 + spread * rng.standard_normal(len(values)))) @ right / np.sqrt(counts / counts.sum())
    if rng.random() < 0.2:
        codewords[rng.integers(q)] *= 10 ** rng.uniform(-12, 0)
    if rng.random() < 0.2:
        codewords[:, -1] = codewords[:, 0]
    return ec.encodings.Encoding(codewords + rng.standard_normal((q, 1)) * _common(rng) * (rng.random() < 0.8))


def judge_exactly(problem: ec.ufm.Problem, solution: ec.ufm.Solution) -> float:
    """Relative distance of the loss from the exact minimum; infinity if the rank is not that of the minimizer."""
    with mp.workdps(DIGITS):
        exact = _Exact(problem)
        minimum, bound, values = exact.minimize()
        if minimum == 0:
            return 0.0 if solution.loss == 0 else math.inf
        if (minimum - bound) / minimum > mp.mpf(10) ** -20:
            raise ArithmeticError(f"the reference did not converge: {problem!r}")
        slack = NEAR * max(exact.c, exact.spread)
        least = sum(1 for value in values if value > exact.c + slack)
        most = sum(1 for value in values if value > exact.c - slack)
        if not least <= solution.rank <= most:
            return math.inf
        return float(abs(mp.mpf(solution.loss) - minimum) / minimum)


class _Exact:
    """The convex problem in mpmath; all vectors are (q, 1) matrices."""

    def __init__(self, problem: ec.ufm.Problem) -> None:
        q, k = problem.code_dim, problem.num_classes
        total = problem.num_samples
        counts = [int(n) for n in problem.counts]
        priors = [mp.mpf(n) / total for n in counts]
        words = [[mp.mpf(float(v)) for v in row] for row in problem.encoding.codewords]
        # Whole numbers first: equal codewords then have themselves as their mean, and a minimum of exactly zero.
        self.mean = mp.matrix([mp.fsum(w * n for w, n in zip(row, counts, strict=True)) / total for row in words])
        self.roots = mp.matrix([mp.sqrt(p) for p in priors])
        self.centered = mp.matrix(q, k)
        for i in range(q):
            for j in range(k):
                self.centered[i, j] = (words[i][j] - self.mean[i]) * self.roots[j]
        self.square = self.centered * self.centered.T
        self.c = mp.sqrt(mp.mpf(total) * mp.mpf(problem.weight_decay) * mp.mpf(problem.feature_decay))
        self.decay = None if math.isinf(problem.bias_decay) else mp.mpf(problem.bias_decay)
        self.spread = mp.sqrt(max(mp.eigsy(self.square, eigvals_only=True)))

    def minimize(self) -> tuple[Any, Any, list[Any]]:
        """Minimum, dual bound, and singular values of ``A - b uᵀ``."""
        zero = 0 * self.mean
        if self.decay is None:
            return self._proved(self.mean, zero)
        if self.decay == 0:
            return self._proved(zero, self.mean)
        x, b = self.mean * (self.decay / (1 + self.decay)), self.mean / (1 + self.decay)
        value, gradient, hessian = self._derivatives(x, b)
        for _ in range(STEPS):
            size = mp.norm(gradient)
            if size <= mp.mpf(10) ** (15 - DIGITS) * self.decay * mp.norm(b):
                break
            step = mp.lu_solve(hessian, -gradient)
            slope, share = (step.T * gradient)[0], mp.mpf(1)
            while share > mp.mpf(10) ** -12:
                after = self._derivatives(x + share * step, b - share * step)
                if after[0] <= value + share * slope / 10000 or mp.norm(after[1]) < size / 2:
                    break
                share /= 2
            x, b = x + share * step, b - share * step
            value, gradient, hessian = after
        return self._proved(x, b)

    def _spectrum(self, x: Any) -> tuple[list[Any], Any]:
        squares, vectors = mp.eigsy(self.square + x * x.T)
        return [mp.sqrt(max(value, mp.mpf(0))) for value in squares], vectors

    def _derivatives(self, x: Any, b: Any) -> tuple[Any, Any, Any]:
        values, vectors = self._spectrum(x)
        q, c, w = len(values), self.c, vectors.T * x
        share = [mp.mpf(1) if s <= c else c / s for s in values]
        gradient = vectors * mp.matrix([share[i] * w[i] for i in range(q)]) - self.decay * b
        inner = mp.matrix(q, q)
        for i in range(q):
            for j in range(q):
                inner[i, j] = w[i] * w[j] * _divided(values[i], values[j], c)
        for i in range(q):
            bent = mp.fsum(_divided(values[i], values[j], c) * w[j] ** 2 for j in range(q))
            inner[i, i] += share[i] + self.decay + bent
        value = self._huber(values) + self.decay * (b.T * b)[0] / 2
        return value, gradient, vectors * inner * vectors.T

    def _huber(self, values: list[Any]) -> Any:
        return mp.fsum(s * s / 2 if s <= self.c else self.c * (s - self.c / 2) for s in values)

    def _proved(self, x: Any, b: Any) -> tuple[Any, Any, list[Any]]:
        """The value at b and the dual value of the clipped labels, moved to the mean that b asks for."""
        values, vectors = self._spectrum(x)
        labels = self.centered + x * self.roots.T
        share = mp.diag([mp.mpf(1) if s <= self.c else self.c / s for s in values])
        dual = vectors * share * vectors.T * labels
        penalty = mp.mpf(0) if self.decay is None else self.decay * (b.T * b)[0] / 2
        wanted = dual * self.roots if self.decay is None else self.decay * b
        dual += (wanted - dual * self.roots) * self.roots.T
        largest = mp.sqrt(max(mp.eigsy(dual * dual.T, eigvals_only=True)))
        shrink = min(mp.mpf(1), self.c / largest) if largest > 0 else mp.mpf(1)
        linear = mp.fsum(y * a for y, a in zip(dual, self.centered, strict=True)) + (wanted.T * self.mean)[0]
        square = mp.fsum(y * y for y in dual)
        bound = shrink * linear - shrink**2 * (square / 2 + penalty)
        return self._huber(values) + penalty, bound, values


def _divided(s: Any, t: Any, c: Any) -> Any:
    """``(φ(s²) - φ(t²))/(s² - t²)`` for ``φ(s²) = min(1, c/s)``."""
    s, t = max(s, t), min(s, t)
    if s <= c:
        return mp.mpf(0)
    if t >= c:
        return -c / (s * t * (s + t))
    return (c - s) / (s * (s - t) * (s + t))
