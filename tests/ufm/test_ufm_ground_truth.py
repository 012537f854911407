"""Numbers that are known in closed form."""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec


def balanced_one_hot(num_classes: int, count: int, bias_decay: float, **decays: Any) -> ec.ufm.Problem:
    return ec.ufm.Problem(ec.encodings.one_hot(num_classes), count, bias_decay=bias_decay, **decays)


def test_balanced_one_hot_worked_example() -> None:
    """K = 4, n = 5, λ_W = 5e-3, λ_H = 2e-3: the published numbers."""
    problem = balanced_one_hot(4, 5, 0.06, weight_decay=5e-3, feature_decay=2e-3)
    solution = ec.ufm.solve(problem)
    assert problem.critical_bias_decay() == pytest.approx(0.0291076, abs=1.1e-7)
    assert solution.geometry.cosine(1, 3) == pytest.approx(-0.1380208, abs=1.1e-7)
    np.testing.assert_allclose(solution.bias, 0.1178511, atol=1.1e-7)
    assert solution.loss == pytest.approx(0.0262176, abs=1.1e-7)


@pytest.mark.parametrize("num_classes", [2, 3, 7, 13])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7, 40.0, math.inf])
def test_two_singular_values_of_balanced_one_hot(num_classes: int, factor: float) -> None:
    """Theory §2: σ = (a - c)₊ with multiplicity K - 1 and s = (a - c/β)₊."""
    t = 0.3
    c = t / math.sqrt(num_classes)
    critical = t / (1 - t)
    bias_decay = factor * critical
    n = 11
    weight_decay = 7e-3
    feature_decay = c**2 / (num_classes * n * weight_decay)
    problem = balanced_one_hot(num_classes, n, bias_decay, weight_decay=weight_decay, feature_decay=feature_decay)
    solution = ec.ufm.solve(problem)

    a = 1 / math.sqrt(num_classes)
    beta = 1.0 if math.isinf(bias_decay) else bias_decay / (1 + bias_decay)
    sigma = a - c
    s = max(a - c / beta, 0.0) if beta > 0 else 0.0
    expected = np.sort([sigma] * (num_classes - 1) + [s])[::-1]
    np.testing.assert_allclose(solution.singular_values, expected, atol=1e-14)
    assert problem.critical_bias_decay() == pytest.approx(critical, rel=1e-13)
    cosine = (s - sigma) / (s + (num_classes - 1) * sigma)
    assert solution.geometry.cosine(0, 1) == pytest.approx(cosine, abs=1e-13)
    if bias_decay <= critical:
        bias = 1 / (num_classes * (1 + bias_decay))
    else:
        bias = 0.0 if math.isinf(bias_decay) else c / (math.sqrt(num_classes) * bias_decay)
    np.testing.assert_allclose(solution.bias, bias, atol=1e-14)


def test_mean_direction_is_exactly_absent_below_the_critical_point() -> None:
    problem = balanced_one_hot(5, 3, 0.02, weight_decay=5e-3, feature_decay=2e-3)
    assert (problem.critical_bias_decay() or 0.0) > 0.02
    solution = ec.ufm.solve(problem)
    assert solution.rank == 4
    assert solution.singular_values[-1] == 0.0
    assert solution.geometry.distance("simplex_etf") < 1e-14


def test_orthogonal_frame_without_a_bias() -> None:
    problem = balanced_one_hot(5, 3, math.inf, weight_decay=5e-3, feature_decay=2e-3)
    assert ec.ufm.solve(problem).geometry.distance("orthogonal") < 1e-14


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_free_bias_centers_the_labels_and_shrinks_the_label_covariance(seed: int) -> None:
    """Andriopoulos et al. 2024, Theorem 4.1, whatever the encoding and the counts."""
    rng = np.random.default_rng(seed)
    counts = np.array([2, 31, 5, 101, 13])
    encoding = ec.encodings.Encoding(rng.standard_normal((3, 5)) + 2.0)
    problem = ec.ufm.Problem(encoding, counts, weight_decay=3e-3, feature_decay=4e-4)
    solution = ec.ufm.solve(problem)
    priors = counts / counts.sum()
    label_mean = encoding.codewords @ priors
    np.testing.assert_allclose(solution.bias, label_mean, atol=1e-14)
    centered = encoding.codewords - label_mean[:, None]
    values, vectors = np.linalg.eigh((centered * priors) @ centered.T)
    shrunk = np.clip(np.sqrt(values) - problem.threshold, 0, None)
    expected = np.sqrt(counts.sum() * 4e-4 / 3e-3) * (vectors * shrunk) @ vectors.T
    assert solution.geometry.classifier_gram is not None
    np.testing.assert_allclose(solution.geometry.classifier_gram, expected, atol=1e-13)
    weighted_mean = solution.geometry.feature_gram @ priors
    np.testing.assert_allclose(weighted_mean, 0, atol=1e-13)


def test_centered_encodings_need_no_bias() -> None:
    encoding = ec.encodings.simplex(7)
    for bias_decay in (0.0, 0.3, 50.0, math.inf):
        problem = ec.ufm.Problem(encoding, 13, weight_decay=5e-3, feature_decay=1e-4, bias_decay=bias_decay)
        assert np.abs(ec.ufm.solve(problem).bias).max() < 1e-15
        assert problem.critical_bias_decay() == math.inf


@pytest.mark.parametrize("t", [1.0, 1.0000001, 3.0, 1e6])
def test_total_collapse_is_a_result(t: float) -> None:
    c = t / math.sqrt(5)
    problem = balanced_one_hot(5, 7, 0.2, weight_decay=c / math.sqrt(35), feature_decay=c / math.sqrt(35))
    solution = ec.ufm.solve(problem)
    assert solution.status is ec.ufm.Status.COLLAPSED
    assert solution.status.success
    assert solution.certificate.holds
    assert not solution.geometry.feature_gram.any()
    np.testing.assert_allclose(solution.bias, 0.2 / 1.2, atol=1e-15)
    assert (problem.critical_bias_decay() or 0.0) > 1e12  # infinite, up to the rounding of t = 1
    weight, means, _ = solution.parameters(feature_dim=2)
    assert weight.shape == (5, 2)
    assert not weight.any()
    assert not means.any()


def test_label_smoothing_is_the_same_algebra_with_its_own_mean_and_scale() -> None:
    """Theory §2: a = (1 - δ)/√K on the centered part, mean entry 1/K as for one-hot."""
    k, delta, bias_decay = 7, 0.2, 0.9
    encoding = ec.encodings.label_smoothing(k, delta)
    problem = ec.ufm.Problem(encoding, 11, weight_decay=5e-3, feature_decay=5e-5, bias_decay=bias_decay)
    c, beta = problem.threshold, bias_decay / (1 + bias_decay)
    sigma = (1 - delta) / math.sqrt(k) - c
    s = max(1 / math.sqrt(k) - c / beta, 0.0)
    expected = np.sort([sigma] * (k - 1) + [s])[::-1]
    np.testing.assert_allclose(ec.ufm.solve(problem).singular_values, expected, atol=1e-14)
