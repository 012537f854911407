"""Imbalance and label noise: exact numbers, seeds, and what stays of the truth."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.data import Split, class_counts, with_label_noise
from encollapse.data.label_noise import apportioned
from encollapse.errors import ArgumentError, ArgumentTypeError

AVAILABLE = np.array([100, 90, 80, 70, 60])


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ({"kind": "step", "majority": 50, "minority": 3}, [50, 50, 50, 3, 3]),
        ({"kind": "step", "majority": 50, "minority": 3, "fraction": 0.2}, [50, 50, 50, 50, 3]),
        ({"kind": "step", "majority": 50, "minority": 3, "fraction": 0.99}, [50, 3, 3, 3, 3]),
        ({"kind": "step", "majority": 50, "minority": 3, "fraction": 0.01}, [50, 50, 50, 50, 3]),
        # Three classes of the majority: the third has 80.
        ({"kind": "step", "minority": 7}, [80, 80, 80, 7, 7]),
        ({"kind": "exponential", "first": 81, "ratio": 81}, [81, 27, 9, 3, 1]),
        ({"kind": "exponential", "first": 16, "ratio": 1}, [16, 16, 16, 16, 16]),
        # Here the last class decides, and below the first.
        ({"kind": "exponential", "ratio": 1.0}, [60, 60, 60, 60, 60]),
        ({"kind": "exponential", "ratio": 16}, [100, 50, 25, 12, 6]),
        ({"kind": "geometric", "first": 3, "last": 48}, [3, 6, 12, 24, 48]),
        ({"kind": "explicit", "counts": [5, 4, 3, 2, 1]}, [5, 4, 3, 2, 1]),
    ],
)
def test_rules_give_these_counts(rule: dict[str, Any], counts: list[int]) -> None:
    assert class_counts(rule, AVAILABLE).tolist() == counts


@settings(max_examples=50, deadline=None)
@given(ratio=st.floats(1, 1000), available=st.lists(st.integers(1, 5000), min_size=2, max_size=13))
def test_without_a_majority_a_rule_takes_what_the_data_allow(ratio: float, available: list[int]) -> None:
    counts = class_counts({"kind": "exponential", "ratio": ratio}, np.array(available))
    # Rounding may only ever go up to the one sample that every class keeps.
    assert (counts <= np.maximum(available, 1)).all()
    assert (np.diff(counts) <= 0).all()


def test_shuffled_counts_are_the_same_counts_in_an_order_of_the_seed() -> None:
    rule = {"kind": "step", "majority": 50, "minority": 3, "shuffle": True}
    orders = {tuple(class_counts(rule, AVAILABLE, seed).tolist()) for seed in range(40)}
    assert orders == set(itertools.permutations([50, 50, 50, 3, 3]))
    # What is there is counted after the classes have found their places.
    for seed in range(9):
        largest = class_counts({"kind": "step", "minority": 7, "shuffle": True}, AVAILABLE, seed)
        assert largest.max() == AVAILABLE[largest > 7].min()
    assert (
        ec.data.load("digits", imbalance=rule, seed=4).counts.tolist()
        == class_counts(rule, np.full(10, 999), 4).tolist()
    )


def test_load_applies_a_rule_and_records_it() -> None:
    rule = {"kind": "exponential", "first": 100, "ratio": 20}
    data = ec.data.load("digits", imbalance=rule, seed=4, holdout=0.2)
    wanted = class_counts(rule, np.full(10, 999)).tolist()
    assert data.counts.tolist() == wanted
    assert (wanted[0], wanted[-1]) == (100, 5)
    assert data.provenance["imbalance"] == rule
    again = ec.data.load("digits", counts=wanted, seed=4, holdout=0.2)
    assert np.array_equal(data.train.inputs, again.train.inputs)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "linear"}, "imbalance.kind"),
        ({}, "imbalance.kind"),
        ({"kind": "step"}, "needs 'minority'"),
        ({"kind": "step", "minority": 3, "ratio": 2}, "has no option 'ratio'; it has minority, majority, fraction"),
        ({"kind": "step", "minority": 0}, "imbalance.minority"),
        ({"kind": "step", "minority": 99}, "imbalance.minority: expected at most the majority of 80"),
        ({"kind": "step", "minority": 3, "fraction": 1.0}, "imbalance.fraction"),
        ({"kind": "exponential", "ratio": 0.5}, "imbalance.ratio"),
        ({"kind": "explicit", "counts": [1, 2]}, "imbalance.counts"),
        ({"kind": "explicit", "counts": [1, 2, 0, 3, 4]}, "class 2 has 0"),
    ],
)
def test_rules_that_cannot_be_are_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        class_counts(rule, AVAILABLE)


@pytest.mark.parametrize(
    "rule",
    [
        "step",
        3,
        {"kind": "step", "minority": 2.5},
        {"kind": "explicit", "counts": 3},
        {"kind": "geometric", "first": 3, "last": 48, "shuffle": 1},
    ],
)
def test_rules_of_the_wrong_type_are_refused(rule: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="imbalance"):
        class_counts(rule, AVAILABLE)


def test_a_class_too_small_for_its_rule_is_named() -> None:
    with pytest.raises(ArgumentError, match="counts: class 4 has 181 training samples, fewer than 200"):
        ec.data.load("digits", imbalance={"kind": "explicit", "counts": [9, 9, 9, 9, 200, 9, 9, 9, 9, 9]})


@pytest.mark.parametrize("rules", [{"counts": 5, "per_class": 5}, {"counts": 5, "imbalance": {"kind": "step"}}])
def test_rules_for_counts_exclude_each_other(rules: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"counts: counts and .* exclude each other"):
        ec.data.load("digits", **rules)


def test_at_most_so_many_of_each_class() -> None:
    assert ec.data.load("digits", per_class=180).counts.tolist() == [178, 180, 177, 180, 180, 180, 180, 179, 174, 180]


COUNTS = [23, 47, 11, 31]
LABELS = np.repeat(np.arange(4), COUNTS)
CLEAN = Split(np.arange(112.0)[:, None] @ np.ones((1, 3)), LABELS)


def truth(split: Split) -> Any:
    assert split.clean_labels is not None
    return split.clean_labels


def confusion(noisy: Split) -> Any:
    table = np.zeros((4, 4), int)
    np.add.at(table, (truth(noisy), noisy.labels), 1)
    return table


@settings(max_examples=60, deadline=None)
@given(fraction=st.floats(0, 0.99), seed=st.integers(0, 2**31), kind=st.sampled_from(["symmetric", "pairwise"]))
def test_noise_changes_exactly_the_share_asked_for(fraction: float, seed: int, kind: str) -> None:
    noisy = with_label_noise(CLEAN, 4, {"kind": kind, "fraction": fraction}, seed)
    table = confusion(noisy)
    moved = [round(n * fraction) for n in COUNTS]
    assert (table.sum(1) - table.diagonal()).tolist() == moved
    assert np.array_equal(truth(noisy), LABELS)
    assert np.array_equal(noisy.inputs, CLEAN.inputs)
    for k in range(4):
        others = np.delete(table[k], k)
        if kind == "symmetric":
            assert others.max() - others.min() <= 1
        else:
            assert table[k, (k + 1) % 4] == moved[k]


def test_confusion_matrices_are_met_to_the_sample() -> None:
    matrix = [[1, 0, 0, 0], [0.5, 0.25, 0.25, 0], [0, 0, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]]
    table = confusion(with_label_noise(CLEAN, 4, {"kind": "confusion", "matrix": matrix}, 5))
    assert table.sum(1).tolist() == COUNTS
    assert (np.abs(table - np.array(COUNTS)[:, None] * matrix) < 1).all()
    assert table[np.array(matrix) == 0].tolist() == [0] * 6


@given(parts=st.lists(st.floats(0.01, 1), min_size=1, max_size=9), total=st.integers(0, 1000))
def test_apportioned_parts_sum_up_and_are_off_by_less_than_one(parts: list[float], total: int) -> None:
    shares = np.array(parts)
    found = apportioned(shares, total)
    assert found.sum() == total
    assert (np.abs(found - total * shares / shares.sum()) < 1 + 1e-6).all()


def test_noise_goes_by_the_seed_and_more_of_it_holds_the_less() -> None:
    first, again, other, more = (
        ec.data.load("digits", counts=29, label_noise=fraction, seed=seed).train
        for fraction, seed in [(0.2, 1), (0.2, 1), (0.2, 2), (0.5, 1)]
    )
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels != truth(first), other.labels != truth(other))
    assert ((first.labels != truth(first)) <= (more.labels != truth(more))).all()


def test_load_keeps_the_truth_and_the_test_set_clean() -> None:
    noise = {"kind": "pairwise", "fraction": 0.25}
    data = ec.data.load("digits", counts=40, label_noise=noise, holdout=0.1, seed=3)
    clean = ec.data.load("digits", counts=40, holdout=0.1, seed=3)
    assert np.array_equal(truth(data.train), clean.train.labels)
    assert data.provenance["label_noise"] == {**noise, "changed": 100}
    assert data.counts.tolist() == [40] * 10
    assert data.test is not None
    assert clean.test is not None
    assert np.array_equal(data.test.labels, clean.test.labels)
    assert data.test.clean_labels is None
    taken = data.train.take(np.arange(5))
    assert np.array_equal(truth(taken), clean.train.labels[:5])


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (1.0, "label_noise.fraction"),
        (-0.1, "label_noise.fraction"),
        ({"kind": "random", "fraction": 0.1}, "label_noise.kind"),
        ({"kind": "pairwise"}, "needs 'fraction'"),
        ({"kind": "confusion", "fraction": 0.1}, "has no option 'fraction'; it has matrix"),
        ({"kind": "confusion"}, "needs 'matrix'"),
        ({"kind": "confusion", "matrix": np.eye(3)}, r"label_noise.matrix: expected shape \(4, 4\)"),
        ({"kind": "confusion", "matrix": np.ones((4, 4)) / 3}, "row 0 is no distribution"),
        ({"kind": "confusion", "matrix": np.diag([1.0, 1, 2, 1]) - np.eye(4)[[2]].T @ np.eye(4)[[3]]}, "row 2"),
    ],
)
def test_noise_that_cannot_be_is_refused(noise: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        with_label_noise(CLEAN, 4, noise, 0)


@pytest.mark.parametrize("noise", ["symmetric", True, [0.1], {"kind": "pairwise", "fraction": "a"}])
def test_noise_of_the_wrong_type_is_refused(noise: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="label_noise"):
        ec.data.load("digits", label_noise=noise)


def test_rows_tell_which_sample_of_the_source_each_one_is() -> None:
    whole = ec.data.load("digits").train
    assert np.array_equal(whole.rows, np.arange(1797))
    part = ec.data.load("digits", counts=7, holdout=0.3, label_noise=0.3)
    assert part.test is not None
    for split in (part.train, part.test):
        assert np.array_equal(whole.inputs[split.rows], split.inputs)
    assert not set(part.train.rows) & set(part.test.rows)
    assert np.array_equal(whole.labels[part.train.rows], truth(part.train))
    with pytest.raises(ArgumentError, match="rows: expected one for each"):
        Split(np.ones((3, 2)), np.array([0, 1, 0]), rows=np.array([1, 2]))
