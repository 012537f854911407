"""Contexts with one support, and tokens with the same contexts, as one: what the margins of next tokens depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import LinearOperator, svds

from encollapse._internal.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class SupportGroups:
    """Distinct rows (R) and columns (C) of a support matrix, with a weight for each.

    Logits of least nuclear norm agree on the members of a group, since averaging over them never raises that norm. So
    logits ``L`` of the groups stand for a matrix of all tokens and contexts with the nuclear norm of
    ``diag(row_weights) L diag(column_weights)``.

    Attributes
    ----------
    pattern : sparse (R, C)
        1 where the tokens of the row follow the contexts of the column.
    row_weights : (R,)
        Root of the number of tokens of each group.
    column_weights : (C,)
        Root of the sum over the contexts of a group of their squared weights.
    row_of, column_of : (V,), (m,)
        Group of each token and context.
    """

    pattern: csc_array
    row_weights: FloatArray
    column_weights: FloatArray
    row_of: IntArray
    column_of: IntArray

    @classmethod
    def of(cls, support: csc_array, context_weights: FloatArray) -> SupportGroups:
        """Group the stored entries of a matrix (V, m), of which `context_weights` (m,) price the contexts."""
        column_of, columns = _groups(support)
        rows_first = csr_array(support[:, columns])
        row_of, rows = _groups(rows_first)
        pattern = csc_array(rows_first[rows])
        pattern.data = np.ones(pattern.nnz)
        return cls(
            pattern=pattern,
            row_weights=np.sqrt(np.bincount(row_of)),
            column_weights=np.sqrt(np.bincount(column_of, weights=context_weights**2)),
            row_of=row_of,
            column_of=column_of,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of distinct rows and columns."""
        rows, columns = self.pattern.shape
        return int(rows), int(columns)

    @cached_property
    def shares(self) -> FloatArray:
        """Share of all tokens in the support of each column, (C,)."""
        return np.asarray((self.row_weights**2 @ self.pattern) / len(self.row_of))

    @cached_property
    def squared_norm(self) -> float:
        """Squared Frobenius norm of the centered support matrix."""
        return float(len(self.row_of) * self.column_weights**2 @ (self.shares * (1.0 - self.shares)))

    def dense(self) -> FloatArray:
        """The weighted centered support matrix, (R, C)."""
        centered: FloatArray = self.pattern.toarray() - self.shares
        return centered * self.row_weights[:, None] * self.column_weights

    def operator(self, rows: FloatArray | None = None, columns: FloatArray | None = None) -> LinearOperator:
        """The centered support matrix in the memory of the sparse pattern, with other weights before the centering."""
        rows = self.row_weights if rows is None else rows
        columns = self.column_weights if columns is None else columns
        pattern, turned = csr_array(self.pattern), csr_array(self.pattern.T)
        mean = self.row_weights / math.sqrt(len(self.row_of))
        sums = turned @ (rows * mean)

        def forward(x: Any) -> Any:
            scaled = columns * np.ravel(x)
            return rows * (pattern @ scaled) - mean * (sums @ scaled)

        def backward(y: Any) -> Any:
            centered = np.ravel(y) - mean * (mean @ np.ravel(y))
            return columns * (turned @ (rows * centered))

        return LinearOperator(self.shape, matvec=forward, rmatvec=backward, dtype=np.float64)

    def dual_bound(self) -> float:
        """Lower bound of the nuclear norm of logits with margins of 1, in the memory of the sparse pattern.

        Any non-negative weights of the support, centered over the tokens, are nowhere positive outside the support, so
        they are feasible for the dual once they are divided by their operator norm. These are the weights of the
        groups, over the roots of the sums of rows and columns, so that no frequent token decides the norm alone.
        """
        pattern, rows, columns = self.pattern, self.row_weights, self.column_weights
        by_row, by_column = rows * (pattern @ columns), columns * (pattern.T @ rows)
        rows = rows / np.sqrt(np.where(by_row > 0, by_row, 1.0))
        columns = columns / np.sqrt(by_column)
        start = np.random.default_rng(0).standard_normal(min(self.shape))
        norm = svds(self.operator(rows, columns), k=1, v0=start, return_singular_vectors=False)[0]
        sums = pattern.T @ (rows * self.row_weights)
        return float((self.column_weights * columns * (1.0 - self.shares)) @ sums / norm)


def _groups(matrix: csc_array | csr_array) -> tuple[IntArray, IntArray]:
    """Which lines of the compressed axis have the same indices: group of each, and one member of each group."""
    indices, ends = matrix.indices, matrix.indptr
    seen: dict[bytes, int] = {}
    of = np.empty(len(ends) - 1, dtype=np.int64)
    members: list[int] = []
    for line in range(len(of)):
        key = indices[ends[line] : ends[line + 1]].tobytes()
        group = seen.setdefault(key, len(seen))
        if group == len(members):
            members.append(line)
        of[line] = group
    return of, np.array(members, dtype=np.int64)
