"""Convex losses of one's own, in the few lines that the solver asks for."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

import encollapse as ec

Array = NDArray[np.float64]


class HalfSquares(ec.ufm.SeparableLoss):
    """The squared error again, under the method for any loss: its slopes have no bounds."""

    name = "half_squares"
    smoothness = 1.0

    def phi(self, o: Array, p: Array) -> Array:
        """Loss."""
        return 0.5 * (o - p) ** 2

    def slope(self, o: Array, p: Array) -> Array:
        """Derivative."""
        return o - p

    def second_derivative(self, o: Array, p: Array) -> Array:
        """Second derivative."""
        return np.ones_like(o - p)

    def conjugate_phi(self, y: Array, p: Array) -> Array:
        """Conjugate."""
        return p * y + 0.5 * y**2


class Logistic(ec.ufm.SeparableLoss):
    """One-vs-rest logistic loss ``Σ_i log(1 + exp(o_i)) - p_i o_i`` with each p_i from 0 to 1."""

    name = "logistic"
    smoothness = 0.25

    def phi(self, o: Array, p: Array) -> Array:
        """Loss of each output."""
        return np.asarray(np.logaddexp(0, o) - p * o)

    def slope(self, o: Array, p: Array) -> Array:
        """Derivative."""
        return np.asarray(np.where(p == 1, -expit(-o), expit(o) - p))

    def second_derivative(self, o: Array, p: Array) -> Array:
        """Second derivative."""
        return np.asarray(expit(o) * expit(-o))

    def conjugate_phi(self, y: Array, p: Array) -> Array:
        """Negative entropy."""
        x = np.clip(y + p, 0, 1)
        return np.asarray(xlogy(x, x) + xlogy(1 - x, 1 - x))

    def slopes(self, p: Array) -> tuple[Array, Array]:
        """Domain of the conjugate."""
        return -p, 1 - p
