"""Labels with a common mean far above their spread: a free bias takes it, and nothing else may change.

Dyadic labels stay exact when a power of two is added, so the shifted problem is the same one to the last bit.
"""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse._internal.typing import IntArray
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.weighted_labels import WeightedLabels

SHIFTS = [2.0**20, 2.0**36, 2.0**43]


def problem_of(
    encoding: ec.encodings.Encoding, counts: Any, threshold: float, bias_decay: float = 0.0, **options: Any
) -> ec.ufm.Problem:
    numbers = np.broadcast_to(np.asarray(counts), encoding.num_classes)
    decay = threshold**2 / int(numbers.sum()) / 1e-3
    return ec.ufm.Problem(encoding, numbers, weight_decay=1e-3, feature_decay=decay, bias_decay=bias_decay, **options)


def same(shifted: ec.ufm.Solution, plain: ec.ufm.Solution) -> None:
    assert shifted.certificate.holds
    assert shifted.rank == plain.rank
    assert shifted.loss == pytest.approx(plain.loss, rel=1e-12)
    np.testing.assert_allclose(shifted.singular_values, plain.singular_values, atol=1e-12)


def test_time_stamps_are_learned_as_their_differences_are() -> None:
    stamps = 1.7e9 + 1e-4 * np.random.default_rng(0).standard_normal(1000)
    encoding, counts, _ = ec.encodings.from_targets(stamps)
    differences = ec.encodings.Encoding(encoding.codewords - encoding.codewords[:, :1])  # exact: all within a factor 2
    found, plain = (ec.ufm.solve(problem_of(e, counts, 1e-5)) for e in (encoding, differences))
    same(found, plain)
    # One direction of singular value s costs c s - c²/2; two passes in exact integers of the last place give s.
    last = 2.0**-22
    whole = [int(v) for v in np.round(encoding.codewords[0] / last)]
    total = int(counts.sum())
    first = sum(n * v for n, v in zip(counts.tolist(), whole, strict=True))
    square = sum(n * (total * v - first) ** 2 for n, v in zip(counts.tolist(), whole, strict=True))
    s = last * math.sqrt(square / total**3)
    assert found.rank == 1
    assert found.loss == pytest.approx(1e-5 * s - 0.5e-10, rel=1e-9)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_dense_problem_without_a_price_on_the_bias_ignores_the_mean(shift: float) -> None:
    labels = np.random.default_rng(1).integers(-512, 512, (150, 150)) / 512
    problems = [problem_of(ec.encodings.Encoding(labels + s), 7, 1e-2) for s in (shift, 0.0)]
    same(*map(ec.ufm.solve, problems))


@pytest.mark.parametrize("shift", [*SHIFTS, 2.0**49])
@pytest.mark.parametrize("counts", [np.repeat([3, 5, 11], 67), np.arange(1, 202)], ids=["blocks", "long tail"])
def test_blocks_without_a_price_on_the_bias_ignore_the_mean(shift: float, counts: IntArray) -> None:
    encodings = [ec.encodings.scaled_one_hot(201, on=s + 1.0, off=s) for s in (shift, 0.0)]
    found, plain = (ec.ufm.solve(problem_of(e, counts, 3e-2)) for e in encodings)
    same(found, plain)
    assert found.rank > 0
    assert found.geometry.cosine(3, 170) == pytest.approx(plain.geometry.cosine(3, 170), abs=1e-9)


@pytest.mark.parametrize("bias_decay", [1e-12, 1e-3, 1.0])
@pytest.mark.parametrize("shift", [2.0**40, 2.0**49])
def test_a_long_tail_with_a_large_mean_equals_the_dense_method(shift: float, bias_decay: float) -> None:
    structured = ec.encodings.scaled_one_hot(150, on=shift + 1.0, off=shift)
    counts = np.arange(1, 151)
    tail, dense = (
        ec.ufm.solve(problem_of(e, counts, 1e-2, bias_decay))
        for e in (structured, ec.encodings.Encoding(structured.codewords))
    )
    assert tail.loss == pytest.approx(dense.loss, rel=1e-12)
    assert tail.rank == dense.rank
    assert tail.geometry.norm(3) == pytest.approx(dense.geometry.norm(3), rel=1e-6)
    assert tail.geometry.cosine(3, 100) == pytest.approx(dense.geometry.cosine(3, 100), abs=1e-9)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("options", [{"depth": 2}, {"class_weights": [1, 2, 1, 3, 1]}, {"feature_mean_decay": 1e-5}])
def test_other_methods_ignore_it_too(shift: float, options: dict[str, Any]) -> None:
    labels = np.random.default_rng(2).integers(-512, 512, (3, 5)) / 512
    problems = [problem_of(ec.encodings.Encoding(labels + s), [7, 5, 11, 3, 2], 3e-2, **options) for s in (shift, 0.0)]
    found, plain = map(ec.ufm.solve, problems)
    assert found.certificate.holds
    assert found.rank == plain.rank
    assert found.loss == pytest.approx(plain.loss, rel=1e-9)


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1e12])
def test_a_scaled_mean_changes_no_singular_value_of_the_centered_labels(size: float) -> None:
    labels = WeightedLabels.of(np.random.default_rng(3).standard_normal((3, 7)), np.full(7, 1 / 7))
    scaled = WeightedLabels(labels.scale, labels.centered, labels.root_priors, size * labels.mean)
    plain, found = LabelSVD.of(labels), LabelSVD.of(scaled)
    np.testing.assert_allclose(found.spectrum, plain.spectrum, rtol=1e-14)
    np.testing.assert_allclose(np.abs(found.mean), size * np.abs(plain.mean), rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1e15 / 3])
@pytest.mark.parametrize("bias_decay", [0.0, 1e-4, math.inf])
def test_equal_codewords_have_no_spread(value: float, bias_decay: float) -> None:
    found = ec.ufm.solve(problem_of(ec.encodings.Encoding(np.full((3, 7), value)), 5, 1e-3 * value, bias_decay))
    assert found.rank == (0 if bias_decay < 1.0 else 1)
    if bias_decay == 0.0:
        assert found.loss == 0.0
    if math.isinf(bias_decay):
        # One singular value, √3 v, of which c is not learned.
        c = 1e-3 * value
        assert found.loss == pytest.approx(c * (math.sqrt(3) * value - 0.5 * c), rel=1e-12)
