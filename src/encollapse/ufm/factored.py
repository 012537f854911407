"""Descent on factors of the unknown: L-BFGS to get near, then a trust-region Newton method.

With ``Z = L Rᵀ`` the nuclear norm is the smallest ``½|L|² + ½|R|²``, so the objective becomes smooth. It is not convex,
but a point from which the dual bound closes is a global minimum however it was found, and wide enough factors have no
other minima :cite:p:`haeffele2015`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from encollapse._typing import FloatArray
from encollapse.ufm.composite import Composite, Spectral
from encollapse.ufm.losses import Curvature

_EPS = float(np.finfo(np.float64).eps)


class Factored:
    """The objective over one vector ``(L, R, α, β, b)``, with gradients and second derivatives at the last point.

    ``Z = L Rᵀ`` has rank at most r, contrasts are ``α β / multiplicity``, and the bias is stretched so that its second
    derivative is of the order of c.
    """

    def __init__(self, composite: Composite, rank: int) -> None:
        self.composite = composite
        table = composite.table
        (n, m), g, p = table.shape, len(table.contrasts), len(table.outputs) * composite.has_bias
        self._shapes = ((n, rank), (m, rank), (g,), (g,), (p,))
        self._ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        self._many = np.maximum(table.contrasts, 1.0)
        c, decay = composite.threshold, composite.bias_decay
        self._stretch = np.sqrt(c / (c + decay) / table.outputs) if composite.has_bias else np.zeros(0)
        self._factors: list[FloatArray] = []
        self._slopes: tuple[FloatArray, FloatArray] = (np.zeros(0), np.zeros(0))
        self._curvature: Curvature = np.copy

    def pack(self, point: Spectral, bias: FloatArray) -> FloatArray:
        """Vector of balanced factors; directions beyond the rank of the point are 0."""
        x = np.zeros(self._ends[-1])
        left, right, alpha, beta, b = self._split(x)
        root, r = np.sqrt(point.singular), len(point.singular)
        left[:, :r] = point.left * root
        right[:, :r] = point.right.T * root
        alpha[:] = np.sqrt(self._many * np.abs(point.contrast))
        beta[:] = np.sign(point.contrast) * alpha
        if self.composite.has_bias:
            b[:] = bias / self._stretch
        return x

    def unpack(self, x: FloatArray) -> tuple[Spectral, FloatArray]:
        """Point and bias of a vector."""
        left, right, alpha, beta, b = self._split(x)
        # Thin factors: the decomposition of the product needs that of a small core only.
        q_left, r_left = np.linalg.qr(left)
        q_right, r_right = np.linalg.qr(right)
        u, s, v = np.linalg.svd(r_left @ r_right.T)
        bias = b * self._stretch if self.composite.has_bias else np.zeros(len(self.composite.table.outputs))
        return Spectral(q_left @ u, s, v @ q_right.T, alpha * beta / self._many), bias

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient, in units of c."""
        k = self.composite
        left, right, alpha, beta, b = self._split(x)
        bias = b * self._stretch if k.has_bias else np.zeros(len(k.table.outputs))
        outputs = k.table.forward(left @ right.T, alpha * beta / self._many, bias)
        gradient = np.empty_like(x)
        to_left, to_right, to_alpha, to_beta, to_b = self._split(gradient)
        matrix, contrast, mean = k.pull(k.gradient(outputs))
        contrast /= self._many
        c = k.threshold
        to_left[:] = matrix @ right / c + left
        to_right[:] = matrix.T @ left / c + right
        to_alpha[:] = contrast * beta / c + alpha
        to_beta[:] = contrast * alpha / c + beta
        value = k.fit(outputs) / c + 0.5 * float(x[: self._ends[3]] @ x[: self._ends[3]])
        if k.has_bias:
            to_b[:] = (self._stretch * mean + k.bias_decay * k.table.outputs * self._stretch**2 * b) / c
            value += k.penalty(bias) / c
        self._factors = [left, right, alpha, beta]
        self._slopes = (matrix, contrast)
        self._outputs = outputs
        return value, gradient

    def prepare(self) -> None:
        """Set up second derivatives at the point last evaluated."""
        t = self.composite.table
        self._curvature = self.composite.loss.curvature(self._outputs, t.targets, t.copies)
        self._at = (self._factors, self._slopes)

    def second_derivative(self, d: FloatArray) -> FloatArray:
        """Second derivative at the prepared point applied to `d`, in units of c."""
        k, c = self.composite, self.composite.threshold
        (left, right, alpha, beta), (matrix, contrast) = self._at
        d_left, d_right, d_alpha, d_beta, d_b = self._split(d)
        bias = d_b * self._stretch if k.has_bias else np.zeros(len(k.table.outputs))
        change = d_left @ right.T
        change += left @ d_right.T
        outputs = k.table.forward(change, (d_alpha * beta + alpha * d_beta) / self._many, bias)
        bent, turned, mean = k.pull(self._curvature(outputs))
        turned /= self._many
        result = np.empty_like(d)
        to_left, to_right, to_alpha, to_beta, to_b = self._split(result)
        to_left[:] = bent @ right
        to_left += matrix @ d_right
        to_right[:] = bent.T @ left
        to_right += matrix.T @ d_left
        to_alpha[:] = turned * beta + contrast * d_beta
        to_beta[:] = turned * alpha + contrast * d_alpha
        if k.has_bias:
            to_b[:] = self._stretch * mean + k.bias_decay * k.table.outputs * self._stretch**2 * d_b
        result /= c
        result[: self._ends[3]] += d[: self._ends[3]]
        return result

    def _split(self, x: FloatArray) -> list[FloatArray]:
        parts = np.split(x, self._ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]


def approach(factored: Factored, x: FloatArray, iterations: int) -> FloatArray:
    """Limited-memory quasi-Newton steps :cite:p:`liu1989`: cheap far from the minimum."""
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10, "ftol": 0.0, "gtol": 1e-9}
    found = minimize(factored.value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


@dataclass
class TrustRegion:
    """Newton's method with conjugate gradients inside a ball :cite:p:`steihaug1983`; its radius outlives a run."""

    radius: float = math.inf
    steps: int = 0

    def descend(self, factored: Factored, x: FloatArray, *, iterations: int, tolerance: float) -> FloatArray:
        """Take up to `iterations` steps, or until the gradient is below `tolerance` (in units of c)."""
        value, gradient = factored.value_and_gradient(x)
        for _ in range(iterations):
            size = float(np.linalg.norm(gradient))
            if size <= tolerance:
                break
            self.steps += 1
            factored.prepare()
            forcing = min(0.1, math.sqrt(size)) * size
            step, predicted, on_edge = conjugate_gradients(factored, gradient, forcing, self.radius)
            moved = self._line_search(factored, x, step, value, size, predicted, on_edge)
            if moved is None:
                break
            x, value, gradient = moved
        return x

    def _line_search(
        self,
        factored: Factored,
        x: FloatArray,
        step: FloatArray,
        value: float,
        size: float,
        predicted: float,
        on_edge: bool,
    ) -> tuple[FloatArray, float, FloatArray] | None:
        """Shorten a step that fails rather than solve for it again, and adapt the radius."""
        length = float(np.linalg.norm(step))
        for halvings in range(_HALVINGS):
            share = 0.25**halvings
            new_value, new_gradient = factored.value_and_gradient(x + share * step)
            gained = value - new_value
            rounding = 64 * _EPS * abs(value)
            if predicted <= rounding:
                # Values no longer tell: near the minimum the gradient does.
                accepted = float(np.linalg.norm(new_gradient)) < size
            else:
                accepted = gained > 1e-4 * share * predicted
            if accepted:
                if halvings:
                    self.radius = 2.0 * share * length
                elif gained < 0.25 * predicted and predicted > rounding:
                    self.radius = 0.5 * length
                elif on_edge and gained > 0.75 * predicted:
                    self.radius = 3.0 * self.radius
                return x + share * step, new_value, new_gradient
        return None


_HALVINGS = 12
_CONJUGATE_STEPS = 400


def conjugate_gradients(
    factored: Factored, gradient: FloatArray, tolerance: float, radius: float
) -> tuple[FloatArray, float, bool]:
    """Minimise the quadratic model inside a ball; returns step, predicted gain, and whether it ends on the edge."""
    step = np.zeros_like(gradient)
    bent = np.zeros_like(gradient)
    residual = -gradient
    direction = residual.copy()
    square = float(residual @ residual)
    on_edge = False
    for _ in range(_CONJUGATE_STEPS):
        curved = factored.second_derivative(direction)
        bending = float(direction @ curved)
        length = square / bending if bending > 0 else math.inf
        dd, pd, pp = float(direction @ direction), float(step @ direction), float(step @ step)
        if math.isinf(length) and math.isinf(radius):
            # Negative curvature without a ball: stop at what there is, or at the gradient itself.
            if pp == 0.0:
                step, bent = direction, curved
            break
        if not math.isinf(radius):
            edge = (-pd + math.sqrt(pd * pd + dd * max(radius * radius - pp, 0.0))) / dd
            on_edge = edge <= length
            length = min(length, edge)
        step = step + length * direction
        bent = bent + length * curved
        if on_edge:
            break
        residual = residual - length * curved
        previous, square = square, float(residual @ residual)
        if math.sqrt(square) <= tolerance:
            break
        direction = residual + (square / previous) * direction
    return step, -float(gradient @ step + 0.5 * (step @ bent)), on_edge
