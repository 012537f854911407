"""Orthogonal frames and other closed forms of non-negative features."""

from __future__ import annotations

import math

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.relu.model import ReluModel

_MAX_ITERATIONS = 200  # a guard: Newton's method converges quadratically


def balanced_affine_features(model: ReluModel, contrast: float, mean: float) -> FloatArray:
    """Global minimizer X (r, K) for balanced affine images of one-hot labels, in units of the labels.

    J is convex and does not change when classes are permuted, so the average of a minimizer over all permutations is
    one: ``Γ = γ₁ (I - u uᵀ) + γ₂ u uᵀ``, whose entries are not negative exactly if ``γ₂ ≥ γ₁``. Without that constraint
    ``γ₁ = (a/c - 1)₊`` and ``γ₂ = (e/c - 1/β)₊``. If ``γ₂ ≥ γ₁`` these are the linear features. Otherwise
    ``γ₁ = γ₂ = y - 1``, an orthogonal frame, with y the root of ``(K - 1) a²/y² + e²/(y + 1/λ_b)² = K c²``. Both are
    reached by the symmetric root of Γ, which has no negative entry.

    Parameters
    ----------
    model : ReluModel
        With equal counts and codewords ``α I + γ 11ᵀ``, or an isometric image of them.
    contrast, mean : float
        ``a = |α|/√K``, the singular value of the centered labels, and ``e = |ē|``.
    """
    k, c, beta = model.num_classes, model.threshold, model.share
    free_contrast = max(contrast / c - 1.0, 0.0)
    free_mean = max(mean / c - 1.0 / beta, 0.0) if beta > 0 else 0.0
    if free_mean >= free_contrast:
        low, high = math.sqrt(free_contrast), math.sqrt(free_mean)
        if free_mean == 0.0:
            return np.zeros((0, k))
        if free_contrast == 0.0:
            return np.full((1, k), high / math.sqrt(k))
        return low * np.eye(k) + (high - low) / k * np.ones((k, k))
    size = _frame_root(k, c, contrast, mean, math.inf if beta == 0 else 1.0 / beta - 1.0) - 1.0
    return np.zeros((0, k)) if size <= 8 * EPS else math.sqrt(size) * np.eye(k)


def _frame_root(k: int, c: float, a: float, e: float, offset: float) -> float:
    """Root y of ``(K - 1) a²/y² + e²/(y + offset)² = K c²``, or 1 if it is below 1.

    The left side is convex and falls, so Newton's method from the left of the root goes up to it.
    """
    y = max(math.sqrt((k - 1) / k) * a / c, 1.0)
    for _ in range(_MAX_ITERATIONS):
        first, second = (k - 1) * a**2 / y**2, (e / (y + offset)) ** 2
        excess = first + second - k * c**2
        if excess <= 0:
            break
        step = excess / (2.0 * (first / y + second / (y + offset)))
        y += step
        if step <= EPS * y:
            break
    return y


def best_orthogonal_frame(model: ReluModel) -> FloatArray:
    """Diagonal γ (K,) of the Γ that minimizes J among diagonal matrices: convex, by projected Newton steps."""
    c = model.threshold
    gamma = np.maximum(np.sqrt(np.diag(model.gram)) / c - 1.0, 0.1)
    value, full, factors = model.derivatives(np.diag(gamma))
    for _ in range(_MAX_ITERATIONS):
        gradient = np.diag(full)
        free = (gamma > 0) | (gradient < 0)
        if np.linalg.norm(gradient[free]) <= 4 * EPS * c**2 or not free.any():
            break
        step = np.zeros_like(gamma)
        inner = (factors[0] * factors[1])[np.ix_(free, free)]
        # Directions in which J is linear to rounding still need a finite step.
        ridge = 1e-12 * float(np.abs(inner).max()) * np.eye(len(inner))
        step[free] = -np.linalg.solve(inner + ridge, gradient[free])
        moved = _search(model, gamma, step, value, float(np.linalg.norm(gradient[free])))
        if moved is None:
            break
        gamma, value, full, factors = moved
    return gamma


def _search(
    model: ReluModel, gamma: FloatArray, step: FloatArray, value: float, residual: float
) -> tuple[FloatArray, float, FloatArray, tuple[FloatArray, FloatArray]] | None:
    length = 1.0
    while length > 1e-10:
        trial = np.maximum(gamma + length * step, 0.0)
        trial_value, full, factors = model.derivatives(np.diag(trial))
        gradient = np.diag(full)
        left = float(np.linalg.norm(gradient[(trial > 0) | (gradient < 0)]))
        if trial_value < value - 1e-14 * abs(value) or (left < 0.5 * residual and trial_value <= value * (1 + 1e-13)):
            return trial, trial_value, full, factors
        length *= 0.5
    return None
