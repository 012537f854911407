"""Traces of quotients of scatter matrices from triangular factors, where conditioning allows."""

from __future__ import annotations

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
    condition, _ = lapack.dpocon(np.asfortranarray(lower), size, uplo="L")
    return np.asarray(lower) if condition >= least else None


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
