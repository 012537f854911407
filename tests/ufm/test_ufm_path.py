"""Paths: every value as a single solve has it, in whatever order they are asked for."""

import math

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError


def problem_of(k: int, seed: int, share: float = 0.1) -> ec.ufm.Problem:
    """Random labels of more classes than are solved one by one; the threshold at a share of the largest."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 1000, k)
    encoding = ec.encodings.Encoding(rng.standard_normal((k - 4, k)) + 0.3)
    size = float(np.linalg.norm(encoding.codewords * np.sqrt(counts / counts.sum()), 2))
    decay = share * size / math.sqrt(counts.sum())
    return ec.ufm.Problem(encoding, counts, weight_decay=decay, feature_decay=decay)


GRIDS = {
    "rising": [0.0, *np.geomspace(1e-4, 1e4, 61), math.inf],
    "mixed": [*np.random.default_rng(3).permutation(np.geomspace(1e-12, 1e12, 67)), 0.0, 0.3],
    "repeated": [0.1] * 41 + [0.2] * 5,
    "two": [1.0, 1e3] * 20,
    "extreme": [1e-300, 1e-170, 1e300, *np.geomspace(0.5, 0.5000001, 37)],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("share", [1e-3, 0.1, 0.7])
@pytest.mark.parametrize("name", list(GRIDS))
def test_each_value_is_what_a_single_solve_gives(name: str, share: float) -> None:
    problem = problem_of(83, 7, share)
    path = ec.ufm.bias_path(problem, GRIDS[name])
    assert [found.problem.bias_decay for found in path.solutions] == GRIDS[name]
    for found in path.solutions:
        single = ec.ufm.solve(problem.with_bias_decay(found.problem.bias_decay))
        assert found.certificate.relative_gap <= 1e-12
        assert found.loss == pytest.approx(single.loss, rel=1e-13)
        assert found.rank == single.rank
        np.testing.assert_allclose(found.bias, single.bias, rtol=1e-9, atol=1e-12 * np.abs(single.bias).max())


@pytest.mark.parametrize(("k", "share"), [(83, 0.1), (83, 0.01), (211, 0.1), (83, 0.9), (11, 0.1)])
def test_mean_cosines_of_a_path_are_those_of_each_geometry(k: int, share: float) -> None:
    """Against all pairs of each Gram matrix, built on its own."""
    problem = problem_of(k, 5, share)
    grid = [0.0, *np.geomspace(1e-3, 1e3, 37), math.inf]
    path = ec.ufm.bias_path(problem, grid)
    for value, cosine in zip(grid[::6], path.mean_cosine[::6], strict=True):
        cosines = ec.ufm.solve(problem.with_bias_decay(value)).geometry.cosines()
        expected = cosines[~np.eye(k, dtype=bool)].mean()
        assert cosine == pytest.approx(expected, abs=1e-11, nan_ok=True)


def test_nothing_learned_has_no_cosine() -> None:
    problem = problem_of(83, 5, 1.1)
    assert np.isnan(ec.ufm.bias_path(problem, [0.0, 1.0, 2.0]).mean_cosine).all()


@pytest.mark.parametrize("k", [2, 37, 71])
def test_mean_cosines_are_undefined_where_those_of_the_geometry_are(k: int) -> None:
    """Labels that are learned from some bias decay on, and counts so rare that rounding looks like a length."""
    rng = np.random.default_rng(k)
    grid = [0.0, *np.geomspace(1e-5, 1e5, 11), math.inf]
    undefined = 0
    for _ in range(12):
        codewords = rng.standard_normal((k, k)) + 10 ** rng.uniform(-1, 2) * rng.standard_normal((k, 1))
        counts = 10 ** rng.integers(0, 6, k)
        largest = np.linalg.norm(codewords * np.sqrt(counts / counts.sum()), 2)
        c = float(largest * 10 ** rng.uniform(-2, 0))
        decays = {"weight_decay": 1e-3, "feature_decay": c**2 / (1e-3 * counts.sum())}
        path = ec.ufm.bias_path(ec.ufm.Problem(ec.encodings.Encoding(codewords), counts, **decays), grid)
        pairs = np.array([solution.geometry.cosines()[np.triu_indices(k, 1)] for solution in path.solutions])
        np.testing.assert_allclose(path.mean_cosine, pairs.mean(axis=1), atol=1e-9)
        undefined += int(np.isnan(path.mean_cosine).sum())
    assert undefined > 0


@pytest.mark.parametrize(
    ("encoding", "mean_cosine"),
    [(ec.encodings.scaled_one_hot(5, on=0.0), math.nan), (ec.encodings.simplex(1_000_003), -1 / 1_000_002)],
    ids=["zero", "simplex"],
)
def test_labels_that_leave_nothing_to_decompose(encoding: ec.encodings.Encoding, mean_cosine: float) -> None:
    problem = ec.ufm.Problem(encoding, 7, weight_decay=1e-6, feature_decay=1e-9)
    path = ec.ufm.bias_path(problem, [0.0, 0.3, math.inf])
    np.testing.assert_allclose(path.mean_cosine, mean_cosine, rtol=1e-9)
    assert all(solution.certificate.holds for solution in path.solutions)


def test_a_copy_at_another_bias_decay_checks_it() -> None:
    problem = problem_of(7, 2)
    with pytest.raises(ArgumentError, match="bias_decay"):
        problem.with_bias_decay(-1.0)
    known = problem.structure.label_svd
    other = problem.with_bias_decay(0.5)
    assert (other.bias_decay, problem.bias_decay) == (0.5, 0.0)
    assert other.structure.label_svd is known
    assert other.threshold == problem.threshold


def test_a_path_looks_at_the_codewords_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its problems is checked, and at K = 1000 a look at all codewords took half of the time of a path."""
    problem, looks = problem_of(41, 0), 0

    def look(_: ec.encodings.Encoding) -> float:
        nonlocal looks
        looks += 1
        return 1.0

    monkeypatch.setattr(ec.encodings.Encoding, "largest_entry", property(look))
    ec.ufm.bias_path(problem, GRIDS["rising"])
    assert looks == 0
