"""Features without negative entries: the proved frames, certificates, brute force, refusals."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse._internal.typing import FloatArray
from encollapse.ufm.relu.descent import bounded_descent, polish, projected_gradient
from encollapse.ufm.relu.factors import fewest_rows
from encollapse.ufm.relu.lower_bound import best_split, raised, relu_lower_bound
from encollapse.ufm.relu.model import ReluModel
from reference.ufm_layers_reference import brute_force_layers, layered_objective, sized_problem


def balanced(encoding: ec.encodings.Encoding, share: float, bias_decay: float, **options: Any) -> ec.ufm.Problem:
    problem = sized_problem(ec.ufm, encoding, 7, share, bias_decay=bias_decay, features="relu", **options)
    assert isinstance(problem, ec.ufm.Problem)
    return problem


@pytest.mark.parametrize("bias_decay", [0.0, 1e-6, 0.3, 1.0, 10.0, math.inf])
def test_one_hot_features_stay_an_orthogonal_frame_while_the_classifier_turns(bias_decay: float) -> None:
    k, share = 5, 0.3
    problem = balanced(ec.encodings.one_hot(k), share, bias_decay)
    solution = ec.ufm.solve(problem)
    assert (solution.certificate.kind, solution.certificate.holds) == ("theorem", True)
    assert solution.certificate.relative_gap < 1e-12
    assert solution.unique
    assert solution.geometry.distance("orthogonal") < 1e-12
    gram = solution.geometry.classifier_gram
    assert gram is not None
    cosine = gram[0, 1] / gram[0, 0]
    if bias_decay == 0.0:
        assert cosine == pytest.approx(-1 / (k - 1), abs=1e-12)
    elif math.isinf(bias_decay):
        assert cosine == pytest.approx(0, abs=1e-12)
        linear = ec.ufm.solve(
            ec.ufm.Problem(
                problem.encoding,
                7,
                weight_decay=problem.weight_decay,
                feature_decay=problem.feature_decay,
                bias_decay=math.inf,
            )
        )
        assert solution.loss == pytest.approx(linear.loss, rel=1e-12)
    else:
        assert -1 / (k - 1) < cosine < 0
    weight, means, bias = solution.parameters(feature_dim=7, seed=3)
    assert (means >= 0).all()
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-12)


def test_scale_of_the_frame_solves_the_scalar_equation() -> None:
    """|m|² n λ_H/c + 1 = y with (K - 1) a²/y² + e²/(y + 1/λ_b)² = K c², a = e = 1/√K for one-hot."""
    k, bias_decay = 5, 0.7
    problem = balanced(ec.encodings.one_hot(k), 0.3, bias_decay)
    solution = ec.ufm.solve(problem)
    # X = M diag(u)/√λ_W has squared length y - 1.
    y = 1 + solution.geometry.norm(2) ** 2 / k / problem.weight_decay
    left = (k - 1) / k / y**2 + 1 / k / (y + 1 / bias_decay) ** 2
    assert left == pytest.approx(k * problem.threshold**2, rel=1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 0.2, 1.0, 8.0, math.inf])
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_brute_force_on_balanced_labels(kind: int, bias_decay: float) -> None:
    encoding = [
        ec.encodings.one_hot(4),
        ec.encodings.label_smoothing(5, 0.3),
        ec.encodings.scaled_one_hot(3, on=2.0, off=1.0),
        ec.encodings.simplex(4),
    ][kind]
    problem = balanced(encoding, 0.3, bias_decay)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.kind == "theorem"
    assert solution.certificate.holds
    brute, gram = brute_force_layers(problem, kind, encoding.num_classes + 2, restarts=5)
    assert brute >= solution.loss * (1 - 1e-12)
    assert brute == pytest.approx(solution.loss, rel=1e-9)
    if solution.unique:
        np.testing.assert_allclose(gram, solution.geometry.feature_gram, atol=2e-3 * np.abs(gram).max() + 1e-12)


def test_large_common_offset_makes_the_linear_features_non_negative() -> None:
    """Where the mean is learned more than the contrasts, a rotation of the linear minimizer has no negative entry."""
    problem = balanced(ec.encodings.scaled_one_hot(3, on=2.0, off=1.0), 0.1, math.inf)
    linear = ec.ufm.Problem(
        problem.encoding, 7, weight_decay=problem.weight_decay, feature_decay=problem.feature_decay, bias_decay=math.inf
    )
    one, other = ec.ufm.solve(problem), ec.ufm.solve(linear)
    assert one.loss == pytest.approx(other.loss, rel=1e-13)
    np.testing.assert_allclose(one.geometry.feature_gram, other.geometry.feature_gram, rtol=1e-11)


def test_two_classes_and_a_free_bias_have_a_family_of_minimizers() -> None:
    problem = balanced(ec.encodings.one_hot(2), 0.3, 0.0)
    solution = ec.ufm.solve(problem)
    assert not solution.unique
    weight, means, bias = solution.parameters()
    # One feature longer, the other shorter, at the same total energy and the same distance from their mean.
    moved = means * np.sqrt([1.2, 0.8])
    weighted = moved * np.sqrt(problem.priors) / math.sqrt(problem.weight_decay)
    labels = problem.structure.dense_label_svd.labels
    model = ReluModel(labels, problem.threshold / labels.scale, 0.0)
    assert model.loss(weighted) * labels.scale**2 == pytest.approx(solution.loss, rel=1e-12)
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-12)
    assert ec.ufm.solve(balanced(ec.encodings.one_hot(2), 0.3, 0.1)).unique


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("feature_dim", [None, 2])
def test_brute_force_on_any_labels(seed: int, feature_dim: int | None) -> None:
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) + rng.choice([0.0, 1.0]) * rng.standard_normal((3, 1)))
    problem = sized_problem(
        ec.ufm,
        encoding,
        rng.integers(1, 20, 5),
        0.2,
        bias_decay=[0.0, 0.3, 3.0, math.inf][seed % 4],
        features="relu",
        feature_dim=feature_dim,
    )
    solution = ec.ufm.solve(problem)
    brute, _ = brute_force_layers(problem, seed, feature_dim or 10, restarts=10)
    assert solution.loss <= brute * (1 + 1e-10)
    assert solution.certificate.holds
    assert solution.certificate.lower_bound <= brute * (1 + 1e-12)
    weight, means, bias = solution.parameters(seed=1)
    assert (means >= 0).all()
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-10)
    value, (weight_gradient,), means_gradient, _ = layered_objective(problem, [weight], means, bias)
    assert value == pytest.approx(solution.loss, rel=1e-10)
    assert np.abs(weight_gradient).max() < 1e-9 * problem.weight_decay * np.abs(weight).max() + 1e-14
    scale = problem.feature_decay * np.abs(means * problem.counts).max() + 1e-300
    assert np.abs(means_gradient[means > 0]).max(initial=0) < 1e-4 * scale
    assert means_gradient.min() > -1e-4 * scale
    if solution.certificate.kind == "stationary":
        assert solution.status is ec.ufm.Status.STATIONARY


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias_decay=st.sampled_from([0.0, 1e-3, 0.3, 5.0, math.inf]))
def test_the_bound_holds_from_any_point(seed: int, bias_decay: float) -> None:
    """Evaluated anywhere, the bound must stay below the loss of every non-negative point."""
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) + rng.standard_normal((3, 1)))
    labels = ec.ufm.Problem(
        encoding, rng.integers(1, 20, 5), weight_decay=1, feature_decay=1
    ).structure.label_svd.labels
    model = ReluModel(labels, float(rng.uniform(0.05, 0.7)), bias_decay)
    points = [np.abs(rng.standard_normal((7, 5))) * rng.uniform(0, 2) for _ in range(6)]
    bounds = [relu_lower_bound(model, point, np.zeros(0)) for point in points]
    losses = [model.loss(point) for point in points]
    assert max(bounds) <= min(losses)
    for point, loss in zip(points, losses, strict=True):
        assert model.at(point.T @ point)[0] == pytest.approx(loss, rel=1e-11)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias_decay=st.sampled_from([0.0, 0.3, 5.0, math.inf]))
def test_derivatives_of_the_eliminated_problem(seed: int, bias_decay: float) -> None:
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) + rng.standard_normal((3, 1)))
    labels = ec.ufm.Problem(
        encoding, rng.integers(1, 20, 5), weight_decay=1, feature_decay=1
    ).structure.label_svd.labels
    model = ReluModel(labels, 0.2, bias_decay)
    features = rng.standard_normal((7, 5))
    gram, (value, gradient, (outer, inner)) = features.T @ features, model.derivatives(features.T @ features)
    assert value > 0
    direction = rng.standard_normal((5, 5))
    direction += direction.T
    ahead, behind = model.at(gram + 1e-6 * direction), model.at(gram - 1e-6 * direction)
    assert (ahead[0] - behind[0]) / 2e-6 == pytest.approx(float(np.sum(gradient * direction)), rel=1e-6, abs=1e-8)
    change = (ahead[1] - behind[1]) / 2e-6
    expected = 0.5 * (outer @ direction @ inner + inner @ direction @ outer)
    np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("bias_decay", [0.0, 0.4, math.inf])
def test_newton_steps_end_at_rest(bias_decay: float) -> None:
    """From where the limited-memory method stops, each step squares the distance."""
    rng = np.random.default_rng(11)
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)))
    labels = ec.ufm.Problem(encoding, [2, 3, 5, 7, 11], weight_decay=1, feature_decay=1).structure.label_svd.labels
    model = ReluModel(labels, 0.1, bias_decay)
    rough, _, _ = bounded_descent(model, np.abs(rng.standard_normal((4, 5))), np.zeros(0))
    fine, steps = polish(model, rough)
    assert 1 <= steps <= 12
    assert (fine >= 0).all()
    assert np.linalg.norm(projected_gradient(model, fine)) < 1e-13
    assert model.loss(fine) <= model.loss(rough) * (1 + 1e-12)


def test_imbalanced_one_hot_is_certified() -> None:
    """An orthogonal frame with lengths by count; that it is global is computed, not assumed."""
    for bias_decay in (0.0, 0.3, math.inf):
        problem = sized_problem(
            ec.ufm, ec.encodings.one_hot(5), [7, 11, 13, 17, 19], 0.2, bias_decay=bias_decay, features="relu"
        )
        solution = ec.ufm.solve(problem)
        assert solution.certificate.kind == "duality_gap"
        gram = solution.geometry.feature_gram
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-12 * gram.max()


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.97])
def test_critical_bias_decay_of_balanced_labels(kind: int, share: float) -> None:
    encoding = [
        ec.encodings.one_hot(5),
        ec.encodings.label_smoothing(5, 0.3),
        ec.encodings.scaled_one_hot(5, on=1.0, off=0.5),
        ec.encodings.simplex(5),
    ][kind]
    problem = balanced(encoding, share, 0.0)
    critical = problem.critical_bias_decay()
    assert critical is not None
    assert problem.explain()

    def mean_output(bias_decay: float) -> float:
        outputs = ec.ufm.solve(problem.with_bias_decay(bias_decay)).geometry.class_outputs
        assert outputs is not None
        return float(np.linalg.norm(outputs.mean(axis=1)))

    if critical == 0.0:
        assert mean_output(1e-3) > 1e-6
    elif math.isinf(critical):
        assert mean_output(math.inf) < 1e-12
    else:
        assert mean_output(critical * (1 - 1e-6)) < 1e-12
        assert mean_output(critical * (1 + 1e-6)) > 0


def test_what_is_not_known_is_not_claimed() -> None:
    problem = ec.ufm.Problem(ec.encodings.random(5, 3), 7, weight_decay=1e-2, feature_decay=1e-3, features="relu")
    assert problem.critical_bias_decay() is None
    assert "non-negative" in problem.explain()


def test_fewer_dimensions_than_classes_is_stationary_with_the_relaxation_as_bound() -> None:
    narrow = balanced(ec.encodings.one_hot(5), 0.3, 1.0, feature_dim=4)
    wide = ec.ufm.solve(balanced(ec.encodings.one_hot(5), 0.3, 1.0))
    solution = ec.ufm.solve(narrow)
    assert solution.certificate.kind == "stationary"
    assert solution.certificate.holds
    assert solution.loss > wide.loss * 1.01
    assert solution.certificate.lower_bound <= wide.loss * (1 + 1e-12)
    brute, _ = brute_force_layers(narrow, 3, 4, restarts=20)
    assert solution.loss <= brute * (1 + 1e-10)


def test_total_collapse_of_non_negative_features() -> None:
    solution = ec.ufm.solve(balanced(ec.encodings.one_hot(5), 1.2, 0.4))
    assert solution.status is ec.ufm.Status.COLLAPSED
    np.testing.assert_allclose(solution.bias, 0.2 / 1.4, atol=1e-15)
    assert not solution.geometry.feature_gram.any()


def test_negative_features_are_infinitely_bad() -> None:
    problem = balanced(ec.encodings.one_hot(5), 0.3, 1.0)
    weight, means, bias = ec.ufm.solve(problem).parameters()
    means[2, 3] = -1e-9
    assert ec.ufm.objective(problem, weight, means, bias) == math.inf


def open_problem(seed: int) -> ec.ufm.Problem:
    """Random codewords for which the relaxation does not close the gap."""
    rng = np.random.default_rng(seed)
    k = 8 if seed % 2 else 7
    problem = sized_problem(
        ec.ufm,
        ec.encodings.Encoding(rng.standard_normal((4, k))),
        rng.integers(1, 30, k),
        0.1,
        bias_decay=math.inf if seed % 2 else 3.0,
        features="relu",
    )
    assert isinstance(problem, ec.ufm.Problem)
    return problem


@pytest.mark.parametrize("seed", [2, 6, 7])
def test_the_relaxation_narrows_open_gaps_fivefold(seed: int) -> None:
    """Beside the tangent of J at the lowest point with ``½ c² tr Γ ≤ J``, which is what could be said before."""
    problem = open_problem(seed)
    solution = ec.ufm.solve(problem)
    labels = problem.structure.dense_label_svd.labels
    model = ReluModel(labels, problem.threshold / labels.scale, problem.bias_decay)
    features = solution.parameters()[1] * np.sqrt(problem.priors / problem.weight_decay)
    value, gradient = model.at(features.T @ features)
    assert value * labels.scale**2 == pytest.approx(solution.loss, rel=1e-11)
    gram = model.dual(features, np.zeros(0)).gram
    split = best_split(gram, model.threshold, raised(gram))
    deficit = -min(float(np.linalg.eigvalsh(gradient - 0.5 * split)[0]), 0.0)
    tangent = value - float(np.sum(gradient * (features.T @ features))) - deficit * 2 * value / model.threshold**2
    assert 1 - tangent / value > 1e-4
    assert solution.certificate.relative_gap < 0.2 * (1 - tangent / value)
    brute, _ = brute_force_layers(problem, seed, 2 * problem.num_classes, restarts=3)
    assert solution.certificate.lower_bound <= min(brute, solution.loss)


@pytest.mark.parametrize("bias_decay", [0.0, 0.3, math.inf])
@pytest.mark.parametrize("feature_dim", [None, 1, 7])
def test_labels_without_a_contrast_are_solved_like_those_of_linear_features(
    feature_dim: int | None, bias_decay: float
) -> None:
    for codeword in ([0.0, 0.0, 0.0], [1.0, 2.0, -3.0]):
        encoding = ec.encodings.Encoding(np.repeat(np.array(codeword)[:, None], 5, axis=1))
        decays: dict[str, Any] = {
            "weight_decay": 5e-2,
            "feature_decay": 5e-3,
            "bias_decay": bias_decay,
            "feature_dim": feature_dim,
        }
        found = ec.ufm.solve(ec.ufm.Problem(encoding, [2, 3, 5, 7, 11], features="relu", **decays))
        linear = ec.ufm.solve(ec.ufm.Problem(encoding, [2, 3, 5, 7, 11], **decays))
        assert found.status is linear.status
        assert found.loss == pytest.approx(linear.loss, rel=1e-13)
        assert found.rank == linear.rank
        np.testing.assert_allclose(found.bias, linear.bias, atol=1e-13)


def test_class_means_in_a_plane_are_given_in_two_dimensions() -> None:
    rng = np.random.default_rng(3)
    encoding = ec.encodings.Encoding(rng.standard_normal((2, 5)))
    problem = sized_problem(ec.ufm, encoding, [2, 3, 5, 7, 11], 0.3, bias_decay=0.0, features="relu")
    solution = ec.ufm.solve(problem)
    assert solution.rank == 2
    for feature_dim in (2, 3, 11):
        weight, means, bias = solution.parameters(feature_dim=feature_dim)
        assert (means >= 0).all()
        assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-12)


def test_dimensions_that_are_not_known_to_be_enough_are_refused_with_the_cure() -> None:
    problem = open_problem(0)
    solution = ec.ufm.solve(problem)
    rank = np.linalg.matrix_rank(np.asarray(solution.geometry.class_outputs), tol=1e-6)
    assert solution.rank == rank < len(solution.parameters()[1])
    with pytest.raises(ec.errors.ArgumentError, match=rf"rank is {rank} .* solve the problem with feature_dim={rank}"):
        solution.parameters(feature_dim=rank)
    assert solution.parameters(feature_dim=2 * problem.num_classes)[1].min() >= 0


def _distance(gram: FloatArray, features: FloatArray) -> float:
    return 1.0 + float(np.abs(features.T @ features - gram).max())


def test_fewer_rows_have_the_same_gram_matrix() -> None:
    rng = np.random.default_rng(7)
    plane = rng.uniform(0, 1, (5, 2)) @ rng.uniform(0, 1, (2, 7))
    parallel = np.vstack([rng.uniform(0, 1, (3, 7)), np.zeros(7)])
    parallel = np.vstack([parallel, 2 * parallel[1], 3 * parallel[0]])
    for features, rows in ((plane, 2), (parallel, 3), (np.outer(np.arange(3.0), np.arange(7.0)), 1)):
        gram = features.T @ features
        fewer = fewest_rows(features, partial(_distance, gram))
        assert fewer.shape == (rows, 7)
        assert (fewer >= 0).all()
        np.testing.assert_allclose(fewer.T @ fewer, features.T @ features, rtol=0, atol=1e-12 * (features**2).sum())
