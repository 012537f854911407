"""Codewords from how similar the classes are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError, EncollapseWarning

_SYMMETRY = 1e-8
_CLIPPED = 0.01


def from_similarity(S: ArrayLike, code_dim: int | None = None, *, classes: Sequence[str] | None = None) -> Encoding:
    """Codewords whose inner products are the given similarities of the classes, or the nearest possible.

    Inner products form a positive semidefinite matrix, so negative eigenvalues of `S` are set to zero: the result
    is the nearest such matrix in the Frobenius norm :cite:p:`higham1988`. If `code_dim` is below its rank, only
    the `code_dim` largest eigenvalues are kept, which is the nearest matrix of that rank. Rows of the codewords are
    the principal axes, in order of falling weight, as in classical scaling; only their inner products mean
    anything, for any rotation of them has the same Gram matrix.

    Parameters
    ----------
    S : array_like, shape (num_classes, num_classes)
        Symmetric similarities. For unit codewords put ones on the diagonal; no scale is imposed.
    code_dim : int, optional
        Length of a codeword. Default: the rank of the nearest positive semidefinite matrix. Above the rank,
        codewords are padded with zeros.
    classes : sequence of str, optional
        Names of the classes.

    Raises
    ------
    ArgumentError
        If `S` is not square or not symmetric (to 1e-8 of its largest entry), or has no positive eigenvalue.

    Warns
    -----
    EncollapseWarning
        If negative eigenvalues carry more than one percent of the norm of `S`, so that the codewords have
        clearly other inner products than asked for. What `code_dim` cuts off is asked for, and not warned about.
    """
    matrix = _symmetric(S)
    k = len(matrix)
    q = None if code_dim is None else checks.integer(code_dim, "code_dim", minimum=1)
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int(np.sum(values > k * np.finfo(float).eps * np.abs(values).max()))
    if rank == 0:
        raise ArgumentError(
            "S: it has no positive eigenvalue, so all codewords would be zero; similarities of a class with itself "
            "(the diagonal) should be its largest"
        )
    share = float(np.linalg.norm(np.minimum(values, 0)) / np.linalg.norm(values))
    if share > _CLIPPED:
        warnings.warn(
            f"S: it is not positive semidefinite (smallest eigenvalue {values[-1]:.3g}); the inner products of the "
            f"codewords differ from it by {share:.1%} of its norm. A larger diagonal makes it so",
            EncollapseWarning,
            stacklevel=2,
        )
    kept = rank if q is None else min(q, rank)
    codewords = np.zeros((kept if q is None else q, k))
    codewords[:kept] = np.sqrt(values[:kept, None]) * _signed(vectors[:, :kept]).T
    return Encoding(codewords, name="from-similarity", classes=classes)


def _symmetric(similarity: ArrayLike) -> FloatArray:
    matrix = checks.array(similarity, "S", (None, None), axes="(num_classes, num_classes)")
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"S: expected a square matrix, one row and column a class, got {matrix.shape}")
    gap = np.abs(matrix - matrix.T)
    if gap.max() > _SYMMETRY * np.abs(matrix).max():
        i, j = (int(x) for x in np.unravel_index(gap.argmax(), gap.shape))
        raise ArgumentError(
            f"S: expected a symmetric matrix, got S[{i}, {j}] = {matrix[i, j]:.6g} and S[{j}, {i}] = "
            f"{matrix[j, i]:.6g}; pass (S + S.T) / 2 if their mean is meant"
        )
    return (matrix + matrix.T) / 2


def _signed(vectors: FloatArray) -> FloatArray:
    """Eigenvectors with their largest entry positive, so that their sign is not left to the library."""
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
