"""Several weight layers: the scalar problem, the first-order transition, brute force, layers and their balance."""

import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.solve import select_method
from reference.ufm_layers_reference import brute_force_layers, layered_objective, sized_problem


@settings(max_examples=200, deadline=None)
@given(
    factors=st.integers(2, 12),
    weight=st.floats(-12, 6).map(lambda e: 10.0**e),
    ratio=st.one_of(st.floats(0.0, 2.0), st.floats(2.0, 1e6)),
)
def test_scalar_problem_is_minimized_over_a_fine_grid(factors: int, weight: float, ratio: float) -> None:
    """Grid search, refined around its best point, never gets below; the root is stationary to rounding."""
    problem = SchattenProx(factors, weight)
    a = ratio * problem.threshold
    s = float(problem.minimizer(np.array([a]))[0])
    value = float(problem.value(np.array([a]))[0])
    grid = np.linspace(0, 1.01 * a, 20_001)
    for _ in range(2):
        heights = 0.5 * (grid - a) ** 2 + weight * grid ** (2 / factors)
        best = int(heights.argmin())
        assert value <= heights[best] * (1 + 1e-12)
        step = grid[1] - grid[0]
        grid = np.linspace(max(grid[best] - step, 0), grid[best] + step, 2001)
    if s > 0:
        slope = s - a + weight * (2 / factors) * s ** (2 / factors - 1)
        assert abs(slope) <= 8 * np.finfo(float).eps * a


@pytest.mark.parametrize("factors", [3, 4, 7, 11])
def test_threshold_and_jump_of_the_scalar_problem(factors: int) -> None:
    problem = SchattenProx(factors, 0.03)
    below, above = problem.minimizer(problem.threshold * np.array([1 - 1e-12, 1 + 1e-12]))
    assert below == 0
    assert above == pytest.approx(problem.jump, rel=1e-9)
    at_jump = problem.value(np.array([problem.threshold]), np.array([problem.jump]))[0]
    assert at_jump == pytest.approx(0.5 * problem.threshold**2, rel=1e-14)


def test_two_factors_are_the_soft_threshold() -> None:
    values = np.array([0.0, 0.1, 0.3, 0.30001, 5.0])
    np.testing.assert_allclose(SchattenProx(2, 0.3).minimizer(values), np.clip(values - 0.3, 0, None), atol=1e-16)
    assert SchattenProx(2, 0.3).threshold == 0.3


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("excess", [-1e-6, 1e-6])
def test_a_class_is_learned_from_the_published_count_on(depth: int, excess: float) -> None:
    """Dang et al. 2023: without a bias, class k is learned iff M N (N λ_H Π λ)^{1/M}/n_k < (M-1)^{(M-1)/M}/M."""
    counts = np.array([2, 31, 5, 101, 13])
    total, k = int(counts.sum()), 2
    decays = [3e-3 * (i + 1) for i in range(depth)]
    edge = (depth - 1) ** ((depth - 1) / depth) / depth if depth > 1 else 1.0
    product = (edge * counts[k] / (depth * total)) ** depth * (1 - excess)
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(5),
        counts,
        weight_decay=decays,
        feature_decay=product / total / float(np.prod(decays)),
        bias_decay=math.inf,
        depth=depth,
    )
    solution = ec.ufm.solve(problem)
    learned = [solution.geometry.norm(j) > 0 for j in range(5)]
    assert learned == [False, True, excess > 0, True, True]
    assert problem.threshold == pytest.approx(math.sqrt(counts[k] / total), rel=1e-5)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("bias_decay", [0.0, 0.2, 1.0, 6.0, math.inf])
@pytest.mark.parametrize("seed", [0, 1])
def test_brute_force_never_gets_below(depth: int, bias_decay: float, seed: int) -> None:
    rng = np.random.default_rng(seed + 10 * depth)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) + rng.standard_normal((3, 1)))
    problem = sized_problem(
        ec.ufm,
        encoding,
        rng.integers(1, 20, 5),
        0.3,
        bias_decay=bias_decay,
        depth=depth,
        weight_decay=[2e-3, 3e-2, 7e-3][:depth],
    )
    solution = ec.ufm.solve(problem)
    brute, _ = brute_force_layers(problem, seed, 4, restarts=6)
    assert brute >= solution.loss * (1 - 1e-12)
    assert brute == pytest.approx(solution.loss, rel=1e-8)
    assert solution.certificate.holds
    assert solution.certificate.lower_bound <= brute * (1 + 1e-12)
    if bias_decay in (0.0, math.inf):
        assert solution.certificate.kind == "theorem"
        assert solution.certificate.relative_gap < 1e-12


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(2, 6),
    bias_decay=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 1e3, 1e8, math.inf]),
)
def test_layers_give_the_loss_and_are_balanced(seed: int, depth: int, bias_decay: float) -> None:
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) * 10 ** rng.uniform(-2, 2))
    decays = list(10 ** rng.uniform(-4, 0, depth))
    problem = sized_problem(
        ec.ufm, encoding, rng.integers(1, 30, 5), 0.4, bias_decay=bias_decay, depth=depth, weight_decay=decays
    )
    assert problem.weight_decays == tuple(decays)
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(feature_dim=7, seed=seed % 97)
    layers = solution.layers(feature_dim=7, seed=seed % 97)
    assert [layer.shape for layer in layers] == [(7, 7)] * (depth - 1) + [(3, 7)]
    product = functools.reduce(lambda p, layer: layer @ p, layers)
    np.testing.assert_allclose(product, weight, atol=1e-11 * max(np.abs(weight).max(), 1e-300))
    for form in (list(layers), weight):
        assert ec.ufm.objective(problem, form, means, bias) == pytest.approx(solution.loss, rel=1e-9)
    value, gradients, means_gradient, _ = layered_objective(problem, list(layers), means, bias)
    assert value == pytest.approx(solution.loss, rel=1e-9)
    for layer, gradient, decay in zip(layers, gradients, decays, strict=True):
        assert np.abs(gradient).max() <= 1e-6 * decay * np.abs(layer).max() + 1e-300
    np.testing.assert_allclose(
        means_gradient, 0, atol=1e-6 * problem.feature_decay * np.abs(means * problem.counts).max()
    )
    first = problem.feature_decay * (means * problem.counts) @ means.T
    for layer, decay in zip(layers, decays, strict=True):
        np.testing.assert_allclose(decay * layer.T @ layer, first, atol=1e-10 * np.abs(first).max() + 1e-300)
        first = decay * layer @ layer.T


def test_geometry_is_that_of_the_layers_multiplied() -> None:
    problem = sized_problem(ec.ufm, ec.encodings.ordinal(5), [2, 3, 5, 7, 11], 0.2, depth=3)
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(seed=3)
    geometry = solution.geometry
    assert geometry.classifier_gram is not None
    assert geometry.class_outputs is not None
    np.testing.assert_allclose(geometry.feature_gram, means.T @ means, atol=1e-12)
    np.testing.assert_allclose(geometry.classifier_gram, weight @ weight.T, atol=1e-12)
    np.testing.assert_allclose(geometry.class_outputs, weight @ means, atol=1e-12)
    np.testing.assert_array_equal(geometry.bias, bias)


def test_only_the_product_of_the_decays_matters_to_the_geometry() -> None:
    encoding = ec.encodings.random(5, 3)
    common: dict[str, Any] = {"feature_decay": 1e-4, "bias_decay": 0.3, "depth": 3}
    one = ec.ufm.solve(ec.ufm.Problem(encoding, 7, weight_decay=[1e-3, 8e-3, 1e-3], **common))
    other = ec.ufm.solve(ec.ufm.Problem(encoding, 7, weight_decay=2e-3, **common))
    assert one.problem.weight_decay == pytest.approx(2e-3, rel=1e-14)
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    np.testing.assert_allclose(one.geometry.feature_gram, other.geometry.feature_gram, atol=1e-10)


def test_one_layer_in_a_list_takes_the_convex_path() -> None:
    one = ec.ufm.Problem(ec.encodings.random(5, 3), 7, weight_decay=[2e-3], feature_decay=1e-4, bias_decay=0.3)
    other = ec.ufm.Problem(ec.encodings.random(5, 3), 7, weight_decay=2e-3, feature_decay=1e-4, bias_decay=0.3)
    assert select_method(one) == "dense"
    assert ec.ufm.solve(one).loss == ec.ufm.solve(other).loss
    (only,) = ec.ufm.solve(one).layers(seed=5)
    np.testing.assert_array_equal(only, ec.ufm.solve(one).parameters(seed=5)[0])


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("delta", [0.0, 0.02])
def test_first_order_transition_of_balanced_labels(depth: int, delta: float) -> None:
    """The mean direction is absent up to λ_b* and appears by a jump; both sides are certified as global."""
    k = 5
    encoding = ec.encodings.label_smoothing(k, delta)
    problem = sized_problem(ec.ufm, encoding, 7, 0.3, depth=depth)
    critical = problem.critical_bias_decay()
    assert critical is not None
    # κ/β makes 1/√K the threshold: β = (threshold √K)^{2 - 2/p}.
    beta = (problem.threshold * math.sqrt(k)) ** (2 - 2 / (depth + 1))
    assert critical == pytest.approx(beta / (1 - beta), rel=1e-12)
    below = ec.ufm.solve(problem.with_bias_decay(critical * (1 - 1e-6)))
    above = ec.ufm.solve(problem.with_bias_decay(critical * (1 + 1e-6)))
    assert below.certificate.kind == above.certificate.kind == "duality_gap"
    assert (below.rank, above.rank) == (k - 1, k)
    assert below.geometry.distance("simplex_etf") < 1e-12
    assert above.singular_values[-1] > 0.1 * above.singular_values[0]
    assert above.loss == pytest.approx(below.loss, rel=1e-5)
    np.testing.assert_allclose(below.bias, 1 / k / (1 + critical * (1 - 1e-6)), rtol=1e-9)
    with_layers = problem.with_bias_decay(1.0)
    assert with_layers.weight_decays == problem.weight_decays


def test_critical_bias_decay_is_claimed_only_where_it_is_proved() -> None:
    cases: list[tuple[ec.encodings.Encoding, Any, float, float | None]] = [
        (ec.encodings.simplex(5), 7, 0.3, math.inf),
        (ec.encodings.one_hot(5), 7, 1.1, math.inf),
        (ec.encodings.one_hot(5), [2, 3, 5, 7, 11], 0.3, 0.0),
        (ec.encodings.one_hot(5), [2, 3, 5, 7, 11], 0.99, None),
        (ec.encodings.scaled_one_hot(5, on=3.0, off=2.0), 7, 0.3, None),
    ]
    for encoding, counts, share, expected in cases:
        problem = sized_problem(ec.ufm, encoding, counts, share, depth=2)
        assert problem.critical_bias_decay() == expected
        assert problem.explain()
        if expected == 0.0:
            means = ec.ufm.solve(problem.with_bias_decay(1e-4)).geometry
            assert means.class_outputs is not None
            assert np.linalg.norm(means.class_outputs @ problem.priors) > 1e-8


@settings(max_examples=25, deadline=None)
@given(depth=st.integers(2, 5), length=st.floats(0.3, 5.0), share=st.floats(0.1, 1.2), bias_decay=st.floats(0.02, 20.0))
def test_mean_orthogonal_to_the_centered_labels(depth: int, length: float, share: float, bias_decay: float) -> None:
    """Theory §5: each direction alone. Proved for short means, checked here for long ones: nothing lower is found."""
    k = 3
    alpha = math.sqrt(k)
    encoding = ec.encodings.Encoding(alpha * np.eye(k) + (length - 1) / alpha)
    probe = ec.ufm.Problem(encoding, 1, weight_decay=1, feature_decay=1, depth=depth)
    scale = share / probe.threshold
    decay = scale ** (2 * depth / (depth + 1))
    problem = ec.ufm.Problem(encoding, 1, weight_decay=decay, feature_decay=decay, depth=depth, bias_decay=bias_decay)
    assert problem.threshold == pytest.approx(share, rel=1e-12)
    schatten_prox, beta = problem._prox, bias_decay / (1 + bias_decay)
    alone = (k - 1) * schatten_prox.value(np.ones(1))[0] + beta * schatten_prox.scaled(1 / beta).value(
        np.array([length])
    )[0]
    solution = ec.ufm.solve(problem)
    assert solution.loss == pytest.approx(float(alone), rel=1e-10)
    if math.sqrt(beta) * length <= max(share, 1.0) * (1 - 1e-9):
        assert solution.certificate.kind == "duality_gap"


def test_depth_and_narrow_features_together() -> None:
    encoding = ec.encodings.random(5, 4)
    for bias_decay in (0.0, 0.5, math.inf):
        problem = sized_problem(ec.ufm, encoding, [2, 3, 5, 7, 11], 0.05, depth=2, feature_dim=2, bias_decay=bias_decay)
        solution = ec.ufm.solve(problem)
        brute, _ = brute_force_layers(problem, 3, 2, restarts=8)
        assert solution.rank == 2
        assert brute == pytest.approx(solution.loss, rel=1e-9)


def test_total_collapse_under_depth() -> None:
    solution = ec.ufm.solve(sized_problem(ec.ufm, ec.encodings.one_hot(5), 7, 1.01, depth=3))
    assert solution.status is ec.ufm.Status.COLLAPSED
    assert [layer.any() for layer in solution.layers(feature_dim=2)] == [False] * 3


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ([np.ones((7, 7))], "2 layers"),
        ([np.ones((7, 7)), np.ones((4, 7))], r"weight\[1\]"),
        ([np.ones((6, 7)), np.ones((5, 7))], r"weight\[1\]"),
        ([np.ones((7, 6)), np.ones((5, 7))], "class_means"),
        ([np.full((7, 7), np.nan), np.ones((5, 7))], r"weight\[0\]"),
    ],
)
def test_objective_refuses_layers_that_do_not_fit(weight: list[Any], words: str) -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), 3, weight_decay=1e-2, feature_decay=1e-2, depth=2)
    with pytest.raises(ArgumentError, match=words):
        ec.ufm.objective(problem, weight, np.ones((7, 5)))
