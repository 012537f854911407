"""Orthogonal codewords of ±1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.codes.finite_fields import jacobsthal, prime_power
from encollapse.encodings.encoding import Encoding


def hadamard(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Mutually orthogonal codewords of ±1: columns of a Hadamard matrix; ``code_dim`` is its order.

    The order n is the smallest from `num_classes` on that Sylvester's doubling :cite:p:`sylvester1867`, both
    constructions of Paley over finite fields :cite:p:`paley1933` and Kronecker products of those reach: a power of
    two or a multiple of 4, at most the next power of two. (The first orders that they miss are 92, 116 and 156.)
    The codewords are the first K columns, and ``Eᵀ E = n I`` exactly. Such codewords as targets of a network:
    :cite:t:`yang2015`.

    The first entry of every codeword is 1. It tells no classes apart, but without it the codewords would not be
    orthogonal: their inner products would be -1. The mean codeword cannot vanish either way, for the mean of K
    orthogonal codewords has the squared length n/K; with K = n, centering gives a simplex.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes.

    Raises
    ------
    MemoryLimitError
        If the Hadamard matrix would need more than the memory limit.
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    order = hadamard_order(k)
    memory.require_room("codewords", order, order, instead="one_hot is orthogonal too and needs no matrix")
    return Encoding(hadamard_matrix(order)[:, :k], name="hadamard", classes=classes)


class _Recipe(NamedTuple):
    """How a Hadamard matrix of some order is made."""

    kind: Literal["trivial", "paley-1", "paley-2", "product"]
    parts: tuple[int, ...] = ()


def hadamard_order(minimum: int) -> int:
    """Smallest order, `minimum` or above, that the constructions reach."""
    order = minimum
    while _recipe(order) is None:
        order += 1
    return order


def hadamard_matrix(order: int) -> FloatArray:
    """Hadamard matrix (order, order) of ±1 with first row and column +1; `order` from :func:`hadamard_order`."""
    matrix = _build(order)
    matrix = matrix * matrix[0]
    return np.asarray(matrix * matrix[:, :1])


@cache
def _recipe(order: int) -> _Recipe | None:
    if order in (1, 2):
        return _Recipe("trivial")
    if order % 4:
        return None
    # Doubling first: for powers of two it is Sylvester's matrix, whose rows are the Walsh functions.
    if _recipe(order // 2) is not None:
        return _Recipe("product", (2, order // 2))
    if (order - 1) % 4 == 3 and prime_power(order - 1) is not None:
        return _Recipe("paley-1", (order - 1,))
    if (order // 2 - 1) % 4 == 1 and prime_power(order // 2 - 1) is not None:
        return _Recipe("paley-2", (order // 2 - 1,))
    for factor in range(4, int(order**0.5) + 1, 4):
        if order % factor == 0 and _recipe(factor) is not None and _recipe(order // factor) is not None:
            return _Recipe("product", (factor, order // factor))
    return None


def _build(order: int) -> FloatArray:
    recipe = _recipe(order)
    if recipe is None:
        raise ValueError(f"no construction gives a Hadamard matrix of order {order}")
    if recipe.kind == "trivial":
        return np.array([[1.0, 1.0], [1.0, -1.0]])[:order, :order]
    if recipe.kind == "product":
        return np.asarray(np.kron(_build(recipe.parts[0]), _build(recipe.parts[1])), dtype=np.float64)
    conference = _conference(recipe.parts[0])
    identity = np.eye(len(conference))
    if recipe.kind == "paley-1":
        return np.asarray(identity + conference)
    # The symmetric case: each zero of the diagonal and each ±1 becomes a 2 × 2 block.
    off_diagonal, diagonal = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[1.0, -1.0], [-1.0, -1.0]])
    return np.asarray(np.kron(conference, off_diagonal) + np.kron(identity, diagonal), dtype=np.float64)


def _conference(field_order: int) -> FloatArray:
    """Conference matrix C of order q + 1, ``Cᵀ C = q I``: skew if q = 3 (mod 4), symmetric if q = 1 (mod 4)."""
    matrix = np.ones((field_order + 1, field_order + 1))
    matrix[0, 0] = 0.0
    matrix[1:, 0] = -1.0 if field_order % 4 == 3 else 1.0
    matrix[1:, 1:] = jacobsthal(field_order)
    return matrix
