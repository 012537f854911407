"""ReLUs between layers: the closed value of deep collapse, bounds, what beats it, and what the parameters say."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

import encollapse as ec
from encollapse.ufm.nonconvex.relu_layers import ReluLayers

Array = NDArray[np.float64]

PRIMES = [2, 5, 11]


def objective(problem: Any, weights: Any, features: Array) -> float:
    """The objective, written out sample class by sample class."""
    hidden, total = features, 0.0
    for i, weight in enumerate(weights):
        hidden = weight @ (hidden if i == 0 else np.maximum(hidden, 0.0))
        total += 0.5 * problem.weight_decays[i] * float(np.sum(weight**2))
    for k, count in enumerate(problem.counts):
        error = hidden[:, k] - problem.encoding.codewords[:, k]
        total += 0.5 * count / problem.num_samples * float(error @ error)
        total += 0.5 * problem.feature_decay * count * float(features[:, k] @ features[:, k])
    return total


def test_the_loss_and_the_geometry_are_those_of_the_parameters() -> None:
    labels = ec.encodings.Encoding(7.0 * np.random.default_rng(3).standard_normal((2, 3)))
    problem = ec.ufm.deep_relu_problem(
        labels, PRIMES, weight_decay=[0.2, 0.5], feature_decay=3e-2, depth=2, feature_dim=5
    )
    solution = ec.ufm.solve(problem)
    weights = solution.layers()
    assert [w.shape for w in weights] == [(5, 5), (2, 5)]
    assert objective(problem, weights, solution.inputs) == pytest.approx(solution.loss, rel=1e-12)
    hidden = np.maximum(weights[0] @ solution.inputs, 0.0)
    # Units that are off are left out of the geometry.
    np.testing.assert_allclose(
        np.asarray(solution.geometry.feature_gram), hidden.T @ hidden, atol=1e-6 * np.sum(hidden**2)
    )
    np.testing.assert_allclose(np.asarray(solution.geometry.class_outputs), weights[1] @ hidden, atol=1e-3)
    assert 0 < solution.certificate.lower_bound < solution.loss
    assert (solution.status.name, ec.ufm.select_method(problem)) == ("STATIONARY", "relu layers")


@pytest.mark.parametrize("depth", [2, 3])
def test_two_classes_are_proved_to_collapse(depth: int) -> None:
    problem = ec.ufm.deep_relu_problem(
        ec.encodings.one_hot(2), 7, weight_decay=1e-2, feature_decay=1e-3, depth=depth, feature_dim=3
    )
    solution = ec.ufm.solve(problem)
    assert (solution.certificate.kind, solution.certificate.holds) == ("theorem", True)
    assert objective(problem, solution.layers(), solution.inputs) == pytest.approx(solution.loss, rel=1e-12)
    scalar = min(
        minimize_scalar(
            lambda s: (
                0.5 * (s**2 - math.sqrt(0.5)) ** 2
                + 0.5 * (depth + 1) * (7 * 2 * 1e-3 * 1e-2**depth) ** (1 / (depth + 1)) * abs(s) ** (4 / (depth + 1))
            ),
            bounds=bounds,
            options={"xatol": 1e-12},
        ).fun
        for bounds in [(0.0, 0.3), (0.3, 1.5)]
    )
    assert solution.loss == pytest.approx(2 * scalar, rel=1e-9)
    assert solution.geometry.distance("orthogonal") < 1e-12
    model = ReluLayers(np.eye(2), depth, 0.1, 3)
    assert _descent(model, seed=5) >= _frame_value(model) * (1 - 1e-10)


def _frame_value(model: ReluLayers) -> float:
    """``Σ_k min_s ½(s - |a_k|)² + κ s^{2/p}``."""
    return float(model.prox.value(np.linalg.norm(model.labels, axis=0)).sum())


def _descent(model: ReluLayers, seed: int, starts: int = 6) -> float:
    """Lowest end of descents under the ReLU itself."""
    rng = np.random.default_rng(seed)

    def objective_of(x: Array) -> tuple[float, Array]:
        factors = model.split(x)
        value, gradient = model.gradient(factors, *model.forward(factors))
        return value, np.concatenate([g.ravel() for g in gradient])

    size = sum(math.prod(shape) for shape in model.shapes)
    runs = (minimize(objective_of, rng.standard_normal(size) * 0.5, jac=True, method="L-BFGS-B") for _ in range(starts))
    return min(float(run.fun) for run in runs)


def test_deep_collapse_is_beaten_by_pairs_of_four_points() -> None:
    problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(6), 1, weight_decay=1.3e-2, feature_decay=1.3e-2, depth=4)
    # The six pairs of four points: entries of the code where a pair holds the point.
    code = np.zeros((4, 6))
    for k, pair in enumerate(itertools.combinations(range(4), 2)):
        code[list(pair), k] = 1.0
    assert np.linalg.matrix_rank(code.T @ code - 1.0) == 3
    model = ReluLayers(np.eye(6) / math.sqrt(6), 4, 6**0.2 * 1.3e-2, 6)
    start = next(model.starts())
    hidden, _ = model.forward(start)
    np.testing.assert_allclose(hidden[-1], np.eye(6) * hidden[-1][0, 0], atol=1e-12)
    factors, _ = model._descend(start, (1e-2, 1e-3), 150)
    assert problem.deep_collapse_loss() == pytest.approx(_frame_value(model), rel=1e-12)
    assert model.lower_bound() < model.value(factors) < 0.95 * problem.deep_collapse_loss()
    before = factors[3] @ model.forward(factors)[0][2]
    assert np.linalg.svd(before, compute_uv=False)[4] < 0.02 * np.linalg.norm(before, 2)


@pytest.mark.parametrize("decay", [1.1e-2, 1.2e-2, 1.3e-2])
def test_units_that_rest_on_their_kinks_are_polished_to_rest(decay: float) -> None:
    """At the sharpest kink six classes in four layers take about 1500 steps of L-BFGS."""
    problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(6), 1, weight_decay=decay, feature_decay=decay, depth=4)
    solution = ec.ufm.solve(problem)
    assert solution.status.name == "STATIONARY"
    assert solution.loss < 0.95 * problem.deep_collapse_loss()
    assert solution.layer_ranks == (3, 3, 3)


def test_the_gradient_is_that_of_differences_and_the_frame_is_stationary() -> None:
    model = ReluLayers(np.random.default_rng(7).standard_normal((3, 5)), 3, 0.05, 7)
    rng = np.random.default_rng(1)
    factors, change = ([rng.standard_normal(shape) for shape in model.shapes] for _ in range(2))
    _, gradient = model.gradient(factors, *model.forward(factors))
    step = 1e-6
    moved = [model.value([f + s * step * c for f, c in zip(factors, change, strict=True)]) for s in (1, -1)]
    slope = sum(float(np.sum(g * c)) for g, c in zip(gradient, change, strict=True))
    assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(slope, rel=1e-6)
    assert model.residual(factors) > 1.0
    one_hot = ReluLayers(np.eye(5), 3, 0.05, 7)
    assert one_hot.residual(one_hot.frame()) < 1e-12
    assert one_hot.value(one_hot.frame()) == pytest.approx(_frame_value(one_hot), rel=1e-13)


def test_the_bound_is_the_minimum_over_outputs_of_what_their_nuclear_norm_costs() -> None:
    for seed, decay in itertools.product(range(3), (0.01, 0.1, 0.5)):
        model = ReluLayers(np.random.default_rng(seed).standard_normal((3, 5)), 2, decay, 5)
        values = np.linalg.svd(model.labels, compute_uv=False)
        # Outputs with the singular vectors of the labels and values thresholded at τ: all that can be best.
        kept = np.maximum(values - np.linspace(0, values[0], 200001)[:, None], 0.0)
        grid = 0.5 * np.sum((kept - values) ** 2, axis=1) + 1.5 * decay * kept.sum(axis=1) ** (2 / 3)
        assert model.lower_bound() == pytest.approx(grid.min(), rel=1e-7)
        assert model.lower_bound() <= grid.min() * (1 + 1e-14)


def test_labels_that_do_not_pay_are_not_learned() -> None:
    solution = ec.ufm.solve(ec.ufm.deep_relu_problem(ec.encodings.one_hot(3), 5, weight_decay=1.0, feature_decay=1.0))
    assert solution.status is ec.ufm.Status.COLLAPSED
    assert solution.loss == pytest.approx(0.5)
    assert solution.layer_ranks == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 1}, "depth"),
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"weight_decay": [1e-2, 1e-2, 1e-2]}, "weight_decay: expected one number, or 2"),
        ({"feature_decay": -1.0}, "feature_decay"),
        ({"feature_dim": 0}, "feature_dim"),
    ],
)
def test_bad_values_are_named(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"weight_decay": 1e-2, "feature_decay": 1e-2} | change
    with pytest.raises(ec.errors.ArgumentError, match=message):
        ec.ufm.deep_relu_problem(ec.encodings.one_hot(3), 5, **values)


def test_too_narrow_for_an_axis_each() -> None:
    narrow = ec.ufm.deep_relu_problem(ec.encodings.one_hot(5), 7, weight_decay=2e-2, feature_decay=5e-3, feature_dim=3)
    with pytest.raises(ec.errors.ArgumentError, match="feature_dim=5"):
        narrow.deep_collapse_loss()
    solution = ec.ufm.solve(narrow)
    assert max(solution.layer_ranks) <= 3
    assert solution.certificate.lower_bound < solution.loss


def test_one_number_in_an_array_serves_every_layer() -> None:
    decay: Any = np.array(2e-2)
    problem = ec.ufm.deep_relu_problem(ec.encodings.one_hot(3), 5, weight_decay=decay, feature_decay=5e-3, depth=3)
    assert problem.weight_decays == (2e-2, 2e-2, 2e-2)
