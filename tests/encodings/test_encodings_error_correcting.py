"""Error-correcting output codes against the bounds and tables of coding theory."""

import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import encollapse as ec
from encollapse.encodings.binary import _with_useful_rows, useless_rows
from encollapse.encodings.codes.binary_codes import (
    _walsh_transform,
    distance_bound,
    exhaustive_code,
    hadamard_code,
    improve,
    linear_code,
    minimum_distance,
)
from encollapse.errors import ArgumentError, ArgumentTypeError, MemoryLimitError

Array = NDArray[np.float64]


def slow_distance(code: Array) -> int:
    return min(int((a != b).sum()) for a, b in itertools.combinations(code.T, 2))


def random_code(q: int, k: int, seed: int) -> Array:
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(q, k))


@pytest.mark.parametrize(
    ("k", "q", "distance"),
    [
        (2, 7, 7),  # repetition
        (4, 3, 2),
        (5, 4, 2),
        (5, 7, 4),
        (8, 7, 4),  # simplex code
        (16, 7, 3),  # Hamming code
        (16, 8, 4),
        (20, 8, 3),  # A(8, 3) = 20: no linear code has so many words
        (6, 10, 6),  # A(10, 6) = 6
        (12, 10, 5),  # A(10, 5) = 12
        (12, 11, 6),  # Hadamard matrix of order 12
        (24, 12, 6),  # and its complements: A(12, 6) = 24
        (16, 15, 8),
        (32, 15, 7),  # BCH code
        (32, 16, 8),  # Reed-Muller code
        (128, 15, 5),  # BCH code
        (64, 32, 16),
    ],
)
def test_known_optima_are_reached(k: int, q: int, distance: int) -> None:
    encoding = ec.encodings.error_correcting(k, q)
    assert encoding.codewords.shape == (q, k)
    assert set(np.unique(encoding.codewords)) == {-1.0, 1.0}
    assert slow_distance(encoding.codewords) == distance


def test_wrong_bits_are_corrected() -> None:
    encoding = ec.encodings.error_correcting(12, 11)  # distance 6: two errors
    for wrong in itertools.combinations(range(11), 2):
        outputs = encoding.encode(np.arange(12))
        outputs[:, wrong] *= -1
        np.testing.assert_array_equal(encoding.decode(outputs), np.arange(12))


@pytest.mark.parametrize(("k", "q"), [(3, 2), (5, 15), (7, 9), (11, 7), (24, 12)])
def test_rows_ask_distinct_questions(k: int, q: int) -> None:
    rows = ec.encodings.error_correcting(k, q).codewords
    assert (np.abs(rows.sum(axis=1)) < k).all()
    for a, b in itertools.combinations(rows, 2):
        assert abs(a @ b) < k


@settings(max_examples=12, deadline=None)
@given(data=st.data(), k=st.integers(2, 23))
def test_no_code_beats_the_bounds(data: st.DataObject, k: int) -> None:
    q = data.draw(st.integers((k - 1).bit_length(), 13))
    code = ec.encodings.error_correcting(k, q, seed=data.draw(st.integers(0, 5))).codewords
    d = slow_distance(code)
    assert 1 <= d <= distance_bound(k, q) <= q
    assert k <= 2 ** (q - d + 1)  # Singleton
    ball = sum(len(list(itertools.combinations(range(q), r))) for r in range((d - 1) // 2 + 1))
    assert k * ball <= 2**q  # Hamming


@pytest.mark.parametrize("q", [3, 4])
def test_distance_bound_against_every_code(q: int) -> None:
    words = np.array(list(itertools.product([-1.0, 1.0], repeat=q))).T
    for k in range(2, 6):
        best = max(slow_distance(words[:, list(c)]) for c in itertools.combinations(range(2**q), k))
        assert best <= distance_bound(k, q)
        assert best == slow_distance(ec.encodings.error_correcting(k, q).codewords)


def test_seeds() -> None:
    one, same = (ec.encodings.error_correcting(20, 9, seed=3).codewords for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert slow_distance(ec.encodings.error_correcting(20, 9, seed=4).codewords) >= 3


def test_as_many_classes_as_words() -> None:
    words = ec.encodings.error_correcting(32, 5).codewords
    assert len(np.unique(words, axis=1).T) == 32


def test_bad_sizes() -> None:
    with pytest.raises(ArgumentError, match="code_dim: 17 distinct codewords of ±1 need at least 5 bits, got 4"):
        ec.encodings.error_correcting(17, 4)
    with pytest.raises(ArgumentError, match="seed"):
        ec.encodings.error_correcting(5, 4, seed=-1)
    with pytest.raises(ArgumentTypeError, match="code_dim"):
        ec.encodings.error_correcting(5, 4.0)  # type: ignore[arg-type]
    with pytest.raises(MemoryLimitError, match="distances"):
        ec.encodings.error_correcting(100_000, 40)


@pytest.mark.parametrize(("k", "q"), [(5, 3), (5, 11), (11, 11), (13, 29), (30, 17), (24, 12)])
def test_constructions_give_codes_of_the_size_asked_for(k: int, q: int) -> None:
    for code in (hadamard_code(k, q), linear_code(k, q), exhaustive_code(min(k, 7), q)):
        assert code.shape[0] == q
        assert set(np.unique(code)) <= {-1.0, 1.0}
        if len(np.unique(code, axis=1).T) == code.shape[1]:
            assert minimum_distance(code) == slow_distance(code)


def test_linear_codes_are_linear() -> None:
    words = {tuple(w) for w in linear_code(16, 11).T}
    assert len(words) == 16
    for a, b in itertools.product(words, repeat=2):
        assert tuple(np.multiply(a, b)) in words  # addition of bits is multiplication of signs


def test_walsh_transform_is_the_sylvester_matrix() -> None:
    values = np.random.default_rng(2).standard_normal(32)
    np.testing.assert_allclose(_walsh_transform(values), scipy.linalg.hadamard(32) @ values, atol=1e-13)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_exhaustive_code_holds_every_split_once(k: int) -> None:
    code = exhaustive_code(k, 2 ** (k - 1) - 1)
    assert not useless_rows(code)
    if k > 2:
        assert slow_distance(code) == 2 ** (k - 2)  # Dietterich and Bakiri


@settings(max_examples=20, deadline=None)
@given(q=st.integers(3, 11), k=st.integers(3, 13), seed=st.integers(0, 1000))
def test_search_and_repair_never_lose_distance(q: int, k: int, seed: int) -> None:
    start = random_code(q, k, seed)
    generator = np.random.default_rng(seed)
    better = improve(start, 40, generator)
    assert slow_distance(better) >= slow_distance(start)
    for code in (start, better):
        repaired = _with_useful_rows(code, generator)
        assert slow_distance(repaired) >= slow_distance(code)
        assert len(useless_rows(repaired)) <= len(useless_rows(code))
        assert set(np.unique(repaired)) <= {-1.0, 1.0}


def test_useless_rows_are_constant_or_repeated_up_to_sign() -> None:
    code = np.array([[1, 1, -1], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, -1, -1]], dtype=float)
    assert useless_rows(code) == [1, 2, 4]
