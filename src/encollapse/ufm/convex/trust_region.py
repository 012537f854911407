"""Conjugate gradients inside a ball: how far a Newton step may go, and what it is to gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from encollapse._internal.typing import FloatArray

LinearMap = Callable[[FloatArray], FloatArray]


class Reached(NamedTuple):
    """A step, the gain that the quadratic model predicts for it, and whether it ends on the edge of the ball."""

    step: FloatArray
    gain: float
    on_edge: bool


def conjugate_path(
    second_derivative: LinearMap, gradient: FloatArray, tolerance: float, radius: float, most: int
) -> Iterator[Reached]:
    """Minimize a quadratic model inside a ball :cite:p:`steihaug1983`, in at most `most` steps, and yield the way.

    Steps grow along it. There are none where the gradient is zero.
    """
    step, bent = np.zeros_like(gradient), np.zeros_like(gradient)
    residual = -gradient
    direction = residual.copy()
    square = float(residual @ residual)
    for _ in range(most):
        if square == 0.0:
            return
        curved = second_derivative(direction)
        bending = float(direction @ curved)
        length = square / bending if bending > 0 else math.inf
        edge = _to_edge(step, direction, radius)
        length, on_edge = min(length, edge), edge <= length
        step = step + length * direction
        bent = bent + length * curved
        yield Reached(step, -float(gradient @ step + 0.5 * (step @ bent)), on_edge)
        residual = residual - length * curved
        previous, square = square, float(residual @ residual)
        if on_edge or math.sqrt(square) <= tolerance:
            return
        direction = residual + (square / previous) * direction


def conjugate_step(
    second_derivative: LinearMap, gradient: FloatArray, tolerance: float, radius: float, most: int
) -> Reached:
    """The end of the :func:`conjugate_path`, zero where the gradient is. The way is not kept."""
    end = Reached(np.zeros_like(gradient), 0.0, False)
    for end in conjugate_path(second_derivative, gradient, tolerance, radius, most):  # noqa: B007
        pass
    return end


def shortened(path: list[Reached], radius: float, least: float) -> list[Reached]:
    """The part of a path inside a smaller ball, which costs no more products.

    Where that is none of it, a share of its first step, which is along the gradient, or nothing if it is below `least`.
    """
    inside = [reached for reached in path if float(np.linalg.norm(reached.step)) <= radius]
    if inside:
        return inside
    step, gain, _ = path[0]
    share = radius / float(np.linalg.norm(step))
    return [] if share < least else [Reached(share * step, share * gain, False)]


def _to_edge(step: FloatArray, direction: FloatArray, radius: float) -> float:
    dd, pd, pp = float(direction @ direction), float(step @ direction), float(step @ step)
    return (-pd + math.sqrt(pd * pd + dd * max(radius * radius - pp, 0.0))) / dd
