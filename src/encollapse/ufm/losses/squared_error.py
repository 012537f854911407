"""The squared error as a convex loss."""

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.losses.separable import SeparableLoss


class SquaredError(SeparableLoss):
    """``½(o - p)²``, for the methods that take any convex loss."""

    name = "mse"
    smoothness = 1.0

    def phi(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``½(o - p)²``."""
        return np.asarray(0.5 * (o - p) ** 2)

    def slope(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``o - p``."""
        return np.asarray(o - p)

    def second_derivative(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """1."""
        return np.ones(np.broadcast_shapes(o.shape, p.shape))

    def conjugate_phi(self, y: FloatArray, p: FloatArray) -> FloatArray:
        """``p y + ½y²``."""
        return np.asarray(p * y + 0.5 * y**2)


SQUARED_ERROR = SquaredError()
