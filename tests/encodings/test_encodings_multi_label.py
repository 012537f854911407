"""Sets of labels as classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

TAGS = [{0, 2}, {1}, set(), {2, 0}, {4, 1, 3}]


def test_each_distinct_set_is_a_class() -> None:
    encoding = ec.encodings.multi_label(TAGS, 5)
    assert encoding.classes == ("{0,2}", "{1}", "{}", "{1,3,4}")
    assert encoding.label_sets == (frozenset({0, 2}), frozenset({1}), frozenset(), frozenset({1, 3, 4}))
    assert (encoding.num_labels, encoding.code_dim, encoding.num_classes) == (5, 5, 4)
    np.testing.assert_array_equal(
        encoding.codewords, np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 1]]).T
    )
    np.testing.assert_array_equal(encoding.index(TAGS), [0, 1, 2, 0, 3])
    assert encoding.index([]).shape == (0,)


@given(sets=st.lists(st.frozensets(st.integers(0, 6)), min_size=2, max_size=30).filter(lambda s: len(set(s)) > 1))
def test_targets_of_samples_are_their_indicator_vectors(sets: list[frozenset[int]]) -> None:
    encoding = ec.encodings.multi_label(sets, 7)
    labels = encoding.index(sets)
    assert labels.dtype == np.int64
    expected = [[float(j in s) for j in range(7)] for s in sets]
    np.testing.assert_array_equal(encoding.encode(labels), expected)
    np.testing.assert_array_equal(encoding.decode(expected), labels)
    assert [encoding.label_sets[k] for k in labels] == sets
    first_seen = list(dict.fromkeys(sets))
    assert list(encoding.label_sets) == first_seen


def test_sets_may_be_any_collection() -> None:
    encoding = ec.encodings.multi_label([(0, 1), np.array([2]), [], frozenset({1})], 3)
    np.testing.assert_array_equal(encoding.index(iter([[1, 0], np.array([], dtype=int)])), [0, 2])


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("classes", [None, ["0", "1", "2", "3"], ["a", "b", "c", "d"]])
def test_files_keep_the_sets(suffix: str, classes: list[str] | None, tmp_path: Path) -> None:
    encoding = ec.encodings.multi_label(TAGS, 6, classes=classes)
    back = ec.encodings.Encoding.load(encoding.save(tmp_path / f"tags{suffix}"))
    assert isinstance(back, ec.encodings.MultiLabel)
    assert (back.label_sets, back.num_labels, back.classes) == (encoding.label_sets, 6, encoding.classes)
    np.testing.assert_array_equal(back.index(TAGS), encoding.index(TAGS))


def test_a_file_with_a_label_out_of_range(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(
        '{"format": "encollapse.encoding", "version": 1, "name": "multi-label", "family": "multi-label", '
        '"num_labels": 2, "label_sets": [[0], [2]]}'
    )
    with pytest.raises(FileFormatError, match=r"label_sets\[1\]"):
        ec.encodings.Encoding.load(path)


@pytest.mark.parametrize(
    ("sets", "error", "words"),
    [
        ([{0}, {5}], ArgumentError, r"label_sets\[1\]: expected from 0 to 4"),
        ([{0}, {-1}], ArgumentError, r"label_sets\[1\]"),
        ([[0, 0], [1]], ArgumentError, r"label_sets\[0\]: the label 0 occurs twice"),
        ([{0}, {0}], ArgumentError, "two distinct"),
        ([], ArgumentError, "two distinct"),
        ([{0}, {1.5}], ArgumentTypeError, r"label_sets\[1\]"),
        ([{0}, {True}], ArgumentTypeError, r"label_sets\[1\]"),
        ([{0}, "1"], ArgumentTypeError, r"label_sets\[1\]"),
        ([{0}, 1], ArgumentTypeError, r"label_sets\[1\]"),
        ("01", ArgumentTypeError, "label_sets"),
        (3, ArgumentTypeError, "label_sets"),
    ],
)
def test_bad_sets(sets: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ec.encodings.multi_label(sets, 5)


def test_bad_use() -> None:
    with pytest.raises(ArgumentError, match="num_labels"):
        ec.encodings.multi_label(TAGS, 0)
    with pytest.raises(ArgumentError, match="label_sets: it describes 4 classes, but there are 3"):
        ec.encodings.by_name("multi-label", 3, label_sets=TAGS, num_labels=5)
    encoding = ec.encodings.multi_label(TAGS, 5)
    with pytest.raises(ArgumentError, match=r"label_sets\[1\]: no class stands for \{0, 1\}"):
        encoding.index([{1}, {0, 1}])
    with pytest.raises(AttributeError):
        encoding.extra = 1


def test_prediction_takes_the_classes_with_their_counts() -> None:
    encoding = ec.encodings.multi_label(TAGS, 5)
    counts = np.bincount(encoding.index(TAGS * 20))
    solution = ec.ufm.solve(ec.ufm.Problem(encoding, counts, weight_decay=1e-3, feature_decay=1e-4))
    assert solution.certificate.holds


def test_pick_all_labels_is_the_sum_of_cross_entropies_of_the_labels() -> None:
    """The objective of the problem is that loss, summed label by label over the samples, at any parameters."""
    sets = [{0}, {1}, {0, 2}, {3}, {1}, {1, 2, 3}, {0, 2}]
    encoding, counts, class_weights = ec.encodings.pick_all_labels(sets, 5)
    assert counts.tolist() == [1, 2, 2, 1, 1]
    problem = ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=2e-2,
        feature_decay=1e-2,
        bias_decay=0.3,
        loss="cross_entropy",
        class_weights=class_weights,
    )
    generator = np.random.default_rng(0)
    weight, means, bias = (generator.standard_normal(shape) for shape in ((5, 3), (3, 5), 5))
    distinct = list(dict.fromkeys(map(frozenset, sets)))
    total = 0.0
    for labels in sets:
        outputs = weight @ means[:, distinct.index(frozenset(labels))] + bias
        total += sum(float(np.log(np.exp(outputs).sum()) - outputs[j]) for j in labels) / len(sets)
    total += 1e-2 * (weight**2).sum() + 5e-3 * (counts * means**2).sum() + 0.15 * (bias**2).sum()
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(total, rel=1e-13)
    with pytest.raises(ArgumentError, match=r"label_sets\[1\]"):
        ec.encodings.pick_all_labels([{0}, set(), {1}], 5)
