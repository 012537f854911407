"""Continuous targets and sets of labels as classes: neural regression collapse."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, MemoryLimitError

WEIGHT_DECAY = 3e-3


def regression(seed: int, share: float, *, samples: int = 37) -> tuple[Any, Any, ec.ufm.Problem]:
    """Correlated targets, some of them repeated; c is `share` times the least standard deviation."""
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal((samples, 3)) @ np.diag([2.0, 1.0, 0.5]) @ rng.standard_normal((3, 3)) + 4.0
    targets[20:23] = targets[3]
    encoding, counts, labels = ec.encodings.from_targets(targets)
    deviations = np.sqrt(np.linalg.eigvalsh(np.cov(targets.T, bias=True)))
    c = share * deviations[0]
    problem = ec.ufm.Problem(encoding, counts, weight_decay=WEIGHT_DECAY, feature_decay=c**2 / samples / WEIGHT_DECAY)
    return targets, labels, problem


@pytest.mark.parametrize("share", [0.05, 0.6, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neural_regression_collapse(seed: int, share: float) -> None:
    """Andriopoulos et al. 2024, Theorem 4.1, in their letters: λ_H' = N λ_H, c' = λ_H' λ_W.

    They minimize 1/(2N)|W H + b 1ᵀ - Y|² + λ_H'/(2N)|H|² + λ_W/2|W|².
    """
    targets, labels, problem = regression(seed, share)
    n = len(targets)
    their_feature_decay = n * problem.feature_decay
    root_c = math.sqrt(their_feature_decay * WEIGHT_DECAY)
    assert root_c == pytest.approx(problem.threshold, rel=1e-14)
    solution = ec.ufm.solve(problem)
    mean = targets.mean(axis=0)
    np.testing.assert_allclose(solution.bias, mean, atol=1e-13)
    values, vectors = np.linalg.eigh(np.cov(targets.T, bias=True))
    shrunk = np.clip(np.sqrt(values) - root_c, 0, None)
    expected = math.sqrt(their_feature_decay / WEIGHT_DECAY) * (vectors * shrunk) @ vectors.T
    weight, means, _ = solution.parameters(feature_dim=5, seed=seed)
    np.testing.assert_allclose(weight @ weight.T, expected, atol=1e-12 * np.abs(expected).max() + 1e-15)
    # H = √(λ_W/λ_H') Wᵀ S^{-1/2} (Y - Ȳ): features are whitened targets seen through the classifier (NRC1 and NRC2).
    features = means[:, labels]
    whitened = (vectors / np.sqrt(values)) @ vectors.T @ (targets - mean).T
    np.testing.assert_allclose(
        features, math.sqrt(WEIGHT_DECAY / their_feature_decay) * weight.T @ whitened, atol=1e-11
    )
    # The residuals: what is learned is short of the target by √c S^{-1/2}, what is not learned is left whole.
    short = (vectors * np.minimum(root_c, np.sqrt(values)) / np.sqrt(values)) @ vectors.T
    outputs = weight @ features + mean[:, None]
    np.testing.assert_allclose(outputs - targets.T, -short @ (targets - mean).T, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias_decay=st.sampled_from([0.0, 0.1, 3.0, math.inf]))
def test_merging_equal_targets_changes_nothing(seed: int, bias_decay: float) -> None:
    targets, labels, merged = regression(seed, 0.6)
    every = ec.ufm.Problem(
        ec.encodings.Encoding(targets.T),
        1,
        weight_decay=merged.weight_decay,
        feature_decay=merged.feature_decay,
        bias_decay=bias_decay,
    )
    one, other = ec.ufm.solve(merged.with_bias_decay(bias_decay)), ec.ufm.solve(every)
    assert one.loss == pytest.approx(other.loss, rel=1e-11)
    np.testing.assert_allclose(one.bias, other.bias, atol=1e-11)
    scale = np.abs(other.geometry.feature_gram).max()
    np.testing.assert_allclose(
        one.geometry.feature_gram[np.ix_(labels, labels)], other.geometry.feature_gram, atol=1e-9 * scale
    )


def test_univariate_regression() -> None:
    """One output: one direction, WWᵀ = √(λ_H'/λ_W)(σ - √c)."""
    targets = np.array([0.5, 2.0, -1.0, 0.5, 7.0])
    encoding, counts, _ = ec.encodings.from_targets(targets)
    problem = ec.ufm.Problem(encoding, counts, weight_decay=1e-2, feature_decay=1e-2)
    solution = ec.ufm.solve(problem)
    assert solution.rank == 1
    size = math.sqrt(5 * 1e-2 / 1e-2) * (targets.std() - problem.threshold)
    assert solution.geometry.classifier_gram == pytest.approx(size, rel=1e-13)


def test_sets_of_labels_are_classes() -> None:
    """Multi-label targets: the distinct sets, however they are written down, give one minimizer."""
    rows = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]])
    encoding, counts, labels = ec.encodings.from_targets(rows)
    np.testing.assert_array_equal(encoding.encode(labels), rows)
    assert sorted(counts.tolist()) == [1, 1, 2, 3]
    by_hand = ec.encodings.multi_label([[], [2], [0], [0, 1]], 3)
    decays: dict[str, Any] = {"weight_decay": 5e-2, "feature_decay": 1e-2, "bias_decay": 0.2}
    one = ec.ufm.solve(ec.ufm.Problem(encoding, counts, **decays))
    other = ec.ufm.solve(ec.ufm.Problem(by_hand, [1, 1, 2, 3], **decays))
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    np.testing.assert_allclose(one.bias, other.bias, atol=1e-12)
    np.testing.assert_allclose(one.geometry.feature_gram, other.geometry.feature_gram, atol=1e-10)


def test_many_samples_need_no_matrix_of_all_pairs() -> None:
    rng = np.random.default_rng(5)
    targets = rng.standard_normal((40_000, 2))
    encoding, counts, _ = ec.encodings.from_targets(targets)
    assert encoding.num_classes == 40_000
    problem = ec.ufm.Problem(encoding, counts, weight_decay=1e-2, feature_decay=1e-4, bias_decay=0.1)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    _, means, _ = solution.parameters()
    assert means.shape == (2, 40_000)
    with pytest.raises(MemoryLimitError, match="feature_gram"):
        _ = solution.geometry.feature_gram


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_targets_go_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(-2, 3, (int(rng.integers(6, 40)), int(rng.integers(1, 4)))).astype(float)
    targets[0, 0], targets[1, 0] = 0.25, -0.0
    encoding, counts, labels = ec.encodings.from_targets(targets, name="ages")
    assert encoding.name == "ages"
    np.testing.assert_array_equal(encoding.encode(labels), targets)
    np.testing.assert_array_equal(counts, np.bincount(labels))
    assert counts.sum() == len(targets)
    assert len({tuple(column) for column in encoding.codewords.T}) == encoding.num_classes


@pytest.mark.parametrize(
    ("targets", "error", "words"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], ArgumentError, "two distinct"),
        ([1.0, math.nan, 2.0], ArgumentError, "targets"),
        ([[1.0], [math.inf]], ArgumentError, "targets"),
        ([[[1.0]]], ArgumentError, "targets"),
        ([], ArgumentError, "targets"),
        (["a", "b"], ArgumentTypeError, "targets"),
        ([[1, 2], [3]], ArgumentError, "targets"),
    ],
)
def test_bad_targets_are_refused(targets: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ec.encodings.from_targets(targets)
