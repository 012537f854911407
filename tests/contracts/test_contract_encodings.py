"""Laws that every encoding obeys. A new encoding joins by entering the registry."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import encollapse as ec
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.registry import ENCODINGS
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, MemoryLimitError

Array = NDArray[np.float64]


def own_matrix(k: int) -> Encoding:
    return Encoding(np.random.default_rng(k).standard_normal((3, k)), classes=[f"c{i}" for i in range(k)])


MAKERS: dict[str, Callable[[int], Encoding]] = {
    name: cache(lambda k, name=name, entry=entry: ec.encodings.by_name(name, k, **entry.example_for(k)))
    for name, entry in ENCODINGS.items()
}
MAKERS["custom"] = own_matrix
MAKERS["padded-simplex"] = lambda k: ec.encodings.simplex(k, k + 2)
MAKERS["shifted"] = lambda k: ec.encodings.one_vs_rest(k).centered(priors_of(k))
MAKERS["shifted-simplex"] = lambda k: ec.encodings.simplex(k).centered(priors_of(k))
MAKERS["negative-scale"] = lambda k: ec.encodings.scaled_one_hot(k, on=-1.0, off=2.0)


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[int], Encoding]:
    return MAKERS[request.param]


@pytest.fixture(params=[2, 5, 11])
def encoding(request: pytest.FixtureRequest, make: Callable[[int], Encoding]) -> Encoding:
    return make(request.param)


def priors_of(k: int) -> Array:
    weights = np.arange(1.0, k + 1) ** 2
    return np.asarray(weights / weights.sum())


def test_shapes_and_dtype(encoding: Encoding) -> None:
    assert encoding.codewords.shape == (encoding.code_dim, encoding.num_classes)
    assert encoding.codewords.dtype == np.float64
    assert np.isfinite(encoding.codewords).all()
    assert len(encoding.classes) == encoding.num_classes
    assert encoding.name in repr(encoding)


def test_immutable(encoding: Encoding) -> None:
    with pytest.raises(ValueError, match="read-only"):
        encoding.codewords[0, 0] = 9.0
    with pytest.raises(AttributeError):
        encoding.name = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        encoding.extra = 1


def test_mean_and_centering(encoding: Encoding) -> None:
    k = encoding.num_classes
    for priors in (None, priors_of(k)):
        weights = np.full(k, 1 / k) if priors is None else priors
        slow = sum(weights[j] * encoding.codewords[:, j] for j in range(k))
        np.testing.assert_allclose(encoding.mean(priors), slow, atol=1e-15 * (1 + np.abs(slow).max()) * k)
        centered = encoding.centered(priors)
        np.testing.assert_allclose(centered.mean(priors), 0, atol=1e-14)
        np.testing.assert_allclose(centered.codewords, encoding.codewords - np.asarray(slow)[:, None], atol=1e-14)
        assert centered.classes == encoding.classes


def test_gram(encoding: Encoding) -> None:
    e = encoding.codewords
    slow = [[float(e[:, i] @ e[:, j]) for j in range(e.shape[1])] for i in range(e.shape[1])]
    np.testing.assert_allclose(encoding.gram(), slow, atol=1e-13)


def test_encode_takes_the_codeword_of_each_label(encoding: Encoding) -> None:
    labels = np.array([encoding.num_classes - 1, 0, 1, 0])
    rows = encoding.encode(labels)
    assert rows.shape == (4, encoding.code_dim)
    for row, label in zip(rows, labels, strict=True):
        np.testing.assert_allclose(row, encoding.codewords[:, label], atol=1e-15)
    assert encoding.encode(np.empty(0, dtype=int)).shape == (0, encoding.code_dim)
    rows[:] = 7.0
    assert not (encoding.codewords == 7.0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([2, 5, 11]), name=st.sampled_from(sorted(MAKERS)))
def test_decode_is_the_nearest_codeword(seed: int, k: int, name: str) -> None:
    encoding = MAKERS[name](k)
    rng = np.random.default_rng(seed)
    outputs = 2 * rng.standard_normal((13, encoding.code_dim))
    slow = [int(np.argmin([np.sum((o - e) ** 2) for e in encoding.codewords.T])) for o in outputs]
    np.testing.assert_array_equal(encoding.decode(outputs), slow)


def test_decode_of_codewords_far_from_zero() -> None:
    words = np.array([[0.0, 1, 0, 2, 1], [0, 0, 1, 1, 3], [1, 0, 2, 0, 0]])
    outputs = words.T + np.random.default_rng(0).uniform(-0.4, 0.4, (5, 3))
    for offset in (0.0, 1e7, -1e12):
        np.testing.assert_array_equal(Encoding(words + offset).decode(outputs + offset), np.arange(5))


def test_decode_inverts_encode(encoding: Encoding) -> None:
    labels = np.arange(encoding.num_classes).repeat(3)
    np.testing.assert_array_equal(encoding.decode(encoding.encode(labels)), labels)
    assert encoding.decode(np.empty((0, encoding.code_dim))).shape == (0,)


@pytest.mark.parametrize("name", ["one-hot", "simplex", "label-smoothing", "scaled-one-hot", "one-vs-rest"])
def test_centering_builds_no_matrix(name: str, tmp_path: Path) -> None:
    k = 100_003
    encoding = ec.encodings.by_name(name, k, **ENCODINGS[name].example_for(k))
    labels = np.array([0, 17, k - 1])
    for priors in (None, priors_of(k)):
        centered = encoding.centered(priors)
        np.testing.assert_allclose(centered.mean(priors), 0, atol=1e-13)
        rows = centered.encode(labels)
        np.testing.assert_allclose(rows, encoding.encode(labels) - encoding.mean(priors), atol=1e-13)
        np.testing.assert_array_equal(centered.decode(rows), labels)
        back = Encoding.load(centered.save(tmp_path / "centered.npz"))
        np.testing.assert_array_equal(back.encode(labels), rows)
        with pytest.raises(MemoryLimitError, match="codewords"):
            _ = centered.codewords


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_files_keep_every_bit(encoding: Encoding, suffix: str, tmp_path: Path) -> None:
    path = encoding.save(tmp_path / "deep" / f"encoding{suffix}")
    back = Encoding.load(path)
    np.testing.assert_array_equal(back.codewords, encoding.codewords)
    assert (back.name, back.classes) == (encoding.name, encoding.classes)
    assert type(back) is type(encoding)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ([-1], ArgumentError),
        ([-100], ArgumentError),
        ([0, 11], ArgumentError),
        ([0.0], ArgumentTypeError),
        ([[0]], ArgumentError),
        (["a"], ArgumentTypeError),
        ([True], ArgumentTypeError),
    ],
)
def test_bad_labels(make: Callable[[int], Encoding], labels: list[object], error: type[Exception]) -> None:
    with pytest.raises(error, match="labels"):
        make(11).encode(labels)


def test_bad_outputs(encoding: Encoding) -> None:
    q = encoding.code_dim
    for bad in (np.ones((3, q + 1)), np.ones(q), np.full((2, q), np.nan), np.full((1, q), np.inf)):
        with pytest.raises(ArgumentError, match="outputs"):
            encoding.decode(bad)
    with pytest.raises(ArgumentTypeError, match="outputs"):
        encoding.decode(np.full((2, q), "x"))


def test_bad_priors(encoding: Encoding) -> None:
    k = encoding.num_classes
    for bad in (np.ones(k), np.full(k + 1, 1 / (k + 1)), np.array([2.0, -1.0] + [0.0] * (k - 2)), [np.nan] * k):
        with pytest.raises(ArgumentError, match="priors"):
            encoding.mean(bad)


@pytest.mark.parametrize("k", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(make: Callable[[int], Encoding], k: int) -> None:
    with pytest.raises((ArgumentError, ValueError)):
        make(k)


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{}",
        "not json",
        '{"format": "encollapse.encoding", "version": 2}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x"}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x", "family": "odd"}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x", "family": "dense", "codewords": [[1, NaN]]}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x", "family": "dense", "codewords": [[1], [2, 3]]}',
        '{"format": "encollapse.encoding", "version": 1, "name": 3, "family": "dense", "codewords": [[1, 2]]}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x", "family": "simplex", "num_classes": 1e3, '
        '"code_dim": 4}',
        '{"format": "encollapse.encoding", "version": 1, "name": "x", "family": "shifted", "base": 3, "shift": [1]}',
        "[" * 100_000,
    ],
)
def test_files_that_are_no_encodings(record: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(record)
    with pytest.raises(FileFormatError, match=r"bad\.json"):
        Encoding.load(path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, record=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError):
        Encoding.load(path)
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(FileFormatError):
        Encoding.load(path)


def test_missing_file_and_odd_suffix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Encoding.load(tmp_path / "nothing.json")
    with pytest.raises(ArgumentError, match="path"):
        Encoding.load(tmp_path / "encoding.pkl")
    with pytest.raises(ArgumentError, match="path"):
        ec.encodings.one_hot(3).save(tmp_path / "encoding.txt")


def test_json_is_readable_by_people(tmp_path: Path) -> None:
    path = own_matrix(5).save(tmp_path / "own.json")
    record = json.loads(path.read_text())
    assert record["name"] == "custom"
    assert record["classes"] == ["c0", "c1", "c2", "c3", "c4"]
