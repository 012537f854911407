"""Squares in finite fields of odd order, for Paley's construction."""

from __future__ import annotations

import itertools

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray


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

    χ is 0 at zero, 1 at the other squares and -1 elsewhere; so ``Q Qᵀ = order · I - J`` and ``Q J = 0``.
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
    """Remainders modulo ``x^m + tail``; coefficients by rising power, one polynomial a row."""
    m = len(tail)
    result = polynomials % p
    for power in range(result.shape[1] - 1, m - 1, -1):
        result[:, power - m : power] -= result[:, power, None] * tail
        result %= p
    return result[:, :m]
