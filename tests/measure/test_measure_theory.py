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
