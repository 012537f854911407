"""Random problems: the certificate, the objective, and brute force that never does better."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import encollapse as ec
from reference.ufm_reference import brute_force, sample_objective

BIAS_DECAYS = [0.0, 1e-8, 1e-3, 0.1, 1.0, 1e3, 1e8, math.inf]


def random_problem(seed: int, bias_decay: float, *, max_classes: int = 60, learnable: bool = False) -> ec.ufm.Problem:
    """Any shape, counts spread 1:1000, repeated and zero codewords, common offsets, c over six decades."""
    rng = np.random.default_rng(seed)
    k, q = int(rng.integers(2, max_classes + 1)), int(rng.integers(1, max_classes + 20))
    codewords = rng.standard_normal((q, k)) * 10 ** rng.uniform(-2, 2)
    if rng.random() < 0.5:
        codewords += rng.standard_normal((q, 1)) * 10 ** rng.uniform(-2, 2)
    if rng.random() < 0.4:
        codewords[:, rng.integers(1, k)] = codewords[:, 0]
    if rng.random() < 0.4:
        codewords[:, rng.integers(1, k)] = 0.0
    spread = np.exp(rng.uniform(0, math.log(1000), k)).astype(int)
    counts = spread if rng.random() < 0.7 else np.full(k, 7)
    num_samples = int(counts.sum())
    singular = np.linalg.svd(codewords * np.sqrt(counts / num_samples), compute_uv=False)
    c = singular[0] * (10 ** rng.uniform(-1, -0.2) if learnable else 10 ** rng.uniform(-5, 0.3))
    if not learnable and rng.random() < 0.3:
        positive = singular[singular > 1e-6 * singular[0]]
        c = positive[rng.integers(len(positive))]
    weight_decay = 10 ** rng.uniform(-4, 0)
    return ec.ufm.Problem(
        ec.encodings.Encoding(codewords),
        counts,
        weight_decay=weight_decay,
        feature_decay=c**2 / num_samples / weight_decay,
        bias_decay=bias_decay,
    )


@pytest.mark.parametrize("bias_decay", BIAS_DECAYS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_gap_closes_and_objective_equals_loss(bias_decay: float, seed: int) -> None:
    problem = random_problem(seed, bias_decay)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.kind == "duality_gap"
    assert solution.loss - solution.certificate.lower_bound <= 1e-10 * solution.loss
    value = ec.ufm.objective(problem, *solution.parameters(seed=seed % 97))
    assert value == pytest.approx(solution.loss, rel=1e-10)


@pytest.mark.parametrize("bias_decay", [0.0, 1e-3, 0.1, 1.0, 50.0, math.inf])
@pytest.mark.parametrize("seed", [3, 5])
def test_brute_force_never_gets_below_and_reaches_the_same_geometry(bias_decay: float, seed: int) -> None:
    problem = random_problem(seed, bias_decay, max_classes=7, learnable=True)
    solution = ec.ufm.solve(problem)
    d = min(problem.code_dim, problem.num_classes) + 2
    loss, gram, bias = brute_force(problem, seed, d, restarts=2)
    assert loss >= solution.loss * (1 - 1e-12)
    assert loss == pytest.approx(solution.loss, rel=1e-8)
    # What the features would measure if the labels were learned in full, so that collapse to zero has a scale.
    balance = math.sqrt(problem.num_samples * problem.weight_decay / problem.feature_decay)
    scale = balance * np.linalg.norm(problem.encoding.codewords, 2) / problem.counts.min()
    np.testing.assert_allclose(gram, solution.geometry.feature_gram, atol=2e-3 * scale)
    np.testing.assert_allclose(bias, solution.bias, atol=1e-3 * np.abs(problem.encoding.codewords).max())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e2))
def test_no_perturbation_of_the_minimizer_does_better(seed: int, size: float) -> None:
    problem = random_problem(seed, 0.3, max_classes=11)
    solution = ec.ufm.solve(problem)
    rng = np.random.default_rng(seed)
    moved = [p + size * rng.standard_normal(p.shape) for p in solution.parameters(seed=1)]
    assert ec.ufm.objective(problem, *moved) >= solution.loss * (1 - 1e-12)


def test_a_wrong_answer_is_not_certified() -> None:
    """The bound must stay a bound, and the gap open, when the primal point is not the minimizer."""
    from encollapse.ufm.mse.duality import duality_gap

    problem = random_problem(17, 0.1, max_classes=11, learnable=True)
    solution = ec.ufm.solve(problem)
    labels = problem.structure.label_svd.labels
    c = problem.threshold / labels.scale
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 1.0):
        bias = solution.bias / labels.scale + size * rng.standard_normal(problem.code_dim)
        shift = labels.mean - bias
        left, singular, right = np.linalg.svd(
            labels.centered + np.outer(shift, labels.root_priors), full_matrices=False
        )
        shrunk = np.clip(singular - c, 0, None)
        outputs, dual = (left * shrunk) @ right, (left * np.minimum(singular, c)) @ right
        loss, certificate = duality_gap(labels, outputs, dual, float(shrunk.sum()), shift, bias, c, problem.bias_decay)
        assert not certificate.holds
        assert certificate.lower_bound <= solution.loss / labels.scale**2 * (1 + 1e-12)
        assert loss > solution.loss / labels.scale**2


def test_objective_is_the_double_sum_over_samples() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([2, 3, 1, 5, 4])
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)))
    problem = ec.ufm.Problem(encoding, counts, weight_decay=0.03, feature_decay=0.002, bias_decay=0.7)
    weight, means, bias = (rng.standard_normal((3, 7)), rng.standard_normal((7, 5)), rng.standard_normal(3))
    features = [np.tile(means[:, k], (counts[k], 1)) for k in range(5)]
    expected = sample_objective(encoding.codewords, counts, features, weight, bias, (0.03, 0.002, 0.7))
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(expected, rel=1e-13)


def test_objective_forbids_a_bias_where_there_is_none() -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(3), 2, weight_decay=0.1, feature_decay=0.1, bias_decay=math.inf)
    weight, means = np.ones((3, 2)), np.ones((2, 3))
    assert ec.ufm.objective(problem, weight, means, np.ones(3)) == math.inf
    without = ec.ufm.objective(problem, weight, means)
    assert math.isfinite(without)
    assert without == ec.ufm.objective(problem, weight, means, np.zeros(3))


def test_the_gauge_does_not_change_the_geometry() -> None:
    problem = random_problem(23, 1.0, max_classes=11, learnable=True)
    solution = ec.ufm.solve(problem)
    d = problem.num_classes + problem.code_dim
    one, other = solution.parameters(d, seed=1), solution.parameters(d, seed=2)
    assert np.abs(one[1] - other[1]).max() > 1e-3 * np.abs(one[1]).max()
    for weight, means, bias in (one, other):
        geometry = solution.geometry
        np.testing.assert_allclose(
            means.T @ means, geometry.feature_gram, atol=1e-12 * np.abs(geometry.feature_gram).max()
        )
        assert geometry.class_outputs is not None
        np.testing.assert_allclose(weight @ means, geometry.class_outputs, atol=1e-12 * np.abs(weight @ means).max())
        np.testing.assert_array_equal(bias, solution.bias)


def test_balance_of_the_two_layers() -> None:
    problem = random_problem(29, 0.1, max_classes=11, learnable=True)
    weight, means, _ = ec.ufm.solve(problem).parameters(seed=4)
    left = problem.weight_decay * weight.T @ weight
    right = problem.feature_decay * (means * problem.counts) @ means.T
    np.testing.assert_allclose(left, right, atol=1e-12 * np.abs(left).max())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-140, 140))
def test_units_of_the_labels_do_not_matter(seed: int, power: int) -> None:
    """Scaling labels and threshold by s scales the loss by s² and the bias by s."""
    problem = random_problem(seed, 0.4, max_classes=9)
    scale = 2.0**power
    scaled = ec.ufm.Problem(
        ec.encodings.Encoding(problem.encoding.codewords * scale),
        problem.counts,
        weight_decay=problem.weight_decay * scale,
        feature_decay=problem.feature_decay * scale,
        bias_decay=0.4,
    )
    one, other = ec.ufm.solve(problem), ec.ufm.solve(scaled)
    assert other.loss == pytest.approx(one.loss * scale**2, rel=1e-11)
    np.testing.assert_allclose(other.bias, one.bias * scale, atol=1e-11 * np.abs(one.bias).max() * scale)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rotating_the_labels_rotates_the_answer(seed: int) -> None:
    problem = random_problem(seed, 0.4, max_classes=9)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((problem.code_dim, problem.code_dim)))
    rotated = ec.ufm.Problem(
        ec.encodings.Encoding(rotation @ problem.encoding.codewords),
        problem.counts,
        weight_decay=problem.weight_decay,
        feature_decay=problem.feature_decay,
        bias_decay=0.4,
    )
    one, other = ec.ufm.solve(problem), ec.ufm.solve(rotated)
    assert other.loss == pytest.approx(one.loss, rel=1e-11)
    size = np.abs(one.geometry.feature_gram).max()
    np.testing.assert_allclose(other.geometry.feature_gram, one.geometry.feature_gram, atol=1e-7 * size + 1e-300)


def test_large_common_offset_keeps_the_small_directions() -> None:
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(np.eye(5) + 1e6), 7, weight_decay=1e-3, feature_decay=1e-3, bias_decay=0.1
    )
    assert ec.ufm.solve(problem).certificate.holds


def test_residual_that_rises_while_the_value_falls_is_no_end() -> None:
    """Small bias decays lead Newton through kinks where the gradient grows for many steps."""
    codewords = [[4.158486396397088, 4.096958533934265], [21.152042791903085, 21.032192501620866]]
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(codewords), [29, 773], weight_decay=5e-3, feature_decay=1e-6, bias_decay=1e-4
    )
    solution = ec.ufm.solve(problem)
    assert solution.certificate.relative_gap < 1e-12


@pytest.mark.parametrize("bias_decay", [1e-3, 1.0, math.inf])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_a_mean_within_equal_singular_values_keeps_its_sign(signs: tuple[int, int], bias_decay: float) -> None:
    """A square in the plane and a point on each side of it: two of the three centered singular values are equal."""
    square = np.array([[1.0, 0, -1, 0, 0, 0], [0, 1, 0, -1, 0, 0], [0, 0, 0, 0, 0.5, -0.5]])
    encoding = ec.encodings.Encoding(square + np.array([[0.3 * signs[0]], [0.7 * signs[1]], [-0.2]]))
    problem = ec.ufm.Problem(encoding, 7, weight_decay=0.01, feature_decay=0.01, bias_decay=bias_decay)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    assert ec.ufm.objective(problem, *solution.parameters()) == pytest.approx(solution.loss, rel=1e-13)
