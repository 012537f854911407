"""Sums of resolvents against eigenvalue decompositions, and many bias decays against one at a time."""

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.ufm.mse import minimize as mse
from encollapse.ufm.mse.resolvent.contour import WINDOW, Contour
from encollapse.ufm.mse.resolvent.newton_path import gaps, minimize_biases
from encollapse.ufm.mse.resolvent.table import ResolventTable

GRID = np.array([0.0, 1e-9, 1e-3, 0.1, 1.0, 30.0, 1e7, math.inf])


@pytest.mark.parametrize("span", [1.0, 3.0, 1e3, 1e8])
@pytest.mark.parametrize("c", [1e-6, 0.7, 1e5])
def test_the_contour_separates_at_its_threshold(span: float, c: float) -> None:
    contour = Contour.above(c, span * c)
    nodes = contour.offsets + c * c
    decaying = c / np.sqrt(nodes)
    for side in (1.0, -1.0):
        away = side * np.geomspace(2 * WINDOW, 0.99 * (span**2 - 1 if side > 0 and span > 1 else 1.0), 40)
        found = ((contour.weights * decaying)[None, :] / (contour.offsets[None, :] - c * c * away[:, None])).sum(1)
        expected = 1.0 / np.sqrt(1.0 + away) if side > 0 else np.zeros_like(away)
        np.testing.assert_allclose(found.imag, expected, atol=5e-15)


def pencil_of(seed: int, downdated: bool) -> ResolventTable:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    spectrum = 10 ** rng.uniform(-4, 0, n)
    down = None
    if downdated:
        down = spectrum * rng.standard_normal(n)
        down *= rng.uniform(0, 1) / np.linalg.norm(down / spectrum)
    return ResolventTable(
        spectrum, rng.standard_normal(n) * 10 ** rng.uniform(-3, 1, n), 10 ** rng.uniform(-2.5, 1), down
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), downdated=st.booleans())
def test_value_gradient_rank_and_curvature_by_eigenvalues(seed: int, downdated: bool) -> None:
    p = pencil_of(seed, downdated)
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1)
    shift, decay = share * p.mean, 10 ** rng.uniform(-3, 3)
    bias = p.mean - shift
    c = p.threshold

    def pull(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.diag(p.spectrum**2) + np.outer(x, x)
        if p.downdate is not None:
            matrix -= np.outer(p.downdate, p.downdate)
        values, vectors = np.linalg.eigh(matrix)
        singular = np.sqrt(np.maximum(values, 0))
        ratio = np.minimum(1, c / np.maximum(singular, 1e-300))
        return singular, vectors @ (ratio * (vectors.T @ x))

    singular, pulled = pull(shift)
    found = p.at(shift[None], bias[None], np.array([decay]))
    huber = np.where(singular <= c, 0.5 * singular**2, c * (singular - 0.5 * c)).sum()
    largest = p.largest
    assert found.value[0] == pytest.approx(huber + 0.5 * decay * bias @ bias, rel=1e-10, abs=1e-12 * largest**2)
    np.testing.assert_allclose(found.pull[0], pulled, atol=1e-11 * largest)
    if np.abs(singular / c - 1).min() > 1e-6:
        assert p.count_above(c, shift[None])[0] == np.count_nonzero(singular > c)
    if np.abs(singular / c - 1).min() > 1e-3:
        step = rng.standard_normal(len(shift))
        step *= 1e-5 * np.linalg.norm(shift) / np.linalg.norm(step)
        change = pull(shift + step)[1] - pull(shift - step)[1] + 2 * decay * step
        np.testing.assert_allclose(
            found.bent(step[None])[0], change / 2, atol=1e-3 * float(np.linalg.norm(change)) + 1e-13 * largest
        )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), downdated=st.booleans())
def test_the_reported_gap_covers_the_distance_to_the_minimum(seed: int, downdated: bool) -> None:
    p = pencil_of(seed, downdated)
    decays = GRID[1:-1]
    best, _ = minimize_biases(p, decays)
    rng = np.random.default_rng(seed)
    for size in (1e-9, 1e-3, 0.3):
        moved = size * np.linalg.norm(best.shift, axis=1)[:, None] * rng.standard_normal(best.shift.shape)
        other = p.at(best.shift + moved, best.bias - moved, decays)
        assert (other.value - gaps(other) <= best.value + 4e-15 * p.largest**2).all()
        assert (other.value >= best.value - 4e-15 * p.largest**2).all()


def dense_problem(seed: int, k: int, q: int, share: float) -> ec.ufm.Problem:
    rng = np.random.default_rng(seed)
    codewords = rng.standard_normal((q, k)) + rng.standard_normal((q, 1))
    counts = rng.integers(1, 1000, k)
    size = np.linalg.norm(codewords * np.sqrt(counts / counts.sum()), 2)
    decay = float(share * size / math.sqrt(counts.sum()))
    return ec.ufm.Problem(ec.encodings.Encoding(codewords), counts, weight_decay=decay, feature_decay=decay)


@pytest.mark.parametrize(("k", "q"), [(7, 5), (83, 79), (71, 97)])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_path_equals_solving_each_by_a_decomposition_in_each_step(
    k: int, q: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = dense_problem(3, k, q, share)
    path = ec.ufm.bias_path(problem, GRID)
    monkeypatch.setattr(mse, "_SMALL", 10**9)
    for value, solution, cosine in zip(GRID, path.solutions, path.mean_cosine, strict=True):
        single = ec.ufm.solve(problem.with_bias_decay(value))
        assert solution.certificate.holds
        assert solution.certificate.relative_gap <= 1e-12
        assert solution.rank == single.rank
        assert solution.loss == pytest.approx(single.loss, rel=1e-13)
        np.testing.assert_allclose(solution.bias, single.bias, rtol=1e-9, atol=1e-13 * np.abs(single.bias).max())
        np.testing.assert_allclose(
            solution.singular_values, single.singular_values, atol=1e-13 * single.singular_values[0]
        )
        for name in ("feature_gram", "classifier_gram", "class_outputs"):
            expected = getattr(single.geometry, name)
            found = getattr(solution.geometry, name)
            np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
        assert cosine == pytest.approx(single.geometry.mean_cosine(), abs=1e-9, nan_ok=True)


def test_a_path_holds_no_matrix_for_each_value_and_travels() -> None:
    problem = dense_problem(5, 101, 97, 0.1)
    path = ec.ufm.bias_path(problem, np.geomspace(1e-3, 1e3, 50))
    assert path.mean_cosine.shape == (50,)
    problem.structure.label_svd.slot.put(None, None)
    shared = len(pickle.dumps(problem)) + 4 * problem.structure.label_svd.left.nbytes
    assert len(pickle.dumps(path)) < shared + 50 * 8 * 101 * 20
    solution = pickle.loads(pickle.dumps(path.solutions[7]))
    np.testing.assert_array_equal(solution.bias, path.solutions[7].bias)
    weight, means, bias = solution.parameters(seed=3)
    value = ec.ufm.objective(solution.problem, weight, means, bias)
    assert value == pytest.approx(path.solutions[7].loss, rel=1e-12)
    gram = pickle.loads(pickle.dumps(solution.geometry)).feature_gram
    np.testing.assert_allclose(gram, means.T @ means, atol=1e-12 * np.abs(gram).max())


def test_mean_cosine_without_singular_vectors_and_where_means_are_too_short_for_it() -> None:
    problem = dense_problem(7, 89, 83, 0.1).with_bias_decay(0.4)
    fast = ec.ufm.solve(problem).geometry
    full = ec.ufm.solve(problem).geometry
    cosines = full.cosines()
    assert fast.mean_cosine() == pytest.approx(cosines[~np.eye(89, dtype=bool)].mean(), abs=1e-12)
    codewords = problem.encoding.codewords.copy()
    codewords[:, 4] = (codewords @ problem.priors - problem.priors[4] * codewords[:, 4]) / (1 - problem.priors[4])
    same = ec.ufm.Problem(
        ec.encodings.Encoding(codewords),
        problem.counts,
        weight_decay=problem.weight_decay,
        feature_decay=problem.feature_decay,
    )
    # A class whose codeword is the mean of all has its class mean at zero where the bias is free.
    assert math.isnan(ec.ufm.solve(same).geometry.mean_cosine())


def test_bias_decays_that_come_to_rest_at_different_steps_leave_no_warning() -> None:
    rng = np.random.default_rng(250)
    codewords = rng.integers(0, 2, (3, 3)) + np.eye(3)
    counts, decay = rng.integers(1, 1000, 3), 0.1 * 10 ** rng.uniform(-2, 0)
    problem = ec.ufm.Problem(ec.encodings.Encoding(codewords), counts, weight_decay=decay, feature_decay=1e-4)
    grid = [0.0, 1e-12, 1e-8, 1e-3, 0.1, 0.1, 1.0, 30.0, 1e8, 1e12, math.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = ec.ufm.bias_path(problem, grid)
    assert all(solution.certificate.holds for solution in path.solutions)
    np.testing.assert_allclose(path.solutions[4].bias, path.solutions[5].bias, rtol=1e-12)
