"""Products, factors and traces of quotients of large matrices, by numpy or by what the caller computes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import lapack, solve_triangular

from encollapse._internal.typing import FloatArray

SMALL = 1e-140  # squares of what lies between it and its inverse stay far inside of float64

_LEAST_CONDITION = 1e-8
"""Reciprocal condition number from which on a Cholesky factor is trusted with half of all digits."""

_PANELS = 4  # of a symmetric product: five eighths of the work of the whole


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
        """Lower factor of a symmetric matrix (d, d), zero above the diagonal, or None where it has none."""
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
    return values if peak == 0.0 or SMALL < peak < 1.0 / SMALL else values / peak


def row_lengths(rows: FloatArray) -> FloatArray:
    """Lengths (n,) of rows (n, d), without an array of their squares."""
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", rows, rows)))


def factor(matrix: FloatArray, algebra: LinearAlgebra = NUMPY, *, size: float | None = None) -> FloatArray | None:
    """Lower Cholesky factor of a symmetric matrix, or None where it is singular or nearly so.

    `size` is its largest column sum, where that is known.
    """
    lower, condition = conditioned(matrix, algebra, size)
    return lower if condition >= _LEAST_CONDITION else None


def conditioned(
    matrix: FloatArray, algebra: LinearAlgebra, size: float | None = None
) -> tuple[FloatArray | None, float]:
    """Lower Cholesky factor and reciprocal condition number, or None and 0 where there is no factor."""
    lower = algebra.cholesky(matrix)
    if lower is None:
        return None, 0.0
    # In the order of the memory that LAPACK wants, so that nothing is copied.
    half, side = (lower, "L") if lower.flags.f_contiguous else (lower.T, "U")
    condition, _ = lapack.dpocon(half, largest_sum(matrix) if size is None else size, uplo=side)
    return lower, float(condition)


def largest_sum(matrix: FloatArray) -> float:
    """Largest sum of absolute values of a column of a symmetric matrix."""
    return float(np.abs(matrix).sum(axis=1).max())


@dataclass(frozen=True, eq=False)
class CholeskyScatter:
    """A symmetric positive semidefinite matrix, its largest column sum, and the factor of the quotient.

    Parameters
    ----------
    matrix : (d, d)
    size : float
        Largest sum of absolute values of a column, or 0 for the zero matrix.
    lower : (d, d) or None
        ``matrix = size · L Lᵀ``, or None where the matrix is singular or nearly so.
    condition : float
        Reciprocal condition number, or 0 where the matrix is not positive definite.
    """

    matrix: FloatArray
    size: float
    lower: FloatArray | None
    condition: float = 0.0

    @classmethod
    def of(cls, matrix: FloatArray, algebra: LinearAlgebra = NUMPY) -> CholeskyScatter:
        """Factorize."""
        size = largest_sum(matrix)
        usable = 0.0 < size < np.inf
        lower, condition = conditioned(matrix / size, algebra, 1.0) if usable else (None, 0.0)
        return cls(matrix, size, lower if condition >= _LEAST_CONDITION else None, condition)


def quotient_of_factors(below: FloatArray, above: FloatArray, algebra: LinearAlgebra) -> float:
    """``tr((L Lᵀ)⁻¹ A Aᵀ) = |L⁻¹ A|²`` of lower triangular L (`below`) and A (`above`), both (d, d).

    In panels of columns, each of which is zero above its diagonal, and so is its solution: half the work.
    """
    width = max(64, -(-len(above) // _PANELS))
    total = 0.0
    for start in range(0, len(above), width):
        panel = algebra.solve(below[start:, start:], above[start:, start : start + width])
        total += float(np.vdot(panel, panel))
    return total


def without_null_direction(rows: FloatArray, null: FloatArray) -> FloatArray:
    """Rows (P - 1, d) with the Gram ``XᵀX`` of `rows` (P, d), whose combination ``nullᵀ X`` is zero.

    A Householder reflection takes the unit vector `null` to the first axis, where the row is then zero.
    """
    mirror = null.copy()
    mirror[0] += 1.0 if null[0] >= 0 else -1.0
    scale = 2.0 / float(mirror @ mirror)
    return np.asarray(rows[1:] - np.outer(scale * mirror[1:], mirror @ rows))
