"""Descent to a local minimum by a Newton method that leaves saddle points, from several starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray

MAX_ITERATIONS = 200  # a guard: near the minimum it converges quadratically
_STALLED = 4  # steps in a row without a lower value or half the gradient
_SAME_VALUE = 1e-13  # relative difference of two values that is rounding
_CURVED = 1e-9  # of the largest curvature: less negative is flat


class DescentState(Protocol):
    """A function at one point."""

    @property
    def value(self) -> float:
        """Value of the function."""

    @property
    def gradient(self) -> FloatArray:
        """Its gradient, shape (n,)."""

    @property
    def residual(self) -> float:
        """Norm of the gradient."""

    @property
    def magnitude(self) -> float:
        """Size of the terms that cancel in the gradient."""

    def hessian(self) -> FloatArray:
        """Second derivative, shape (n, n)."""

    def moved(self, step: FloatArray) -> DescentState:
        """Return the state at another point."""


S = TypeVar("S", bound=DescentState)


def lowest(starts: Iterable[S]) -> tuple[S, int]:
    """Descend from every start. Return the lowest end, of equal ones the most stationary, and all steps taken."""
    best, total = None, 0
    for start in starts:
        found, steps = descend(start)
        total += steps
        if best is None or _better(found, best):
            best = found
    if best is None:
        raise ValueError("no starts")
    return best, total


def _better(one: DescentState, other: DescentState) -> bool:
    slack = _SAME_VALUE * abs(other.value)
    if one.value < other.value - slack:
        return True
    return one.value <= other.value + slack and one.residual < other.residual


def descend(state: S) -> tuple[S, int]:
    """Follow Newton steps on the absolute Hessian, then directions of negative curvature. Return end and steps."""
    stalled = 0
    for iteration in range(MAX_ITERATIONS):
        values, vectors = np.linalg.eigh(state.hessian())
        size = float(np.abs(values).max(initial=0.0))
        at_rest = state.residual <= 4 * EPS * state.magnitude or stalled >= _STALLED
        if at_rest or size == 0.0:
            downhill = _downhill(state, vectors[:, 0]) if values[0] < -_CURVED * size else None
            if downhill is None:
                return state, iteration
            state, stalled = downhill, 0
            continue
        along = vectors.T @ state.gradient
        step = -vectors @ (along / np.maximum(np.abs(values), 1e-14 * size))
        trial = _search(state, step, float(step @ state.gradient))
        if trial is None:
            stalled = _STALLED
            continue
        stalled = 0 if _gains(trial, state) else stalled + 1
        state = trial
    return state, MAX_ITERATIONS


def _gains(trial: DescentState, state: DescentState) -> bool:
    return trial.residual < 0.5 * state.residual or trial.value < state.value - _SAME_VALUE * abs(state.value)


def _search(state: S, step: FloatArray, slope: float) -> S | None:
    """Shorten the step until the value falls enough. Near a minimum the gradient resolves more than the value."""
    length = 1.0
    while length > 1e-12:
        trial: S = state.moved(length * step)  # type: ignore[assignment]
        if trial.value <= state.value + 1e-4 * length * slope and trial.value < state.value:
            return trial
        if trial.residual < 0.5 * state.residual and trial.value <= state.value + _SAME_VALUE * abs(state.value):
            return trial
        length *= 0.5
    return None


def _downhill(state: S, direction: FloatArray) -> S | None:
    """Leave a saddle point along a direction of negative curvature."""
    best: S | None = None
    for exponent in range(-12, 4):
        for sign in (1.0, -1.0):
            trial: S = state.moved(sign * 2.0**exponent * direction)  # type: ignore[assignment]
            lowest_so_far = state.value if best is None else best.value
            if trial.value < lowest_so_far - _SAME_VALUE * abs(state.value):
                best = trial
    return best
