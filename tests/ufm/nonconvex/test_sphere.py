"""Unit features and rows: the bound, the simplex that attains it, polygons in the plane, and margins."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import block_diag

import encollapse as ec
from encollapse.ufm.nonconvex.sphere import SphereSolution, _value

Array = NDArray[np.float64]


def cross_entropy(weight: Array, features: Array, temperature: float) -> float:
    scores = weight @ features / temperature
    margins = [np.delete(scores[:, k], k) - scores[k, k] for k in range(len(weight))]
    return float(np.mean([np.log1p(np.exp(others).sum()) for others in margins]))


@pytest.mark.parametrize(("classes", "dim"), [(2, 1), (5, 4), (7, 11)])
def test_a_simplex_is_the_minimum_where_it_fits(classes: int, dim: int) -> None:
    solution = ec.ufm.solve_on_sphere(classes, dim, temperature=0.3)
    assert (solution.certificate.kind, solution.status.success) == ("theorem", True)
    assert solution.weight.shape == solution.class_means.T.shape == (classes, dim)
    assert cross_entropy(solution.weight, solution.class_means, 0.3) == pytest.approx(solution.loss, rel=1e-11)
    gram = np.asarray(ec.simplex_etf_gram(classes))
    np.testing.assert_allclose(solution.weight @ solution.weight.T, gram, atol=1e-13)
    assert solution.one_vs_rest_margin == pytest.approx(classes / (classes - 1), rel=1e-12)
    rng = np.random.default_rng(classes)
    for _ in range(200):
        rows, features = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.standard_normal((2, classes, dim)))
        for value in (cross_entropy(rows, features.T, 0.3), cross_entropy(rows, rows.T, 0.3)):
            assert value >= solution.loss * (1 - 1e-13)


def test_in_the_plane_the_minimum_is_no_higher_than_the_polygon_and_tends_to_its_margin() -> None:
    angles = 2 * math.pi * np.arange(5) / 5
    polygon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for temperature in (0.5, 0.02):
        solution = ec.ufm.solve_on_sphere(5, 2, temperature=temperature)
        assert solution.status is ec.ufm.Status.STATIONARY
        value = cross_entropy(solution.weight, solution.class_means, temperature)
        assert value == pytest.approx(solution.loss, rel=1e-9, abs=0.0)
        assert solution.certificate.lower_bound < solution.loss
        assert solution.loss <= cross_entropy(polygon, polygon.T, temperature) * (1 + 1e-9)
    assert solution.one_vs_rest_margin == pytest.approx(1 - math.cos(2 * math.pi / 5), abs=0.02)


def test_the_margin_is_the_distance_to_the_hull_of_the_others() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    solution = ec.ufm.solve_on_sphere(3, 2, temperature=1.0)
    other = SphereSolution(1.0, solution.loss, rows, rows.T, solution.certificate, solution.status)
    # (0, 1) is 1 from the segment between the two others, and they are √2 from the one that holds it.
    assert other.one_vs_rest_margin == pytest.approx(1.0, rel=1e-12)


def test_the_gradient_is_that_of_differences() -> None:
    x = np.random.default_rng(5).standard_normal(2 * 5 * 3)
    for tau in (0.7, 0.02):
        _, gradient, _ = _value(x, (2, 5, 3), tau)
        numeric = [
            (_value(x + e, (2, 5, 3), tau)[0] - _value(x - e, (2, 5, 3), tau)[0]) / 2e-6 for e in 1e-6 * np.eye(30)
        ]
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)


def test_bad_values_are_named() -> None:
    for values, name in (((1, 2, 0.1), "num_classes"), ((3, 0, 0.1), "feature_dim"), ((3, 2, 1e-9), "temperature")):
        with pytest.raises(ec.errors.ArgumentError, match=name):
            ec.ufm.solve_on_sphere(values[0], values[1], temperature=values[2])


def orthogonal_simplices(sizes: tuple[int, ...]) -> Array:
    blocks = []
    for size in sizes:
        values, vectors = np.linalg.eigh(np.asarray(ec.simplex_etf_gram(size)))
        blocks.append(vectors[:, 1:] * np.sqrt(values[1:]))
    return np.asarray(block_diag(*blocks))


@pytest.mark.parametrize(("sizes", "temperature"), [((6, 2), 0.25), ((5, 2), 0.45), ((5, 2, 2), 0.16)])
def test_no_arrangement_of_orthogonal_simplices_is_lower(sizes: tuple[int, ...], temperature: float) -> None:
    # Descents that begin at a high temperature all end above these.
    rows = orthogonal_simplices(sizes)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-12)
    solution = ec.ufm.solve_on_sphere(*rows.shape, temperature=temperature)
    assert solution.loss <= cross_entropy(rows, rows.T, temperature) * (1 + 1e-9)
    assert solution.status is ec.ufm.Status.STATIONARY
