"""Squared error over given activations: an interior-point method in the small matrix ``P = (G Gᵀ)^{1/2}``.

The problem is ``½ tr(G S Gᵀ) - <G, B> + c |G|_*`` with the second moments S of the activations and their products B
with the labels. By ``|G|_* = min_P ½ tr(P⁻¹ G Gᵀ) + ½ tr P`` it is a convex problem in a positive definite P of the
size of the outputs. In the eigenbasis of S the columns of G separate: the best G for a given P has a closed form,

    ``g_i = P (λ_i P + c I)⁻¹ b_i``,    and    ``b_i - λ_i g_i = c (λ_i P + c I)⁻¹ b_i =: y_i``

is the dual candidate: the derivative in P is ``c/2 I - (1/2c) Σ y_i y_iᵀ``, so P is optimal where ``|Y|_op ≤ c``. On
the path of the barrier ``-μ log det P`` this holds strictly, and the gap is a multiple of μ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray

_DENSE = 24
"""Size of P up to which the Newton system is solved by a factorization, and beyond it by conjugate gradients."""

_STEPS = 400  # a guard on Newton's steps over all values of the barrier
_SHRINK = 0.15  # of the barrier from one value to the next
_LAST = 1e-15  # share of the first barrier
_CONJUGATE_STEPS = 300  # a guard: an inexact step is still a step downhill


@dataclass(frozen=True, eq=False)
class Penalized:
    """The quadratic problem in the eigenbasis of S.

    Attributes
    ----------
    moments : (r,)
        Eigenvalues λ of S, all positive.
    products : (q, r)
        B in that basis.
    threshold : float
        c, above 0.
    """

    moments: FloatArray
    products: FloatArray
    threshold: float

    def slope(self, matrix: FloatArray) -> FloatArray:
        """``B - G S``: minus the derivative of the quadratic part."""
        return np.asarray(self.products - matrix * self.moments)

    def value(self, matrix: FloatArray) -> float:
        """The objective, without the constant that makes it a squared error."""
        quadratic = 0.5 * float(np.sum(matrix * matrix * self.moments)) - float(np.sum(matrix * self.products))
        return quadratic + self.threshold * float(np.linalg.svd(matrix, compute_uv=False).sum())


def minimize_penalized(problem: Penalized, *, accuracy: float) -> tuple[FloatArray, int]:
    """Return the minimizer G (q, r) and the number of Newton steps.

    Parameters
    ----------
    problem : Penalized
        What to minimize.
    accuracy : float
        Absolute duality gap at which to stop.
    """
    left, size, _ = np.linalg.svd(problem.products, full_matrices=False)
    if not size.size or size[0] <= problem.threshold:
        return np.zeros_like(problem.products), 0
    # Outputs outside the range of B are zero at the minimum.
    basis = left[:, size > EPS * size[0] * max(problem.products.shape)]
    reduced = Penalized(problem.moments, basis.T @ problem.products, problem.threshold)
    matrix, steps = _follow(reduced, accuracy)
    return basis @ matrix, steps


@dataclass(frozen=True, eq=False)
class _BarrierState:
    """P in its eigenbasis, and what its derivatives need."""

    problem: Penalized
    vectors: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, problem: Penalized, matrix: FloatArray) -> _BarrierState | None:
        values, vectors = np.linalg.eigh(matrix)
        return cls(problem, vectors, values) if values[0] > 0 else None

    def __post_init__(self) -> None:
        c = self.problem.threshold
        rotated = self.vectors.T @ self.problem.products
        inverse = 1.0 / (np.outer(self.values, self.problem.moments) + c)
        object.__setattr__(self, "rotated", rotated)
        object.__setattr__(self, "inverse", inverse)
        object.__setattr__(self, "dual", inverse * rotated)  # Y/c

    rotated: FloatArray = None  # type: ignore[assignment]
    inverse: FloatArray = None  # type: ignore[assignment]
    dual: FloatArray = None  # type: ignore[assignment]

    @property
    def minimizer(self) -> FloatArray:
        """The best G."""
        return np.asarray(self.vectors @ (self.values[:, None] * self.dual))

    def objective(self, barrier: float) -> float:
        c = self.problem.threshold
        fit = float(np.einsum("j,ji,ji->", self.values, self.rotated, self.dual))
        return 0.5 * c * float(self.values.sum()) - 0.5 * fit - barrier * float(np.log(self.values).sum())

    def newton(self, barrier: float) -> tuple[FloatArray, float]:
        """Newton step in coordinates in which P is the identity, and its decrement in units of the barrier."""
        c, root = self.problem.threshold, np.sqrt(self.values)
        weights = np.outer(root, root)
        gradient = 0.5 * c * (np.diag(self.values) - weights * (self.dual @ self.dual.T))
        gradient -= barrier * np.eye(len(root))
        solve = self._direct if len(root) <= _DENSE else self._iterative
        step = -solve(gradient, root, barrier)
        return step, math.sqrt(max(-float(np.sum(step * gradient)) / barrier, 0.0))

    def _direct(self, gradient: FloatArray, root: FloatArray, barrier: float) -> FloatArray:
        n, c = len(root), self.problem.threshold
        scaled = root[:, None] * self.dual
        pull = self.values[:, None] * self.inverse * self.problem.moments
        blocks = np.einsum("ji,li,ki->jlk", pull, scaled, scaled, optimize=True)
        full = np.zeros((n, n, n, n))
        index = np.arange(n)
        for l in range(n):  # noqa: E741 (an index like j and k)
            for k in range(n):
                full[index, k, index, l] += 0.5 * c * blocks[:, l, k]
        full += full.transpose(1, 0, 2, 3)
        full = 0.5 * (full + full.transpose(0, 1, 3, 2))
        rows, columns = np.triu_indices(n)
        scale = np.where(rows == columns, 1.0, math.sqrt(2.0))
        hessian = full[rows, columns][:, rows, columns] * np.outer(scale, scale)
        hessian[np.diag_indices_from(hessian)] += barrier
        found = np.linalg.solve(hessian, gradient[rows, columns] * scale) / scale
        step = np.zeros((n, n))
        step[rows, columns] = step[columns, rows] = found
        return step

    def _iterative(self, gradient: FloatArray, root: FloatArray, barrier: float) -> FloatArray:
        c = self.problem.threshold
        scaled = root[:, None] * self.dual
        pull = self.values[:, None] * self.inverse * self.problem.moments

        def apply(change: FloatArray) -> FloatArray:
            bent = 0.5 * c * (pull * (change @ scaled)) @ scaled.T
            return np.asarray(bent + bent.T + barrier * change)

        diagonal = 0.5 * c * pull @ (scaled**2).T
        diagonal = diagonal + diagonal.T + barrier
        found = np.zeros_like(gradient)
        residual = gradient.copy()
        direction = prepared = residual / diagonal
        size = float(np.sum(residual * prepared))
        enough = 1e-12 * size
        for _ in range(_CONJUGATE_STEPS):
            bent = apply(direction)
            length = size / float(np.sum(direction * bent))
            found = found + length * direction
            residual = residual - length * bent
            prepared = residual / diagonal
            previous, size = size, float(np.sum(residual * prepared))
            if size <= enough:
                break
            direction = prepared + (size / previous) * direction
        return 0.5 * (found + found.T)

    def moved(self, step: FloatArray, share: float) -> _BarrierState | None:
        half = self.vectors * np.sqrt(self.values)
        return _BarrierState.of(self.problem, half @ (np.eye(len(step)) + share * step) @ half.T)


def _first(problem: Penalized) -> _BarrierState:
    """The best multiple of the identity, on a grid, but no smaller than what the largest direction alone asks for.

    Where few of many directions are learned the best multiple is next to nothing, and so small a barrier ends the path.
    """
    n = len(problem.products)
    energy = (problem.products**2).sum(axis=0)
    scales = np.abs(problem.products).max() / problem.moments.max() * np.logspace(-6, 12, 91)
    values = [
        0.5 * problem.threshold * n * s - 0.5 * float(np.sum(energy * s / (problem.moments * s + problem.threshold)))
        for s in scales
    ]
    least = (float(np.linalg.norm(problem.products, 2)) - problem.threshold) / float(problem.moments.max())
    return _BarrierState(problem, np.eye(n), np.full(n, max(float(scales[int(np.argmin(values))]), least)))


def _follow(problem: Penalized, accuracy: float) -> tuple[FloatArray, int]:
    """Follow the path of the barrier down to a gap of `accuracy`."""
    state = _first(problem)
    n = len(state.values)
    barrier = 0.5 * problem.threshold * float(state.values.mean())
    last = max(accuracy / n, _LAST * barrier)
    steps = 0
    while steps < _STEPS:
        step, decrement = state.newton(barrier)
        steps += 1
        lowest = float(np.linalg.eigvalsh(step)[0])
        share = 1.0 if lowest > -0.95 else 0.95 / -lowest
        now, slope = state.objective(barrier), barrier * decrement**2
        after = state.moved(step, share)
        while share > 1e-6 and not _lower(after, barrier, now - 1e-4 * share * slope + 1e-14 * abs(now)):
            share *= 0.5
            after = state.moved(step, share)
        if after is None or share <= 1e-6:
            break
        state = after
        if decrement < 1.0:
            if barrier <= last and decrement < 1e-3:
                break
            barrier = max(barrier * _SHRINK, last)
    return state.minimizer, steps


def _lower(state: _BarrierState | None, barrier: float, value: float) -> bool:
    return state is not None and state.objective(barrier) <= value
