"""Traces of quotients of scatter matrices from triangular factors, where conditioning allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, lapack, solve_triangular

from encollapse._typing import FloatArray

_LEAST_CONDITION = 1e-8
"""Reciprocal condition number from which on a Cholesky factor is trusted with half of all digits."""


def factor(matrix: FloatArray, least: float = _LEAST_CONDITION) -> FloatArray | None:
    """Lower Cholesky factor of a symmetric matrix; None where it is singular or nearly so."""
    try:
        lower = np.linalg.cholesky(matrix)
    except (np.linalg.LinAlgError, LinAlgError):
        return None
    size = float(np.abs(matrix).sum(axis=0).max())
    condition, _ = lapack.dpocon(lower.T, size, uplo="U")  # the transpose, so that nothing is copied
    return np.asarray(lower) if condition >= least else None


@dataclass(frozen=True, eq=False)
class Factored:
    """A symmetric positive semidefinite matrix, its largest column sum, and the factor of the quotient.

    Parameters
    ----------
    matrix : (d, d)
    size : float
        Largest sum of absolute values of a column; 0 for the zero matrix.
    lower : (d, d) or None
        ``matrix = size · L Lᵀ``; None where the matrix is singular or nearly so.
    """

    matrix: FloatArray
    size: float
    lower: FloatArray | None

    @classmethod
    def of(cls, matrix: FloatArray) -> Factored:
        """Factorise."""
        size = float(np.linalg.norm(matrix, 1))
        return cls(matrix, size, factor(matrix / size) if 0.0 < size < np.inf else None)


def solve(lower: FloatArray, right: FloatArray, *, transposed: bool = False) -> FloatArray:
    """``L⁻¹ B``, or ``L⁻ᵀ B``."""
    return np.asarray(
        solve_triangular(lower, right, lower=True, trans=1 if transposed else 0, check_finite=False)
    )


def without_null_direction(rows: FloatArray, null: FloatArray) -> FloatArray:
    """Rows (P - 1, d) with the Gram ``XᵀX`` of `rows` (P, d), whose combination ``nullᵀ X`` is zero.

    A Householder reflection takes the unit vector `null` to the first axis, where the row is then zero.
    """
    mirror = null.copy()
    mirror[0] += 1.0 if null[0] >= 0 else -1.0
    scale = 2.0 / float(mirror @ mirror)
    return np.asarray(rows[1:] - np.outer(scale * mirror[1:], mirror @ rows))
