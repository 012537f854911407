"""Hadamard codewords and the finite fields behind them."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.encodings.codes.hadamard_matrices import hadamard_matrix, hadamard_order, jacobsthal, prime_power
from encollapse.errors import ArgumentError, ArgumentTypeError, MemoryLimitError


@settings(max_examples=25, deadline=None)
@given(k=st.integers(2, 140))
def test_codewords_are_exactly_orthogonal(k: int) -> None:
    e = ec.encodings.hadamard(k).codewords
    order = len(e)
    np.testing.assert_array_equal(e.T @ e, order * np.eye(k))
    assert set(np.unique(e)) == {-1.0, 1.0}
    assert k <= order < 2 * k
    assert order == 2 or order % 4 == 0  # no Hadamard matrix has another order
    np.testing.assert_array_equal(e[0], 1)


@pytest.mark.parametrize("order", [2, 4, 8, 16, 64])
def test_powers_of_two_are_sylvesters_matrices(order: int) -> None:
    np.testing.assert_array_equal(hadamard_matrix(order), scipy.linalg.hadamard(order))


@pytest.mark.parametrize(
    ("k", "order"),
    [
        (9, 12),  # Paley I over 11 elements
        (25, 28),  # Paley I over 27 = 3³
        (33, 36),  # Paley II over 17
        (49, 52),  # Paley II over 25 = 5²
        (97, 100),  # Paley II over 49 = 7²
        (241, 244),  # Paley I over 243 = 3⁵
        (89, 96),  # 92 needs other constructions
    ],
)
def test_orders(k: int, order: int) -> None:
    assert hadamard_order(k) == order
    matrix = hadamard_matrix(order)
    np.testing.assert_array_equal(matrix @ matrix.T, order * np.eye(order))


def test_the_orders_that_sylvester_and_paley_miss() -> None:
    missed = [n for n in range(4, 260, 4) if hadamard_order(n) != n]
    assert missed == [92, 116, 156, 172, 184, 188, 232, 236]


@pytest.mark.parametrize("q", [3, 5, 7, 9, 13, 25, 27, 49, 81])
def test_jacobsthal_matrices_satisfy_their_identities(q: int) -> None:
    matrix = jacobsthal(q)
    np.testing.assert_array_equal(matrix @ matrix.T, q * np.eye(q) - 1)
    np.testing.assert_array_equal(matrix.sum(axis=1), 0)
    np.testing.assert_array_equal(matrix.T, matrix if q % 4 == 1 else -matrix)


def test_squares_of_a_prime_field() -> None:
    squares = {a * a % 11 for a in range(1, 11)}
    expected = [0 if a == 0 else 1 if a in squares else -1 for a in range(11)]
    np.testing.assert_array_equal(jacobsthal(11)[:, 0], expected)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, None), (2, (2, 1)), (7, (7, 1)), (27, (3, 3)), (49, (7, 2)), (12, None), (91, None), (128, (2, 7))],
)
def test_prime_powers(number: int, expected: tuple[int, int] | None) -> None:
    assert prime_power(number) == expected


@pytest.mark.parametrize("order", [1, 4, 15])
def test_fields_without_squares_to_count_are_refused(order: int) -> None:
    with pytest.raises(ValueError, match=str(order)):
        jacobsthal(order)


def test_centering_the_full_matrix_gives_a_simplex() -> None:
    gram = ec.encodings.hadamard(12).centered().gram()
    np.testing.assert_allclose(gram, 11 * ec.simplex_etf_gram(12), atol=1e-12)


def test_bad_numbers_of_classes() -> None:
    with pytest.raises(ArgumentTypeError, match="num_classes"):
        ec.encodings.hadamard(5.0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="num_classes"):
        ec.encodings.hadamard(1)
    with pytest.raises(MemoryLimitError, match="codewords"):
        ec.encodings.hadamard(100_000)
    with pytest.raises(ValueError, match="order 6"):
        hadamard_matrix(6)
