"""Distances between representations: against their definitions, and what they must not see."""

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from encollapse.errors import ArgumentError, Undefined
from encollapse.metrics import linear_cka, procrustes_distance, subspace_distance

Array = NDArray[np.float64]


def hsic(k: Array, l: Array) -> float:  # noqa: E741
    """The unbiased estimator as the U-statistic that defines it: a mean over four different samples."""
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return float(np.mean(terms))


@pytest.mark.parametrize(("d", "e"), [(3, 5), (11, 2)])
def test_debiased_alignment_is_that_of_the_u_statistics(d: int, e: int) -> None:
    rng = np.random.default_rng(d)
    a, b = rng.standard_normal((7, d)) + 30, rng.standard_normal((7, e)) - 5
    k, l = a @ a.T, b @ b.T  # noqa: E741
    assert linear_cka(a, b) == pytest.approx(hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l)), rel=1e-9)
    c, g = (m - m.mean(axis=0) for m in (a, b))
    biased = np.sum((c.T @ g) ** 2) / np.linalg.norm(c.T @ c) / np.linalg.norm(g.T @ g)
    assert linear_cka(a, b, debiased=False) == pytest.approx(biased, rel=1e-12)


def test_few_samples_of_many_dimensions_have_nothing_in_common_but_by_the_plain_estimator() -> None:
    rng = np.random.default_rng(0)
    pairs = [rng.standard_normal((2, 31, 500)) for _ in range(20)]
    assert abs(np.mean([linear_cka(*pair) for pair in pairs])) < 0.01
    assert min(linear_cka(*pair, debiased=False) for pair in pairs) > 0.8


@pytest.mark.parametrize("shape", [(5, 11), (13, 3)])
def test_shift_length_and_rotation_are_not_seen(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    points = rng.standard_normal(shape)
    turn = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))[0]
    turned = 7 * points @ turn + 1e4
    assert procrustes_distance(points, turned) == pytest.approx(0.0, abs=1e-11)
    assert linear_cka(points, turned) == pytest.approx(1.0, abs=1e-11)
    noise = 1e-9 * rng.standard_normal(shape)
    assert 1e-11 < procrustes_distance(points, points + noise) < 1e-8  # no rounding of 1e-8 in its place


def test_procrustes_distance_is_the_least_over_rotations() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 7, 2))
    one, other = (m - m.mean(axis=0) for m in (a, b))
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    angles = np.linspace(0, 2 * np.pi, 20001)
    turns = [np.array([[np.cos(t), -s * np.sin(t)], [np.sin(t), s * np.cos(t)]]) for t in angles for s in (1, -1)]
    least = min(float(np.linalg.norm(one - other @ turn)) for turn in turns)
    assert procrustes_distance(a, b) == pytest.approx(least, abs=1e-6)


def test_subspaces_at_a_known_angle() -> None:
    plane = np.zeros((3, 7))
    plane[0, 0], plane[1, 1] = 1.0, 2.0
    tilted = plane.copy()
    tilted[1, 1], tilted[1, 4] = 2 * np.cos(0.3), 2 * np.sin(0.3)
    assert subspace_distance(plane, tilted) == pytest.approx(np.sin(0.3) / np.sqrt(2), rel=1e-12)
    nearly = plane.copy()
    nearly[1, 4] = 2e-12
    assert subspace_distance(plane, nearly) == pytest.approx(1e-12 / np.sqrt(2), rel=1e-3)


def test_what_has_no_value_says_why() -> None:
    same, generic = np.ones((5, 3)), np.random.default_rng(3).standard_normal((5, 3))
    for function in (procrustes_distance, linear_cka, subspace_distance):
        with pytest.raises(Undefined, match="all points coincide"):
            function(generic, same)
    with pytest.raises(Undefined, match="needs 4 samples"):
        linear_cka(generic[:3], generic[:3])
    with pytest.raises(Undefined, match="all pairs of samples are alike"):
        linear_cka(np.eye(5), np.eye(5))
    with pytest.raises(Undefined, match="whole space"):
        subspace_distance(generic, generic)
    with pytest.raises(ArgumentError, match="expected 5 rows"):
        procrustes_distance(generic, generic[:4])
    with pytest.raises(ArgumentError, match="expected 3 columns"):
        subspace_distance(generic, np.eye(5))
