"""Descent on factors of the unknown: L-BFGS to get near, then a trust-region Newton method.

With ``Z = L Rᵀ`` the nuclear norm is the smallest ``½|L|² + ½|R|²``, so the objective becomes smooth. It is not convex,
but a point from which the dual bound closes is a global minimum however it was found, and wide enough factors have no
other minima :cite:p:`haeffele2015`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite, GroupedSVD
from encollapse.ufm.convex.trust_region import LinearMap


class BurerMonteiro:
    """The objective over one vector ``(L, R, α, β, b)``, with gradients and second derivatives at the last point.

    ``Z = L Rᵀ`` has the rank of the point that it starts from, contrasts are ``α β / multiplicity``, and the bias is
    stretched so that its decay does not dwarf the second derivative of the fit.
    """

    def __init__(self, composite: Composite, point: GroupedSVD, bias: FloatArray) -> None:
        self.composite = composite
        self.point = point
        rank = len(point.singular)
        table = composite.table
        (n, m), g, p = table.shape, len(table.contrasts), len(table.outputs) * composite.has_bias
        self._shapes = ((n, rank), (m, rank), (g,), (g,), (p,))
        self._ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        self._many = np.maximum(table.contrasts, 1.0)
        self._stretch = _stretch(composite, point, bias) if composite.has_bias else np.zeros(0)
        self._decay = np.zeros(0)
        if composite.has_bias:
            self._decay = composite.bias_decay * table.outputs * self._stretch**2
        self.start = self._pack(point, bias)

    def _pack(self, point: GroupedSVD, bias: FloatArray) -> FloatArray:
        """Vector of balanced factors."""
        root, alpha = np.sqrt(point.singular), np.sqrt(self._many * np.abs(point.contrast))
        parts = [point.left * root, point.right.T * root, alpha, np.sign(point.contrast) * alpha]
        if self.composite.has_bias:
            parts.append(bias / self._stretch)
        return np.concatenate([part.ravel() for part in parts])

    def product(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Matrix, contrasts and bias of a vector."""
        left, right, alpha, beta, b = self._split(x)
        return left @ right.T, alpha * beta / self._many, self._bias(b)

    def tangent(self, d: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Matrix, contrasts and bias by which the start changes to first order along `d`."""
        left, right, alpha, beta, _ = self._split(self.start)
        d_left, d_right, d_alpha, d_beta, d_b = self._split(d)
        matrix = d_left @ right.T
        matrix += left @ d_right.T
        return matrix, (d_alpha * beta + alpha * d_beta) / self._many, self._bias(d_b)

    def _bias(self, b: FloatArray) -> FloatArray:
        k = self.composite
        return b * self._stretch if k.has_bias else np.zeros(len(k.table.outputs))

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient, in units of c."""
        k, c = self.composite, self.composite.threshold
        left, right, alpha, beta, b = self._split(x)
        parts = self.product(x)
        outputs = k.table.forward(*parts)
        matrix, contrast, mean = k.pull(k.gradient(outputs))
        gradient = np.empty_like(x)
        to_left, to_right, to_alpha, to_beta, to_b = self._split(gradient)
        to_left[:] = matrix @ right
        to_right[:] = matrix.T @ left
        to_alpha[:] = contrast / self._many * beta
        to_beta[:] = contrast / self._many * alpha
        if k.has_bias:
            to_b[:] = self._stretch * mean + self._decay * b
        gradient /= c
        factors = x[: self._ends[3]]
        gradient[: self._ends[3]] += factors
        value = (k.fit(outputs) + k.penalty(parts[2])) / c + 0.5 * float(factors @ factors)
        return value, gradient

    def second_derivative(self) -> LinearMap:
        """Second derivative of the objective in Z at the start, in units of c, as a map of vectors.

        On the range of Z the slope of the fit is replaced by that of the nuclear norm, which it cancels at the
        minimum, and off that range it is kept below c: the model is convex everywhere, exact at the minimum, and
        blind to rotations of the factors, which leave Z as it is.
        """
        k, c, t = self.composite, self.composite.threshold, self.composite.table
        left, right, alpha, beta, _ = self._split(self.start)
        outputs = t.forward(*self.product(self.start))
        matrix, contrast = self._slopes(*k.pull(k.gradient(outputs))[:2])
        curvature = k.loss.curvature(outputs, t.targets, t.copies)

        def apply(d: FloatArray) -> FloatArray:
            d_left, d_right, d_alpha, d_beta, d_b = self._split(d)
            bent, turned, mean = k.pull(curvature(t.forward(*self.tangent(d))))
            turned = turned / self._many
            result = np.empty_like(d)
            to_left, to_right, to_alpha, to_beta, to_b = self._split(result)
            to_left[:] = bent @ right
            to_left += matrix @ d_right
            to_right[:] = bent.T @ left
            to_right += matrix.T @ d_left
            to_alpha[:] = turned * beta + contrast * d_beta
            to_beta[:] = turned * alpha + contrast * d_alpha
            if k.has_bias:
                to_b[:] = self._stretch * mean + self._decay * d_b
            result /= c
            result[: self._ends[3]] += d[: self._ends[3]]
            return result

        return apply

    def _slopes(self, matrix: FloatArray, contrast: FloatArray) -> tuple[FloatArray, FloatArray]:
        c, u, v = self.composite.threshold, self.point.left, self.point.right
        outside = matrix - u @ (u.T @ matrix)
        outside -= (outside @ v.T) @ v
        if len(self.point.singular) < min(matrix.shape):
            outside *= min(1.0, c / max(float(np.linalg.norm(outside, 2)), c * EPS))
        else:
            outside[:] = 0.0
        signs = np.sign(self.point.contrast)
        return outside - c * (u @ v), np.where(signs == 0, np.clip(contrast / self._many, -c, c), -c * signs)

    def _split(self, x: FloatArray) -> list[FloatArray]:
        parts = np.split(x, self._ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]


def _stretch(composite: Composite, point: GroupedSVD, bias: FloatArray) -> FloatArray:
    """Scale of the bias from a sample of the second derivative of the fit."""
    t = composite.table
    outputs = t.forward(point.matrix, point.contrast, bias)
    probe = np.random.default_rng(0).standard_normal(len(bias))
    change = t.spread(probe - t.outputs @ probe / t.outputs.sum())
    bent = composite.loss.curvature(outputs, t.targets, t.copies)(change)
    bending = float(np.sum(bent * change * t.copies * t.weights)) / float(t.outputs @ probe**2)
    bending = max(bending, composite.threshold * EPS)
    return np.asarray(np.sqrt(bending / (bending + composite.bias_decay) / t.outputs))


def approach(factored: BurerMonteiro, iterations: int) -> FloatArray:
    """Limited-memory quasi-Newton steps :cite:p:`liu1989`: cheap far from the minimum."""
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10, "ftol": 0.0, "gtol": 1e-9}
    found = minimize(factored.value_and_gradient, factored.start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)
