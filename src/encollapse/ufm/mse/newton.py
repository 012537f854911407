"""The bias by a semismooth Newton method in the eigenbasis of the centered labels.

Over ``x = ē - b`` the objective is ``f(x) = Σ_i huber_c(σ_i) + λ_b/2 |ē - x|²``, with ``σ_i²`` the eigenvalues of
``T = Λ + x xᵀ``. ``huber_c(σ)`` is ``σ²/2`` up to c and ``cσ - c²/2`` above. Its gradient is ``φ(T) x - λ_b b`` with
``φ(t) = min(1, c/√t)``. In the eigenbasis of T, with ``w = Qᵀx`` and Γ the divided differences of φ, the
derivative is ``diag(φ + λ_b + Γ w²) + diag(w) Γ diag(w)``: no product of matrices is needed to form it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.mse.secular import secular_svd

MAX_ITERATIONS = 200  # a guard: near the minimum it converges quadratically
_STALLED = 5  # steps in a row without a lower value or half the gradient


def split_mean(
    spectrum: FloatArray, mean: FloatArray, threshold: float, bias_decay: float
) -> tuple[FloatArray, FloatArray, int]:
    """Minimize f in the coordinates that the mean label touches.

    Parameters
    ----------
    spectrum, mean : (n,)
        Distinct singular values of the centered labels, descending, and the nonzero coordinates of the
        mean label, n at least 1.
    threshold : float
        c, in the same units.
    bias_decay : float
        ``λ_b``, infinity included. At 0 the answer is no shift and nothing needs solving. Below -1, which a cheap mean
        of the features leads to (docs/theory-practice.md), f is concave and its maximum is found.

    Returns
    -------
    shift (n,), bias (n,), iterations
        ``x`` and b in the coordinates of the mean label, with ``x + b = ē``. Both are kept, because either may be many
        orders of magnitude below the other.
    """
    if np.isinf(bias_decay):
        return mean, np.zeros_like(mean), 0
    bias = mean / (1.0 + bias_decay)
    shift = mean * (bias_decay / (1.0 + bias_decay))
    state = _NewtonState.at(spectrum, shift, bias, threshold, bias_decay)
    best, stalled, iteration = state, 0, 0
    sign = -1.0 if bias_decay < 0 else 1.0
    while iteration < MAX_ITERATIONS and stalled < _STALLED and state.residual > 4 * EPS * state.magnitude:
        step = state.newton_step()
        slope = float(step @ state.gradient)
        length = 1.0
        while True:
            trial = _NewtonState.at(spectrum, shift + length * step, bias - length * step, threshold, bias_decay)
            descends = sign * trial.value <= sign * (state.value + 1e-4 * length * slope)
            # Near the minimum the value no longer resolves the step, but the gradient still does.
            if descends or trial.residual < 0.5 * state.residual or length < 1e-10:
                break
            length *= 0.5
        # The residual may rise for many steps while the value falls; only both at rest is the end.
        moved = sign * (state.value - trial.value) > 4 * EPS * abs(state.value)
        shift, bias, state = trial.shift, trial.bias, trial
        stalled = 0 if moved or state.residual < 0.5 * best.residual else stalled + 1
        if state.residual < best.residual:
            best = state
        iteration += 1
    return best.shift, best.bias, iteration


@dataclass(frozen=True)
class _NewtonState:
    """Everything known at a trial point."""

    shift: FloatArray
    bias: FloatArray
    value: float
    gradient: FloatArray
    residual: float
    magnitude: float
    vectors: FloatArray
    singular: FloatArray
    ratio: FloatArray
    weights: FloatArray
    threshold: float
    bias_decay: float

    @classmethod
    def at(cls, spectrum: FloatArray, shift: FloatArray, bias: FloatArray, c: float, bias_decay: float) -> _NewtonState:
        vectors, singular, weights = rank_one_svd(spectrum, shift)
        with np.errstate(divide="ignore", over="ignore"):
            ratio = np.minimum(1.0, c / singular)
        pull = vectors @ (ratio * weights)
        gradient = pull - bias_decay * bias
        huber = np.where(singular <= c, 0.5 * singular**2, c * (singular - 0.5 * c))
        return cls(
            shift=shift,
            bias=bias,
            value=float(huber.sum() + 0.5 * bias_decay * (bias @ bias)),
            gradient=gradient,
            residual=float(np.linalg.norm(gradient)),
            magnitude=float(np.linalg.norm(pull) + abs(bias_decay) * np.linalg.norm(bias)),
            vectors=vectors,
            singular=singular,
            ratio=ratio,
            weights=weights,
            threshold=c,
            bias_decay=bias_decay,
        )

    def newton_step(self) -> FloatArray:
        w, differences = self.weights, divided_differences(self.singular, self.threshold)
        hessian = w[:, None] * differences * w[None, :]
        diagonal = self.ratio + self.bias_decay + differences @ w**2
        hessian[np.diag_indices_from(hessian)] += diagonal
        downhill = -(self.vectors.T @ self.gradient)
        try:
            step = scipy.linalg.solve(hessian, downhill, assume_a="sym")
        except np.linalg.LinAlgError:  # where the second derivative underflows
            step = np.linalg.lstsq(hessian, downhill, rcond=None)[0]
        return np.asarray(self.vectors @ step)


def rank_one_svd(spectrum: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Left singular vectors Q and singular values σ of ``[diag(spectrum) | shift]``, and ``w = Qᵀ shift``.

    Shapes (n, n), (n,) and (n,). A dense decomposition, which loses what is far below the largest singular
    value, is only the fallback.
    """
    with contextlib.suppress(np.linalg.LinAlgError):
        return secular_svd(spectrum, shift)
    vectors, singular, right = np.linalg.svd(np.column_stack([np.diag(spectrum), shift]), full_matrices=False)
    return vectors, singular, singular * right[:, -1]


def divided_differences(singular: FloatArray, threshold: float) -> FloatArray:
    """``(φ(s²) - φ(t²))/(s² - t²)`` for ``φ(s²) = min(1, c/s)``, shape (n, n), without cancellation.

    On the diagonal, the derivative from above at c.
    """
    c = threshold
    s, t = np.maximum.outer(singular, singular), np.minimum.outer(singular, singular)
    result = np.zeros_like(s)
    both = t >= c
    np.divide(-c, s * t * (s + t), out=result, where=both & (s > 0))
    mixed = (s > c) & ~both
    np.divide(c - s, s * (s - t) * (s + t), out=result, where=mixed)
    return result
