"""Layers with a ReLU between them, under the squared error: objective, starts, descent, and what bounds it.

A ReLU is positively homogeneous, so layers can trade scale: all ``p = L + 1`` factors (L layers and the features) can
bear one decay δ, and the problem is

    min  ½ |V_L σ(V_{L-1} ··· σ(V_1 X)) - A|² + δ/2 (Σ_l |V_l|² + |X|²),    A = E diag(u).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.deep.schatten_prox import SchattenProx, geometric_mean

STATIONARY_TOLERANCE = 1e-3
"""Subgradient, relative to what the decays alone give, up to which a point counts as stationary.

A value is wrong by the square of it.
"""

_SCREEN, _POLISH = 200, 500  # iterations of L-BFGS at one width of the kink: of every start, of the best one
_REST = 3000  # of the best one at the sharpest, where units that rest on their kink take 1500 and more
_SLOW = 1e-9  # fall of the value in one step of a screening at which it ends; labels have unit size
_MEMORY = 30  # pairs of vectors of L-BFGS
_WIDE, _SHARP = (1e-2, 1e-3), (1e-3, 1e-4, 1e-5)  # widths of the kink, in units of the labels
_RANDOM_STARTS = 4  # beside the structured ones


@dataclass(frozen=True, eq=False)
class ReluLayers:
    """The objective, for labels of unit size.

    Attributes
    ----------
    labels : (q, K)
        A.
    depth : int
        Number of weight layers L, at least 2.
    decay : float
        δ.
    width : int
        Units of the features and of each hidden layer.
    """

    labels: FloatArray
    depth: int
    decay: float
    width: int

    @property
    def prox(self) -> SchattenProx:
        """What p factors cost along one direction."""
        return SchattenProx(self.depth + 1, 0.5 * (self.depth + 1) * self.decay)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of ``X, V_1, …, V_L``."""
        q, k = self.labels.shape
        return [(self.width, k), *[(self.width, self.width)] * (self.depth - 1), (q, self.width)]

    def split(self, x: FloatArray) -> list[FloatArray]:
        """The factors ``[X, V_1, …, V_L]`` that one vector holds."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(x, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, factors: list[FloatArray], kink: float = 0.0) -> tuple[list[FloatArray], list[FloatArray]]:
        """Inputs of ``V_1, …, V_L``, and the slopes of the hidden units, layer by layer.

        With `kink` ε above 0 the ReLU is ``(t + √(t² + ε²) - ε)/2``, smooth and within ε/2 of it.
        """
        inputs, slopes = [factors[0]], []
        for weight in factors[1:-1]:
            before = weight @ inputs[-1]
            root = np.sqrt(before**2 + kink**2)
            inputs.append(0.5 * (before + root - kink))
            slopes.append(0.5 * (1.0 + before / root) if kink > 0 else (before > 0).astype(np.float64))
        return inputs, slopes

    def value(self, factors: list[FloatArray]) -> float:
        """The objective itself."""
        inputs, _ = self.forward(factors)
        fit = 0.5 * float(np.sum((factors[-1] @ inputs[-1] - self.labels) ** 2))
        return fit + 0.5 * self.decay * sum(float(np.sum(f**2)) for f in factors)

    def gradient(
        self, factors: list[FloatArray], inputs: list[FloatArray], slopes: list[FloatArray]
    ) -> tuple[float, list[FloatArray]]:
        """Value and gradient at what :meth:`forward` returns."""
        residual = factors[-1] @ inputs[-1] - self.labels
        value = 0.5 * float(np.sum(residual**2))
        result, back = [], residual
        for i in range(self.depth, 0, -1):
            result.append(back @ inputs[i - 1].T + self.decay * factors[i])
            back = factors[i].T @ back
            if i > 1:
                back = back * slopes[i - 2]
        result.append(back + self.decay * factors[0])
        value += 0.5 * self.decay * sum(float(np.sum(f**2)) for f in factors)
        return value, result[::-1]

    def lowest(self) -> tuple[list[FloatArray], float, int]:
        """Factors of the lowest value among the frame, zero and all descents, that value, and the steps taken."""
        ends, steps = [], 0
        for start in self.starts():
            factors, taken = self._descend(start, _WIDE, _SCREEN, _SLOW)
            ends.append((self.value(factors), factors))
            steps += taken
        polished, taken = self._descend(min(ends, key=lambda end: end[0])[1], _SHARP[:-1], _POLISH)
        polished, more = self._descend(polished, _SHARP[-1:], _REST)
        # A tie goes to the frame, or to nothing, which are known to the last digit.
        ends = [(v * (1 + 1e-9), f) for v, f in [(self.value(polished), polished), *ends]]
        zero = [np.zeros(shape) for shape in self.shapes]
        ends += [(self.value(factors), factors) for factors in (self.frame(), zero)]
        best = min(ends, key=lambda end: end[0])[1]
        return best, self.value(best), steps + taken + more

    def _descend(
        self, start: list[FloatArray], kinks: tuple[float, ...], iterations: int, slow: float = 0.0
    ) -> tuple[list[FloatArray], int]:
        """L-BFGS under kinks that sharpen."""
        x, steps = np.concatenate([f.ravel() for f in start]), 0
        for kink in kinks:

            def objective(y: FloatArray, kink: float = kink) -> tuple[float, FloatArray]:
                factors = self.split(y)
                value, gradient = self.gradient(factors, *self.forward(factors, kink))
                return value, np.concatenate([g.ravel() for g in gradient])

            options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": _MEMORY, "ftol": slow, "gtol": 1e-9}
            found = minimize(objective, x, jac=True, method="L-BFGS-B", options=options)
            x, steps = found.x, steps + int(found.nit)
        return self.split(x), steps

    def residual(self, factors: list[FloatArray]) -> float:
        """Gradient under the ReLU or one that is smoothed within 5e-5 of it, whichever is least.

        It is relative to what the decays alone give. Units that rest on their kink have no gradient of their own, and
        the slope there of the smoothed ReLU is one of their subgradients.
        """
        scale = self.decay * math.sqrt(sum(float(np.sum(f**2)) for f in factors))
        least = math.inf
        for kink in (0.0, *_SHARP[1:]):
            _, gradient = self.gradient(factors, *self.forward(factors, kink))
            least = min(least, math.sqrt(sum(float(np.sum(g**2)) for g in gradient)))
        return least / scale if scale > 0 else 0.0

    def lower_bound(self) -> float:
        """``min_Z ½|Z - A|² + κ |Z|_*^{2/p}``, a value that nothing goes below.

        ``|Z|_* ≤ |V_L| |σ(H_L)|``, and a ReLU raises no Frobenius norm, so ``|Z|_*`` is at most the product of the
        Frobenius norms of all p factors, and their decays cost at least ``κ |Z|_*^{2/p}``. With j singular values kept
        the fit at a given nuclear norm t is ``(S_j - t)²/(2j)`` and what is left out, which makes a scalar problem
        of each j.
        """
        values = np.linalg.svd(self.labels, compute_uv=False)
        best, sums = 0.5 * float(values @ values), np.cumsum(values)
        tails = np.append(np.cumsum(values[::-1] ** 2)[::-1][1:], 0.0)
        below = np.append(values[1:], 0.0)
        for j in range(1, len(values) + 1):
            prox = self.prox.scaled(j)
            low, high = sums[j - 1] - j * values[j - 1], sums[j - 1] - j * below[j - 1]
            inside = float(prox.minimizer(np.array([sums[j - 1]]))[0])
            for t in (low, high, min(max(inside, low), high)):
                fit = (sums[j - 1] - t) ** 2 / (2 * j) + 0.5 * tails[j - 1]
                best = min(best, fit + float(self.prox.penalty(np.array([t]))[0]))
        return best

    def frame(self) -> list[FloatArray]:
        """Factors of deep neural collapse: an axis for each class, or for the longest labels as far as there is room.

        With an axis each its value is ``Σ_k min_s ½(s - |a_k|)² + κ s^{2/p}``.
        """
        lengths = np.linalg.norm(self.labels, axis=0)
        axes = np.argsort(-lengths, kind="stable")[: self.width]
        root = np.zeros(self.labels.shape[1])
        root[axes] = self.prox.minimizer(lengths[axes]) ** (1.0 / (self.depth + 1))
        code = np.zeros((self.width, self.labels.shape[1]))
        code[np.arange(len(axes)), axes] = root[axes]
        hidden = np.diag(np.append(root[axes], np.zeros(self.width - len(axes))))
        head = np.zeros((self.labels.shape[0], self.width))
        head[:, : len(axes)] = self.labels[:, axes] / np.maximum(lengths[axes], 1e-300) * root[axes]
        return [code, *[hidden] * (self.depth - 1), head]

    def starts(self) -> Iterator[list[FloatArray]]:
        """Where descents begin: codes of low rank, then random factors."""
        for code, before in _low_rank_codes(self.labels.shape[1], self.width):
            yield self._coded(code, before)
        generator = np.random.default_rng(0)
        for _ in range(_RANDOM_STARTS):
            size = generator.uniform(0.7, 1.5) / math.sqrt(self.width)
            yield [size * generator.standard_normal(shape) for shape in self.shapes]

    def _coded(self, code: FloatArray, before: FloatArray) -> list[FloatArray]:
        """Factors whose hidden layers carry a non-negative `code`, up to the last, whose pre-activations are given.

        Its ReLU leaves the diagonal. All factors are given one norm, that which the frame has.
        """
        rows, k = code.shape
        hidden = np.zeros((self.width, self.width))
        hidden[:rows, :rows] = np.eye(rows)
        last, first = np.zeros((self.width, self.width)), np.zeros((self.width, k))
        last[:k, :rows] = before @ np.linalg.pinv(code)
        first[:rows] = code
        head = np.zeros((self.labels.shape[0], self.width))
        head[:, :k] = self.labels
        factors = [first, *[hidden] * (self.depth - 2), last, head]
        norms = [float(np.linalg.norm(f)) for f in factors]
        size = geometric_mean(norms) if min(norms) > 0 else 0.0
        return [f * (size / n) if n > 0 else f for f, n in zip(factors, norms, strict=True)]


def _low_rank_codes(num_classes: int, width: int) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Non-negative codes (m, K), m < K, with pre-activations of their rank that are positive for the own class only.

    Pairs out of m points: two pairs share one point or none, so ``overlap - 1`` is 1, 0 or -1. With every pair its
    graph is strongly regular. And points on a circle, which a threshold tells apart.
    """
    if num_classes > width or num_classes < 4:
        return
    points = math.ceil((1 + math.sqrt(1 + 8 * num_classes)) / 2)
    if points < num_classes:
        pairs = list(itertools.combinations(range(points), 2))[:num_classes]
        code = np.zeros((points, num_classes))
        for k, pair in enumerate(pairs):
            code[list(pair), k] = 1.0
        yield code, code.T @ code - 1.0
    angles = 2 * math.pi * np.arange(num_classes) / num_classes
    code = 1.0 + np.cos(angles - 2 * math.pi / 3 * np.arange(3)[:, None])
    nearest = math.cos(2 * math.pi / num_classes)
    yield code, (np.cos(angles[:, None] - angles) - nearest) / (1.0 - nearest)
