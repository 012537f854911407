"""Products and factors of large matrices, by numpy and scipy or by what the caller computes with."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.linalg import lapack, solve_triangular

from encollapse._internal.typing import FloatArray

_SMALL = 1e-140


class LinearAlgebra(Protocol):
    """The few operations on which the time goes where classes and dimensions are many, all in float64.

    Libraries with threads of their own (numpy's, scipy's and torch's are three) keep them spinning for a
    while after each operation and take each other's cores when used in turns, so one does them all.
    """

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """``A B`` of shapes (m, k) and (k, n)."""
        ...

    def gram(self, rows: FloatArray) -> FloatArray:
        """``XᵀX`` of shape (d, d), symmetric, for rows (n, d)."""
        ...

    def cholesky(self, matrix: FloatArray) -> FloatArray | None:
        """Lower factor of a symmetric matrix (d, d), zero above the diagonal; None where it has none."""
        ...

    def solve(self, lower: FloatArray, right: FloatArray, *, transposed: bool = False) -> FloatArray:
        """``L⁻¹ B``, or ``L⁻ᵀ B``, of shapes (d, d) and (d, n)."""
        ...


class _Numpy:
    """Linear algebra by numpy and scipy."""

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        return np.asarray(left @ right)

    def gram(self, rows: FloatArray) -> FloatArray:
        return np.asarray(rows.T @ rows)

    def cholesky(self, matrix: FloatArray) -> FloatArray | None:
        # The upper factor of the transpose, so that scipy copies in the order of the memory.
        upper, info = lapack.dpotrf(matrix.T, lower=0)
        return np.asarray(upper.T) if info == 0 else None

    def solve(self, lower: FloatArray, right: FloatArray, *, transposed: bool = False) -> FloatArray:
        return np.asarray(solve_triangular(lower, right, lower=True, trans=1 if transposed else 0, check_finite=False))


NUMPY: LinearAlgebra = _Numpy()


def squarable(values: FloatArray) -> FloatArray:
    """Values, scaled as a whole where their squares would leave the range of float64."""
    peak = float(np.abs(values).max(initial=0.0))
    return values if peak == 0.0 or _SMALL < peak < 1.0 / _SMALL else values / peak


def row_lengths(rows: FloatArray) -> FloatArray:
    """Lengths (n,) of rows (n, d), without an array of their squares."""
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", rows, rows)))
