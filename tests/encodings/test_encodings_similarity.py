"""Codewords from similarity matrices."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def symmetric(k: int, seed: int) -> Array:
    raw = np.random.default_rng(seed).standard_normal((k, k))
    return np.asarray(raw + raw.T)


def codewords_of(S: Array, code_dim: int | None = None) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EncollapseWarning)
        return ec.encodings.from_similarity(S, code_dim).codewords


@settings(max_examples=30, deadline=None)
@given(seed=seeds, k=st.integers(2, 13), rank=st.integers(1, 13))
def test_a_gram_matrix_is_kept(seed: int, k: int, rank: int) -> None:
    e = np.random.default_rng(seed).standard_normal((rank, k))
    encoding = ec.encodings.from_similarity(e.T @ e)
    assert encoding.code_dim == min(rank, k)
    np.testing.assert_allclose(encoding.gram(), e.T @ e, atol=1e-12 * k * rank)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, k=st.integers(2, 13))
def test_nearest_positive_semidefinite_matrix(seed: int, k: int) -> None:
    """Conditions that characterize the projection on a cone: S - P is in the polar cone and orthogonal to P."""
    S = symmetric(k, seed) + 2 * np.eye(k)
    e = codewords_of(S)
    P = e.T @ e
    assert np.linalg.eigvalsh(S - P).max() <= 1e-10
    assert abs(np.sum(P * (S - P))) <= 1e-10 * np.sum(S * S)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, k=st.integers(3, 13), data=st.data())
def test_nearest_of_a_rank(seed: int, k: int, data: st.DataObject) -> None:
    q = data.draw(st.integers(1, k - 1))
    S = symmetric(k, seed) + 2 * np.eye(k)
    e = codewords_of(S, q)
    assert e.shape == (q, k)
    values = np.sort(np.linalg.eigvalsh(S))[::-1]
    lost = np.sum(values**2) - np.sum(np.maximum(values[:q], 0) ** 2)
    assert np.sum((S - e.T @ e) ** 2) == pytest.approx(lost, rel=1e-9)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        other = e + 0.1 * rng.standard_normal(e.shape)
        assert np.sum((S - other.T @ other) ** 2) >= lost * (1 - 1e-12)


def test_rows_are_principal_axes() -> None:
    e = ec.encodings.from_similarity(np.diag([1.0, 9.0, 4.0])).codewords
    np.testing.assert_allclose(e, [[0, 3, 0], [0, 0, 2], [1, 0, 0]], atol=1e-15)
    rows = e @ e.T
    np.testing.assert_allclose(rows, np.diag(np.diag(rows)), atol=1e-14)


def test_a_longer_code_is_padded() -> None:
    S = np.full((3, 3), 2.0)
    assert ec.encodings.from_similarity(S).code_dim == 1
    padded = ec.encodings.from_similarity(S, 5, classes=["a", "b", "c"])
    assert padded.classes == ("a", "b", "c")
    np.testing.assert_array_equal(padded.codewords[1:], 0)
    np.testing.assert_allclose(padded.gram(), S, atol=1e-14)


def test_clear_clipping_is_warned_about() -> None:
    S = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])  # smallest eigenvalue 1 - 0.9 √2
    with pytest.warns(EncollapseWarning, match=r"S: .*-0\.273.*10\.9%"):
        ec.encodings.from_similarity(S)
    ec.encodings.from_similarity(
        S + 0.273 * np.eye(3)
    )  # all but nothing is clipped: no warning, which is an error here
    ec.encodings.from_similarity(np.eye(5), 2)  # cut off as asked


@pytest.mark.parametrize(
    ("S", "error", "words"),
    [
        (np.ones((2, 3)), ArgumentError, "square"),
        (np.array([[1.0, 0.5], [0.25, 1.0]]), ArgumentError, r"symmetric.*S\[0, 1\] = 0.5 and S\[1, 0\] = 0.25"),
        (-np.eye(3), ArgumentError, "no positive eigenvalue"),
        (np.zeros((3, 3)), ArgumentError, "no positive eigenvalue"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), ArgumentError, "finite"),
        (np.ones(4), ArgumentError, "shape"),
        (np.eye(2) > 0, ArgumentTypeError, "bool"),
    ],
)
def test_bad_similarities(S: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^S: .*{words}"):
        ec.encodings.from_similarity(S)


def test_bad_options() -> None:
    with pytest.raises(ArgumentError, match="code_dim"):
        ec.encodings.from_similarity(np.eye(3), 0)
    with pytest.raises(ArgumentError, match="classes"):
        ec.encodings.from_similarity(np.eye(3), classes=["a", "b"])
    with pytest.raises(ArgumentError, match="S: it describes 3 classes, but there are 4"):
        ec.encodings.by_name("from-similarity", 4, S=np.eye(3))


def test_rounding_of_a_symmetric_matrix_is_forgiven() -> None:
    S = np.eye(3)
    S[0, 1] = 1e-12
    assert ec.encodings.from_similarity(S).code_dim == 3
