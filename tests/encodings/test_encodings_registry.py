"""What each encoding of the registry is, from its definition."""

import resource

import numpy as np
import pytest
from numpy.typing import NDArray

import encollapse as ec
from encollapse._internal import memory
from encollapse.errors import ArgumentError, ArgumentTypeError, MemoryLimitError


def test_one_hot_and_its_affine_images() -> None:
    np.testing.assert_array_equal(ec.encodings.one_hot(3).codewords, np.eye(3))
    np.testing.assert_allclose(ec.encodings.label_smoothing(4, 0.2).codewords, 0.8 * np.eye(4) + 0.05, rtol=1e-15)
    np.testing.assert_array_equal(ec.encodings.one_vs_rest(3).codewords, 2 * np.eye(3) - 1)
    scaled = ec.encodings.scaled_one_hot(3, on=5, off=-2).codewords
    np.testing.assert_array_equal(scaled, [[5, -2, -2], [-2, 5, -2], [-2, -2, 5]])
    np.testing.assert_allclose(ec.encodings.label_smoothing(4, 0.2).codewords.sum(axis=0), 1, rtol=1e-15)


@pytest.mark.parametrize("k", [2, 3, 7, 31])
def test_simplex_has_equal_angles_and_no_mean(k: int) -> None:
    for encoding in (ec.encodings.simplex(k), ec.encodings.simplex(k, k + 3)):
        gram = encoding.codewords.T @ encoding.codewords
        np.testing.assert_allclose(gram, ec.simplex_etf_gram(k), atol=1e-14)
        np.testing.assert_allclose(encoding.codewords.sum(axis=1), 0, atol=1e-13)
    assert np.linalg.matrix_rank(ec.encodings.simplex(k).codewords) == k - 1


def test_ordinal_counts_the_steps_between_classes() -> None:
    e = ec.encodings.ordinal(5).codewords
    assert e.shape == (4, 5)
    for i in range(5):
        for j in range(5):
            assert np.sum((e[:, i] - e[:, j]) ** 2) == abs(i - j)


def test_random_is_unit_length_and_repeatable() -> None:
    one, same, other = (ec.encodings.random(7, 5, seed).codewords for seed in (3, 3, 4))
    np.testing.assert_allclose(np.linalg.norm(one, axis=0), 1, rtol=1e-14)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


def test_by_name_makes_what_the_function_makes() -> None:
    made = ec.encodings.by_name("label_smoothing", 5, smoothing=0.1)
    np.testing.assert_array_equal(made.codewords, ec.encodings.label_smoothing(5, 0.1).codewords)
    assert ec.encodings.by_name("one-hot", 3, classes=["a", "b", "c"]).classes == ("a", "b", "c")
    assert ec.encodings.names()[:2] == ("one-hot", "simplex")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("two-hot", {}, "one-hot"),
        ("one-hot", {"smoothing": 0.1}, "smoothing"),
        ("label-smoothing", {}, "smoothing"),
        ("label-smoothing", {"smoothing": 1.2}, "smoothing"),
        ("label-smoothing", {"smoothing": float("nan")}, "smoothing"),
        ("scaled-one-hot", {"on": float("inf")}, "on"),
        ("random", {"code_dim": 0}, "code_dim"),
        ("random", {"code_dim": 4, "seed": -1}, "seed"),
        ("simplex", {"code_dim": 3}, "code_dim"),
        ("one-hot", {"classes": ["a"]}, "classes"),
        ("one-hot", {"classes": ["a", "b", "c", "a", "e"]}, "classes"),
        ("one-hot", {"classes": "abcde"}, "classes"),
    ],
)
def test_registry_refusals_name_the_option(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ec.encodings.by_name(name, 5, **options)


def test_registry_type_errors() -> None:
    with pytest.raises(ArgumentTypeError, match="num_classes"):
        ec.encodings.one_hot(3.0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="num_classes"):
        ec.encodings.one_hot(True)
    with pytest.raises(ArgumentTypeError, match="name"):
        ec.encodings.by_name(3, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "codewords",
    [
        np.array([[1.0, np.nan]]),
        np.array([[1.0, np.inf]]),
        np.ones(5),
        np.ones((0, 5)),
        np.ones((5, 0)),
        np.ones((3, 1)),
        np.ones((2, 2, 2)),
    ],
)
def test_bad_codewords(codewords: NDArray[np.float64]) -> None:
    with pytest.raises(ArgumentError):
        ec.encodings.Encoding(codewords)


def test_bad_codeword_dtypes() -> None:
    for bad in (np.ones((2, 3), dtype=complex), np.full((2, 3), "a"), np.ones((2, 3), dtype=bool)):
        with pytest.raises(ArgumentTypeError, match="codewords"):
            ec.encodings.Encoding(bad)


def test_codewords_are_copied() -> None:
    own = np.eye(3)
    encoding = ec.encodings.Encoding(own)
    own[0, 0] = 5
    assert encoding.codewords[0, 0] == 1
    own[0, 1] = 2  # the caller's array stays writeable


@pytest.mark.parametrize(
    "encoding",
    [
        ec.encodings.one_hot(1_000_000),
        ec.encodings.label_smoothing(1_000_000, 0.1),
        ec.encodings.one_vs_rest(1_000_000),
        ec.encodings.simplex(1_000_000),
    ],
)
def test_a_million_classes_without_their_matrix(encoding: ec.encodings.Encoding) -> None:
    with pytest.raises(MemoryLimitError, match="codewords"):
        _ = encoding.codewords
    with pytest.raises(MemoryLimitError, match="gram"):
        encoding.gram()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    labels = np.array([0, 999_999, 5])
    np.testing.assert_array_equal(encoding.decode(encoding.encode(labels)), labels)
    assert encoding.mean().shape == (encoding.code_dim,)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


def test_a_size_just_above_the_limit_is_told_from_it() -> None:
    with pytest.raises(MemoryLimitError, match=r"needs 2\.0117 GiB, above the limit of 2\.0000 GiB"):
        memory.require_room("labels", 9000, 30000, instead="take fewer")
    with pytest.raises(MemoryLimitError, match=r"needs 6\.7 GiB, above the limit of 2\.0 GiB"):
        memory.require_room("labels", 30000, 30000, instead="take fewer")


def test_memory_limit_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "DENSE_LIMIT_BYTES", 8 * 24)
    with pytest.raises(MemoryLimitError):
        _ = ec.encodings.one_hot(5).codewords
    assert ec.encodings.one_hot(4).codewords.shape == (4, 4)
