"""The exact minimizer, fed through the measurement, is the prediction."""

import math

import numpy as np
import pytest

import encollapse as ec

K, D = 5, 11
ENCODINGS = {
    "one-hot": ec.encodings.one_hot(K),
    "simplex": ec.encodings.simplex(K),
    "label-smoothing": ec.encodings.label_smoothing(K, 0.2),
    "one-vs-rest": ec.encodings.one_vs_rest(K),
    "ordinal": ec.encodings.ordinal(K),
    "random": ec.encodings.random(K, 6),
}
COUNTS = {"balanced": np.full(K, 13), "imbalanced": np.array([40, 17, 9, 5, 2])}


@pytest.mark.parametrize("bias_decay", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("name", ENCODINGS)
def test_measuring_the_minimizer_returns_the_prediction(name: str, counts: str, bias_decay: float) -> None:
    encoding, sizes = ENCODINGS[name], COUNTS[counts]
    problem = ec.ufm.Problem(encoding, sizes, weight_decay=5e-3, feature_decay=1e-4, bias_decay=bias_decay)
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(feature_dim=D, seed=3)
    labels = np.repeat(np.arange(K), sizes)
    measured = ec.measure.collapse(means.T[labels], labels, weight=weight, bias=bias, encoding=encoding)
    comparison = ec.compare(solution.geometry, measured.geometry)
    assert comparison.missing == {}
    for row in comparison.rows:
        assert row.value is not None
        assert row.value <= 1e-8, row.name
    assert measured.nc1_trace_ratio is not None
    assert measured.nc1_trace_ratio < 1e-25
    assert measured.balance is not None
    assert measured.balance < 1e-8
    if not math.isinf(bias_decay):  # W μ + b - ē = -λ_b b
        expected = bias_decay * float(np.linalg.norm(bias))
        assert measured.label_centering == pytest.approx(expected, abs=1e-9)
    if bias_decay == 0:
        assert measured.bias_to_label_mean == pytest.approx(0, abs=1e-9)


def test_balanced_one_hot_moves_from_simplex_to_orthogonal_frame() -> None:
    encoding, labels = ENCODINGS["one-hot"], np.repeat(np.arange(K), 4)
    scores = []
    for bias_decay in (0.0, math.inf):
        problem = ec.ufm.Problem(encoding, 4, weight_decay=1e-3, feature_decay=1e-3, bias_decay=bias_decay)
        weight, means, bias = ec.ufm.solve(problem).parameters(feature_dim=D)
        measured = ec.measure.collapse(means.T[labels], labels, weight=weight, bias=bias, encoding=encoding)
        assert measured.nc2_etf == pytest.approx(0, abs=1e-9)
        assert measured.nc3_alignment == pytest.approx(0, abs=1e-9)
        assert measured.accuracy == measured.nc4_agreement == 1.0
        scores.append((measured.nc2_etf_uncentered, measured.nc2_orthogonal))
    assert scores[0][0] == pytest.approx(0, abs=1e-9)
    assert scores[1][1] == pytest.approx(0, abs=1e-9)
    assert min(scores[0][1] or 0, scores[1][0] or 0) > 0.1


@pytest.mark.parametrize("bias_decay", [0.0, 3e-2])
@pytest.mark.parametrize("counts", [4, [2, 3, 5, 7, 11]])
def test_cross_entropy_minimum_has_the_mean_softmax_of_its_labels(bias_decay: float, counts: int | list[int]) -> None:
    """The derivative by the bias: mean softmax - ē + λ_b b = 0, where W μ + b is not ē at all."""
    encoding = ec.encodings.one_hot(K)
    problem = ec.ufm.Problem(
        encoding, counts, weight_decay=5e-3, feature_decay=5e-3, bias_decay=bias_decay, loss="cross_entropy"
    )
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(feature_dim=D)
    labels = np.repeat(np.arange(K), counts)
    for dtype, atol in ((np.float64, 1e-6), (np.float32, 2e-6)):
        measured = ec.measure.collapse(
            means.T[labels].astype(dtype), labels, weight=weight, bias=bias, encoding=encoding, loss="cross_entropy"
        )
        assert measured.label_centering == pytest.approx(bias_decay * float(np.linalg.norm(bias)), abs=atol)
        assert measured.bias_to_label_mean is None
        assert "cross-entropy" in measured.missing["bias_to_label_mean"]
    as_squared_error = ec.measure.collapse(means.T[labels], labels, weight=weight, bias=bias, encoding=encoding)
    assert (as_squared_error.label_centering or 0.0) > 0.1


def test_mean_softmax_is_over_samples_and_missing_where_they_are_not_read_again() -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, K, 103)
    features, weight, bias = rng.standard_normal((103, D)), rng.standard_normal((K, D)), rng.standard_normal(K)
    encoding = ec.encodings.one_hot(K)
    measured = ec.measure.collapse(features, labels, weight=weight, bias=bias, encoding=encoding, loss="cross_entropy")
    outputs = np.exp(features @ weight.T + bias)
    mean = (outputs / outputs.sum(axis=1, keepdims=True)).mean(axis=0)
    assert measured.label_centering == pytest.approx(np.linalg.norm(mean - np.bincount(labels) / 103), rel=1e-12)
    moments = ec.measure.ClassMoments(K, D).update(features, labels)
    once = moments.collapse(weight, bias, encoding, loss="cross_entropy")
    assert once.label_centering is None
    assert "needs the samples" in once.missing["label_centering"]
