"""The frames that class means are compared with, as Gram matrices."""

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError

_ROUNDING = 64 * EPS
"""Share of the longest vector below which a length is rounding: some sums of products of the entries."""

ROUNDING_OF_DIFFERENCES = float(np.sqrt(_ROUNDING))
"""The same for a vector whose squared length is a difference of squared lengths of that size."""


def simplex_etf_gram(num_classes: int) -> FloatArray:
    """Gram matrix of a unit-norm simplex equiangular tight frame: 1, and ``-1/(K - 1)`` off the diagonal.

    Parameters
    ----------
    num_classes : int
        Number of vectors K, at least 2.

    Returns
    -------
    (K, K) array
        What class means about their mean collapse to for balanced one-hot labels :cite:p:`papyan2020`.

    Raises
    ------
    ArgumentError
        If `num_classes` is below 2.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.simplex_etf_gram(3)
    array([[ 1. , -0.5, -0.5],
           [-0.5,  1. , -0.5],
           [-0.5, -0.5,  1. ]])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    memory.require_room("num_classes", k, k, instead="cosines of a frame are known without its matrix")
    gram = np.full((k, k), -1.0 / (k - 1))
    np.fill_diagonal(gram, 1.0)
    return gram


def orthogonal_gram(num_classes: int) -> FloatArray:
    """Gram matrix of a unit-norm orthogonal frame: the identity.

    Parameters
    ----------
    num_classes : int
        Number of vectors K, at least 2.

    Returns
    -------
    (K, K) array
        What class means collapse to for balanced one-hot labels without a bias :cite:p:`massion2026`.

    Raises
    ------
    ArgumentError
        If `num_classes` is below 2.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.orthogonal_gram(2)
    array([[1., 0.],
           [0., 1.]])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    memory.require_room("num_classes", k, k, instead="cosines of a frame are known without its matrix")
    return np.eye(k)


def gram_lengths(squares: FloatArray, *, longest: float = 0.0, resolution: float = 0.0) -> FloatArray:
    """Lengths of vectors from the diagonal of their Gram matrix, or 0 where one is rounding, NaN where it is unknown.

    This is what "the mean is zero" means in the package: shorter than 64 eps, or `resolution`, times the longest
    of the vectors and of what they are differences of, which may be as long as `longest`.
    """
    lengths = np.sqrt(np.clip(squares, 0.0, None))
    scale = max(float(np.nanmax(lengths)), longest)
    return np.where(lengths <= max(_ROUNDING, resolution) * scale, 0.0, lengths)


def gram_cosines(gram: FloatArray, *, longest: float = 0.0, resolution: float = 0.0) -> FloatArray:
    """Cosines of a Gram matrix (K, K), or NaN where a vector is zero as :func:`gram_lengths` has it."""
    lengths = gram_lengths(np.diag(gram), longest=longest, resolution=resolution)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = gram / lengths[:, None] / lengths[None, :]
    defined = lengths > 0
    cosines[~defined, :] = cosines[:, ~defined] = np.nan
    cosines[np.flatnonzero(defined), np.flatnonzero(defined)] = 1.0
    return np.clip(cosines, -1.0, 1.0)


def frame_gram(name: str, num_classes: int) -> FloatArray:
    """Gram matrix of a frame by name: ``"simplex_etf"`` or ``"orthogonal"``."""
    checks.choice(name, "target", ("simplex_etf", "orthogonal"))
    return simplex_etf_gram(num_classes) if name == "simplex_etf" else orthogonal_gram(num_classes)


def frame_distance(gram: FloatArray, target: FloatArray) -> float:
    """``|G/|G| - T/|T||_F``: 0 where the shapes agree whatever their size, at most 2.

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
