"""The frames that class means are compared with, as Gram matrices."""

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError


def simplex_etf_gram(num_classes: int) -> FloatArray:
    """Gram matrix of a unit-norm simplex equiangular tight frame: 1, and ``-1/(K - 1)`` off the diagonal.

    Shape (num_classes, num_classes) :cite:p:`papyan2020`.
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    gram = np.full((k, k), -1.0 / (k - 1))
    np.fill_diagonal(gram, 1.0)
    return gram


def orthogonal_gram(num_classes: int) -> FloatArray:
    """Gram matrix of a unit-norm orthogonal frame: the identity, shape (num_classes, num_classes)."""
    return np.eye(checks.integer(num_classes, "num_classes", minimum=2))


def frame_gram(name: str, num_classes: int) -> FloatArray:
    """Gram matrix of a frame by name: ``"simplex_etf"`` or ``"orthogonal"``."""
    checks.choice(name, "target", ("simplex_etf", "orthogonal"))
    return simplex_etf_gram(num_classes) if name == "simplex_etf" else orthogonal_gram(num_classes)


def frame_distance(gram: FloatArray, target: FloatArray) -> float:
    """``|G/|G| - T/|T||_F``: 0 where the shapes agree whatever their size; at most 2.

    Raises
    ------
    ArgumentError
        If either matrix is zero, which has no shape.
    """
    return float(np.linalg.norm(_unit(gram, "gram") - _unit(target, "target")))


def _unit(matrix: FloatArray, name: str) -> FloatArray:
    # Dividing by the largest entry first keeps the squares of tiny or huge Gram matrices in range.
    peak = float(np.abs(matrix).max())
    if peak == 0.0:
        raise ArgumentError(f"{name}: a zero Gram matrix has no shape to compare; every class mean is zero")
    scaled = matrix / peak
    return np.asarray(scaled / np.linalg.norm(scaled))
