"""Matrices with a few groups of classes, at any number of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from encollapse._internal import memory
from encollapse._internal.typing import FloatArray, IntArray

DiagonalAndForm: TypeAlias = tuple[FloatArray, Callable[[FloatArray], float]]
"""Diagonal (K,) of a symmetric matrix, and its quadratic form."""


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """A K × K matrix that depends on the groups of the classes: ``blocks[g(k), g(l)] + (k == l) diagonal[g(k)]``.

    Parameters
    ----------
    groups : (K,) ints
        Kind of each class, from 0 to G - 1.
    blocks : (G, G)
        Entry between different classes of two groups.
    diagonal : (G,)
        What a class adds with itself.
    """

    groups: IntArray
    blocks: FloatArray
    diagonal: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """(K, K)."""
        return (len(self.groups), len(self.groups))

    @property
    def sizes(self) -> IntArray:
        """Number of classes of each kind, shape (G,)."""
        return np.bincount(self.groups, minlength=len(self.diagonal)).astype(np.int64)

    def entry(self, k: int, l: int) -> float:  # noqa: E741 (the notation table's letters)
        """One entry."""
        g, h = self.groups[k], self.groups[l]
        return float(self.blocks[g, h] + (self.diagonal[g] if k == l else 0.0))

    def main_diagonal(self) -> FloatArray:
        """Entries (k, k), shape (K,)."""
        return np.asarray((np.diag(self.blocks) + self.diagonal)[self.groups])

    def diagonal_and_form(self) -> DiagonalAndForm:
        """Return the entries (k, k), shape (K,), and ``w -> Σ_kl w_k w_l entry(k, l)``."""
        return self.main_diagonal(), self._form

    def _form(self, weights: FloatArray) -> float:
        sums = np.bincount(self.groups, weights, minlength=len(self.diagonal))
        return float(sums @ self.blocks @ sums + np.sum(weights**2 * self.diagonal[self.groups]))

    def dense(self, name: str) -> FloatArray:
        """Return the full matrix.

        Raises
        ------
        MemoryLimitError
            If it would exceed the memory limit. `name` says in the text what was asked for.
        """
        memory.require_room(name, *self.shape, instead="cosine(k, l), norm(k) and mean_cosine() do without it")
        result = self.blocks[np.ix_(self.groups, self.groups)]
        index = np.arange(len(self.groups))
        result[index, index] += self.diagonal[self.groups]
        return np.asarray(result)


@dataclass(frozen=True, eq=False)
class LazyMatrix:
    """A matrix that is built when it is first asked for."""

    shape: tuple[int, int]
    build: Callable[[], FloatArray]

    def dense(self, name: str) -> FloatArray:
        """Build the matrix, or refuse where it would exceed the memory limit. `name` is what was asked for."""
        memory.require_room(name, *self.shape, instead="the other fields do without it")
        return self.build()


@dataclass(frozen=True, eq=False)
class FormMatrix(LazyMatrix):
    """A symmetric matrix whose diagonal and quadratic form cost less than the matrix."""

    diagonal_and_form: Callable[[], DiagonalAndForm]


@dataclass(frozen=True, eq=False)
class EntryMatrix(FormMatrix):
    """A symmetric matrix whose entries are known one by one, too."""

    entry: Callable[[int, int], float]
