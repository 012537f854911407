"""Non-negative features under any convex loss: closed forms, the frame that is not the best, bounds, brute force."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import encollapse as ec
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.losses.cross_entropy import CrossEntropy
from encollapse.ufm.relu.convex_model import ReluConvexModel
from encollapse.ufm.relu.frames import best_frame
from encollapse.ufm.relu.lower_bound import best_split, raised, relu_lower_bound
from reference import convex_reference

Array = NDArray[np.float64]

PRIMES = [2, 3, 5, 7, 11]


def at(encoding: ec.encodings.Encoding, counts: Any, c: float, bias_decay: float, **options: Any) -> ec.ufm.Problem:
    """The problem with threshold c under cross-entropy and non-negative features."""
    total = int(np.sum(np.broadcast_to(counts, encoding.num_classes)))
    decays = {"weight_decay": 1e-2, "feature_decay": c**2 / total / 1e-2, "bias_decay": bias_decay}
    return ec.ufm.Problem(encoding, counts, **{"loss": "cross_entropy", "features": "relu"} | decays | options)


def composite_of(problem: ec.ufm.Problem) -> Composite:
    targets = CrossEntropy().targets(problem.encoding.codewords)
    return Composite(DenseOutputMap.of(targets, problem.priors), CrossEntropy(), problem.threshold, problem.bias_decay)


def distributions(seed: int, q: int, k: int) -> ec.encodings.Encoding:
    return ec.encodings.Encoding(np.random.default_rng(seed).dirichlet(np.full(q, 0.3), k).T)


def assert_nothing_is_lower(solution: ec.ufm.Solution, seed: int, restarts: int = 10) -> float:
    """Bounded descent from random starts ends nowhere below bound or certified minimum; returns its lowest value."""
    problem = solution.problem
    width = problem.feature_dim or 2 * problem.num_classes
    lowest, _, _ = convex_reference.brute_force(problem, seed, width, restarts)
    assert solution.certificate.lower_bound <= lowest * (1 + 1e-11)
    assert solution.loss <= lowest * (1 + 1e-8)
    weight, means, bias = solution.parameters()
    assert (means >= 0).all()
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-12)
    return float(lowest)


@pytest.mark.parametrize("bias_decay", [0.0, 1e-3, 0.7, 30.0, math.inf])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_labels_have_orthogonal_features_a_simplex_classifier_and_no_bias(
    smoothing: float, bias_decay: float
) -> None:
    k, c = 5, 0.1
    solution = ec.ufm.solve(at(ec.encodings.label_smoothing(k, smoothing), 7, c, bias_decay))
    assert (solution.certificate.kind, solution.certificate.holds, solution.unique) == ("theorem", True, True)
    assert solution.certificate.relative_gap < 1e-13
    assert solution.geometry.distance("orthogonal") < 1e-13
    assert not solution.bias.any()
    gram = np.asarray(solution.geometry.classifier_gram)
    np.testing.assert_allclose(gram / gram[0, 0], (k * np.eye(k) - 1) / (k - 1), atol=1e-13)
    outputs = np.asarray(solution.geometry.class_outputs)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=0)
    np.testing.assert_allclose(probabilities[~np.eye(k, dtype=bool)], smoothing / k + c / math.sqrt(k - 1), rtol=1e-13)
    lowest = assert_nothing_is_lower(solution, k)
    assert lowest == pytest.approx(solution.loss, rel=1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_balanced_labels_are_learned_exactly_below_the_threshold(smoothing: float) -> None:
    k = 7
    threshold = (1 - smoothing) * math.sqrt(k - 1) / k
    below, above = (
        ec.ufm.solve(at(ec.encodings.label_smoothing(k, smoothing), 3, threshold * factor, 0.2))
        for factor in (1 - 1e-6, 1 + 1e-6)
    )
    assert below.status is ec.ufm.Status.OPTIMAL
    assert below.rank == k - 1
    assert above.status is ec.ufm.Status.COLLAPSED
    assert above.loss == pytest.approx(math.log(k), rel=1e-14)


def test_targets_that_ask_for_every_class_but_one_have_the_mirrored_form() -> None:
    solution = ec.ufm.solve(at(ec.encodings.scaled_one_hot(3, on=0.0, off=0.5), 7, 0.05, 0.1))
    assert solution.certificate.kind == "theorem"
    assert solution.certificate.relative_gap < 1e-13
    assert solution.geometry.distance("orthogonal") < 1e-13
    assert assert_nothing_is_lower(solution, 3) == pytest.approx(solution.loss, rel=1e-8)


def test_without_a_bias_imbalanced_classes_are_solved_one_by_one() -> None:
    k, c, smoothing = 5, 0.16, 0.1
    problem = at(ec.encodings.label_smoothing(k, smoothing), [2, 3, 5, 7, 110], c, math.inf)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.kind == "theorem"
    assert solution.certificate.relative_gap < 1e-13
    learned = c < (1 - smoothing) * np.sqrt((k - 1) * problem.priors / k)
    assert 0 < learned.sum() < k
    np.testing.assert_array_equal(np.diag(np.asarray(solution.geometry.feature_gram)) > 0, learned)
    outputs = np.asarray(solution.geometry.class_outputs)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=0)
    wanted = np.where(learned, smoothing / k + c / np.sqrt(k * (k - 1) * problem.priors), 1 / k)
    for j in range(k):
        np.testing.assert_allclose(np.delete(probabilities[:, j], j), wanted[j], rtol=1e-13)
    assert assert_nothing_is_lower(solution, 5) == pytest.approx(solution.loss, rel=1e-8)


def test_two_classes_and_a_free_bias_have_a_family_of_minimizers() -> None:
    one_hot = ec.encodings.one_hot(2)
    assert not ec.ufm.solve(at(one_hot, 7, 0.05, 0.0)).unique
    assert ec.ufm.solve(at(one_hot, 7, 0.05, 0.1)).unique
    assert ec.ufm.solve(at(one_hot, 7, 0.7, 0.0)).unique


@pytest.mark.parametrize("bias_decay", [0.0, 0.02, 3.0])
def test_the_best_frame_is_proved_where_dual_columns_point_apart(bias_decay: float) -> None:
    problem = at(ec.encodings.label_smoothing(5, 0.1), PRIMES, 0.08, bias_decay)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.kind == "duality_gap"
    gram = np.asarray(solution.geometry.feature_gram)
    assert np.abs(gram - np.diag(np.diag(gram))).max() == 0.0
    weight, means, bias = solution.parameters()
    outputs = weight @ means + bias[:, None]
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=0)
    dual = (problem.encoding.codewords - probabilities) * np.sqrt(problem.priors)
    products = dual.T @ dual / problem.threshold**2
    learned = np.diag(gram) > 0
    np.testing.assert_allclose(np.diag(products)[learned], 1.0, rtol=1e-7)
    assert (np.diag(products)[~learned] <= 1.0).all()
    assert products[~np.eye(5, dtype=bool)].max() <= 1e-7
    np.testing.assert_allclose(dual @ np.sqrt(problem.priors), bias_decay * bias, atol=1e-8)
    assert_nothing_is_lower(solution, 7)


def test_the_best_frame_is_not_the_minimum_with_a_free_bias() -> None:
    """What holds without a bias does not survive a free one: 2.8 per cent above."""
    problem = at(ec.encodings.one_hot(4), [40, 56, 246, 23], 0.0034, 0.0)
    solution = ec.ufm.solve(problem)
    composite = composite_of(problem)
    outputs, bias = best_frame(composite, composite.start()[1])
    value = composite.fit(composite.table.forward(outputs, np.zeros(0), bias))
    value += problem.threshold * float(np.linalg.norm(outputs, axis=0).sum())
    assert value / solution.loss - 1 == pytest.approx(0.028, abs=5e-4)
    assert solution.geometry.distance("orthogonal") > 1e-2
    assert solution.certificate.relative_gap < 1e-6
    assert_nothing_is_lower(solution, 11)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("feature_dim", [None, 2])
def test_brute_force_on_any_distributions(seed: int, feature_dim: int | None) -> None:
    rng = np.random.default_rng(seed)
    bias_decay = [0.0, 0.3, math.inf][seed % 3]
    problem = at(distributions(seed, 3, 5), rng.integers(1, 20, 5), 0.05, bias_decay, feature_dim=feature_dim)
    solution = ec.ufm.solve(problem)
    assert solution.status.success
    if feature_dim is None:
        assert solution.certificate.relative_gap < 2e-2
    assert_nothing_is_lower(solution, seed)


def test_the_bound_holds_from_any_point_and_with_any_split() -> None:
    rng = np.random.default_rng(17)
    for bias_decay in (0.0, 1e-3, 0.3, 50.0, math.inf):
        problem = at(distributions(3, 3, 5), PRIMES, 0.05, bias_decay)
        model = ReluConvexModel(composite_of(problem))
        bounds, values = [], []
        for _ in range(12):
            features = np.abs(rng.standard_normal((7, 5))) * rng.uniform(0, 3)
            bias = rng.standard_normal(3) * (not math.isinf(bias_decay))
            rest = model.rest(rng.standard_normal((3, 7)) * rng.uniform(0, 3), bias)
            split = np.abs(rng.standard_normal((5, 5))) * 1e-3
            bounds.append(relu_lower_bound(model, features, rest, [split + split.T]))
            values.append(model.value_and_gradient(features, rest)[0])
        lowest = min(*values, ec.ufm.solve(problem).loss)
        assert max(bounds) <= lowest


def test_a_split_bounds_the_cone_from_above() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        dual = rng.standard_normal((3, 7))
        gram = dual.T @ dual
        cone = np.abs(rng.standard_normal((7, 200))) ** 3
        largest = float((np.linalg.norm(dual @ cone, axis=0) / np.linalg.norm(cone, axis=0)).max()) ** 2
        for split in (raised(gram), best_split(gram, math.sqrt(largest), raised(gram))):
            assert (split >= 0).all()
            np.testing.assert_array_equal(split, split.T)
            assert np.linalg.eigvalsh(gram + split)[-1] >= largest * (1 - 1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 0.3, 1e4, math.inf])
def test_derivatives_of_the_factored_objective(bias_decay: float) -> None:
    rng = np.random.default_rng(3)
    model = ReluConvexModel(composite_of(at(distributions(1, 3, 5), PRIMES, 0.05, bias_decay)))
    features = np.abs(rng.standard_normal((7, 5)))
    rest = model.rest(rng.standard_normal((3, 7)), rng.standard_normal(3) * (not math.isinf(bias_decay)))
    _, slope, other = model.value_and_gradient(features, rest)
    along, aside = rng.standard_normal(features.shape), rng.standard_normal(rest.shape)
    step = 1e-5
    ahead = model.value_and_gradient(features + step * along, rest + step * aside)[0]
    behind = model.value_and_gradient(features - step * along, rest - step * aside)[0]
    expected = float(np.sum(slope * along) + other @ aside)
    assert (ahead - behind) / (2 * step) == pytest.approx(expected, rel=1e-7)


def test_the_bias_path_is_solved_and_no_critical_value_is_claimed() -> None:
    problem = at(ec.encodings.one_hot(5), 7, 0.1, 0.0)
    assert problem.critical_bias_decay() is None
    assert "orthogonal" in problem.explain()
    losses = [found.loss for found in ec.ufm.bias_path(problem, [0.0, 0.3, math.inf]).solutions]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-14)


def test_labels_that_are_all_alike_teach_the_features_nothing() -> None:
    alike = ec.encodings.Encoding(np.repeat([[0.2], [0.8]], 5, axis=1))
    for feature_dim in (None, 1):
        solution = ec.ufm.solve(at(alike, PRIMES, 0.05, 0.0, feature_dim=feature_dim))
        assert solution.status is ec.ufm.Status.COLLAPSED
        assert solution.loss == pytest.approx(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)), rel=1e-13)
