"""Hadamard matrices: Sylvester's doubling, Paley's two constructions over finite fields, and Kronecker products."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray


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
    """Hadamard matrix (order, order) of ±1 with first row and column +1, with `order` from :func:`hadamard_order`."""
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


def prime_power(number: int) -> tuple[int, int] | None:
    """Return (p, m) if `number` is the power m ≥ 1 of a prime p, else None."""
    if number < 2:
        return None
    p = next((d for d in range(2, int(number**0.5) + 1) if number % d == 0), number)
    m, rest = 0, number
    while rest % p == 0:
        m, rest = m + 1, rest // p
    return (p, m) if rest == 1 else None


def jacobsthal(order: int) -> FloatArray:
    """Matrix ``Q[a, b] = χ(a - b)`` over the field of `order` elements, an odd prime power, shape (order, order).

    χ is 0 at zero, 1 at the other squares and -1 elsewhere, so ``Q Qᵀ = order · I - J`` and ``Q J = 0``.
    """
    factors = prime_power(order)
    if factors is None or factors[0] == 2:
        raise ValueError(f"expected a power of an odd prime, got {order}")
    p, m = factors
    place = p ** np.arange(m)
    elements = np.arange(order)[:, None] // place % p
    character = np.full(order, -1.0)
    character[_squares(elements, p)] = 1.0
    character[0] = 0.0
    difference = np.zeros((order, order), dtype=np.int64)
    for digit, value in zip(elements.T, place, strict=True):
        difference += (digit[:, None] - digit[None, :]) % p * value
    return np.asarray(character[difference])


def _squares(elements: IntArray, p: int) -> IntArray:
    """Numbers of the squares, 0 included, among the field elements given by their digits (order, m)."""
    order, m = elements.shape
    place = p ** np.arange(m)
    product = np.zeros((order, 2 * m - 1), dtype=np.int64)
    for i, j in itertools.product(range(m), repeat=2):
        product[:, i + j] += elements[:, i] * elements[:, j]
    # A monic polynomial of degree m is irreducible exactly if squaring modulo it is two-to-one beside 0: repeated
    # factors give more roots of 0, and r distinct factors give 2^r roots of 1.
    for tail in itertools.product(range(p), repeat=m):
        squares = np.unique(_reduced(product, np.array(tail), p) @ place)
        if len(squares) == (order + 1) // 2:
            return squares
    raise AssertionError("every finite field has an irreducible polynomial of each degree")


def _reduced(polynomials: IntArray, tail: IntArray, p: int) -> IntArray:
    """Remainders modulo ``x^m + tail``. Coefficients stand by rising power, one polynomial a row."""
    m = len(tail)
    result = polynomials % p
    for power in range(result.shape[1] - 1, m - 1, -1):
        result[:, power - m : power] -= result[:, power, None] * tail
        result %= p
    return result[:, :m]
