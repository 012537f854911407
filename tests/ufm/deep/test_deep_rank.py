"""Features too narrow for the minimizer: truncation where that is exact, honest stationary points in between."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.ufm.deep.model import SchattenModel
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.mse.label_svd import LabelSVD
from reference.ufm_layers_reference import brute_force_layers, sized_problem


def narrow_problem(seed: int, bias_decay: float, feature_dim: int, share: float = 0.1) -> ec.ufm.Problem:
    rng = np.random.default_rng(seed)
    codewords = rng.standard_normal((4, 5)) + rng.choice([0.0, 1.0, 2.0]) * rng.standard_normal((4, 1))
    encoding = ec.encodings.Encoding(codewords)
    counts = rng.integers(1, 20, 5)
    problem = sized_problem(ec.ufm, encoding, counts, share, bias_decay=bias_decay, feature_dim=feature_dim)
    assert isinstance(problem, ec.ufm.Problem)
    return problem


@pytest.mark.parametrize("bias_decay", [0.0, math.inf])
@pytest.mark.parametrize("feature_dim", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_truncation_is_global_with_a_free_bias_and_without_one(bias_decay: float, feature_dim: int, seed: int) -> None:
    problem = narrow_problem(seed, bias_decay, feature_dim, share=0.01)
    solution = ec.ufm.solve(problem)
    labels = problem.encoding.codewords - (0 if bias_decay else problem.mean_codeword[:, None])
    singular = np.linalg.svd(labels * np.sqrt(problem.priors), compute_uv=False)
    expected = np.clip(singular - problem.threshold, 0, None)
    expected[feature_dim:] = 0
    np.testing.assert_allclose(solution.singular_values, expected, atol=1e-13)
    np.testing.assert_allclose(solution.bias, 0 if bias_decay else problem.mean_codeword, atol=1e-13)
    assert (solution.certificate.kind, solution.certificate.holds) == ("theorem", True)
    assert solution.certificate.relative_gap < 1e-12
    assert solution.status is ec.ufm.Status.OPTIMAL
    assert solution.unique
    brute, gram = brute_force_layers(problem, seed, feature_dim, restarts=5)
    assert brute >= solution.loss * (1 - 1e-12)
    assert brute == pytest.approx(solution.loss, rel=1e-9)
    np.testing.assert_allclose(gram, solution.geometry.feature_gram, atol=1e-3 * np.abs(gram).max())


@pytest.mark.parametrize("bias_decay", [0.03, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_brute_force_never_gets_below_the_stationary_point(bias_decay: float, seed: int) -> None:
    problem = narrow_problem(seed, bias_decay, 1 + seed)
    solution = ec.ufm.solve(problem)
    brute, _ = brute_force_layers(problem, seed, 1 + seed, restarts=6)
    assert brute >= solution.loss * (1 - 1e-12)
    assert brute == pytest.approx(solution.loss, rel=1e-9)
    certificate = solution.certificate
    assert certificate.holds
    assert certificate.lower_bound <= brute * (1 + 1e-12)
    assert certificate.gap == pytest.approx(solution.loss - certificate.lower_bound, abs=1e-15)
    if certificate.kind == "stationary":
        assert solution.status is ec.ufm.Status.STATIONARY
        assert "not proved" in solution.status.message
        assert certificate.relative_gap > 1e-10
    else:
        assert certificate.kind == "duality_gap"


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bias_decay=st.sampled_from([0.0, 1e-6, 1e-2, 0.3, 2.0, 1e3, 1e8, math.inf]),
    feature_dim=st.integers(1, 4),
)
def test_laws_of_narrow_features(seed: int, bias_decay: float, feature_dim: int) -> None:
    """Parameters give the loss, the bound bounds, more room never hurts, and enough room is the convex problem."""
    problem = narrow_problem(seed, bias_decay, feature_dim, share=0.02 + 0.5 * (seed % 89) / 89)
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(seed=seed % 97)
    assert weight.shape == (4, feature_dim)
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(solution.loss, rel=1e-10)
    assert solution.rank <= feature_dim
    wider = ec.ufm.solve(narrow_problem(seed, bias_decay, feature_dim + 1, share=0.02 + 0.5 * (seed % 89) / 89))
    assert wider.loss <= solution.loss * (1 + 1e-12)
    wide = ec.ufm.solve(narrow_problem(seed, bias_decay, 5, share=0.02 + 0.5 * (seed % 89) / 89))
    assert solution.certificate.lower_bound >= wide.certificate.lower_bound * (1 - 1e-12)
    if wide.rank <= feature_dim:
        assert solution.certificate.kind == "duality_gap"
        assert solution.loss == pytest.approx(wide.loss, rel=1e-12)


@pytest.mark.parametrize("bias_decay", [1e-9, 1e-3, 1e3, 1e9])
def test_continuity_at_both_ends(bias_decay: float) -> None:
    """A tiny or huge bias decay must come out next to the closed forms, whatever the starts found."""
    end = 0.0 if bias_decay < 1 else math.inf
    close = ec.ufm.solve(narrow_problem(7, bias_decay, 2))
    exact = ec.ufm.solve(narrow_problem(7, end, 2))
    slack = 10 * min(bias_decay, 1 / bias_decay)
    assert close.loss == pytest.approx(exact.loss, rel=slack)
    assert close.certificate.relative_gap <= slack


@pytest.mark.parametrize("bias_decay", [0.0, 0.5, math.inf])
def test_centered_labels_need_no_bias_however_narrow_the_features(bias_decay: float) -> None:
    problem = ec.ufm.Problem(
        ec.encodings.simplex(5), 7, weight_decay=1e-2, feature_decay=1e-4, bias_decay=bias_decay, feature_dim=2
    )
    solution = ec.ufm.solve(problem)
    assert solution.certificate.kind == "theorem"
    assert np.abs(solution.bias).max() < 1e-14
    sigma = math.sqrt(1 / 4) - problem.threshold
    np.testing.assert_allclose(solution.singular_values, [sigma, sigma, 0, 0], atol=1e-14)


def test_a_choice_between_equal_directions_is_said() -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), 7, weight_decay=1e-2, feature_decay=1e-4, feature_dim=2)
    assert not ec.ufm.solve(problem).unique
    wide = ec.ufm.Problem(ec.encodings.one_hot(5), 7, weight_decay=1e-2, feature_decay=1e-4, feature_dim=4)
    assert ec.ufm.solve(wide).unique


def test_critical_bias_decay_where_the_room_allows_it() -> None:
    """Four contrasts and the mean need five dimensions; with four the mean competes, and nothing is claimed."""
    decays: dict[str, Any] = {"weight_decay": 1e-2, "feature_decay": 1e-4}
    encoding = ec.encodings.one_hot(5)
    wide = ec.ufm.Problem(encoding, 7, **decays)
    assert ec.ufm.Problem(encoding, 7, **decays, feature_dim=5).critical_bias_decay() == wide.critical_bias_decay()
    for d in (2, 4):
        narrow = ec.ufm.Problem(encoding, 7, **decays, feature_dim=d)
        assert narrow.critical_bias_decay() is None
        assert f"With {d} feature dimensions" in narrow.explain()
        path = ec.ufm.bias_path(narrow, [0.0, 1.0])
        assert path.critical is None
    imbalanced = ec.ufm.Problem(encoding, [3, 5, 7, 11, 13], **decays, feature_dim=4)
    assert imbalanced.critical_bias_decay() == 0.0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), factors=st.integers(2, 5), limit=st.integers(1, 5), bias_decay=st.floats(0.01, 100)
)
def test_derivatives_of_the_spectral_model(seed: int, factors: int, limit: int, bias_decay: float) -> None:
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.standard_normal((4, 5)) + rng.standard_normal((4, 1)))
    labels = ec.ufm.Problem(encoding, [2, 3, 5, 7, 11], weight_decay=1, feature_decay=1).structure.label_svd.labels
    schatten_prox = SchattenProx(factors, float(10 ** rng.uniform(-3, -0.5)))
    model = SchattenModel(LabelSVD.of(labels), schatten_prox, limit, bias_decay)
    state = model.at(shift := rng.standard_normal(len(model.mean)), model.mean - shift)
    gaps = np.diff(np.sort(state.singular))
    away = np.abs(state.singular - schatten_prox.threshold).min()
    if min(gaps.min(), away) < 1e-2:
        return  # a kink, or too near one for finite differences
    for direction in np.eye(len(shift)):
        ahead, behind = state.moved(1e-5 * direction), state.moved(-1e-5 * direction)
        slope = (ahead.value - behind.value) / 2e-5
        assert slope == pytest.approx(float(direction @ state.gradient), abs=1e-7 * (1 + state.magnitude))
        curve = (ahead.gradient - behind.gradient) / 2e-5
        np.testing.assert_allclose(curve, state.hessian() @ direction, atol=1e-5 * (1 + np.abs(state.hessian()).max()))
