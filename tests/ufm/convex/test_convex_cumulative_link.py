"""The cumulative link as a loss: its laws, brute force over (w, m, b), symmetry, and the limit of small decay."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

import encollapse as ec
from encollapse.errors import ArgumentError

THRESHOLDS = np.array([-2.0, 0.0, 1e-3, 3.0, 60.0])
LOSS = ec.ufm.CumulativeLink(THRESHOLDS)


def probability(o: float, k: int) -> mpmath.mpf:
    """Of class k at the output o, from the definition, with digits enough for the difference."""
    borders = [-mpmath.inf, *map(mpmath.mpf, THRESHOLDS.tolist()), mpmath.inf]

    def below(border: mpmath.mpf) -> mpmath.mpf:
        return 1 / (1 + mpmath.exp(mpmath.mpf(o) - border))

    return below(borders[k + 1]) - below(borders[k])


@pytest.mark.parametrize("k", range(6))
@given(o=st.floats(-80, 80))
def test_loss_and_slope_have_all_digits(k: int, o: float) -> None:
    with mpmath.workdps(120):
        exact = -mpmath.log(probability(o, k))
        slope = mpmath.diff(lambda x: -mpmath.log(probability(x, k)), o)
    output, target = np.array([o]), np.array([float(k)])
    assert LOSS.phi(output, target)[0] == pytest.approx(float(exact), rel=1e-13, abs=1e-14)
    # Next to its zero a slope can be no better than what rounding the output leaves.
    floor = 1e-15 * (1 + abs(o) + 60) * LOSS.second_derivative(output, target)[0]
    assert LOSS.slope(output, target)[0] == pytest.approx(float(slope), rel=1e-12, abs=floor)


@pytest.mark.parametrize("k", range(6))
@given(share=st.floats(1e-9, 1 - 1e-9))
def test_conjugate_is_the_supremum(k: int, share: float) -> None:
    target = np.array([float(k)])
    low, high = LOSS.slopes(target)
    y = low + share * (high - low)
    found = minimize_scalar(
        lambda o: float((LOSS.phi(np.array([o]), target) - y * o)[0]),
        bounds=(-90, 150),
        method="bounded",
        options={"xatol": 1e-12},
    )
    conjugate = float(LOSS.conjugate_phi(y, target)[0])
    assert conjugate == pytest.approx(-found.fun, rel=1e-9, abs=1e-9)
    o = 7.0
    assert conjugate >= float((y * o - LOSS.phi(np.array([o]), target))[0]) - 1e-12  # Fenchel and Young


@pytest.mark.parametrize("bias_decay", [0.0, 0.3, math.inf])
def test_no_descent_over_parameters_ends_below_the_minimum(bias_decay: float) -> None:
    loss, counts = ec.ufm.CumulativeLink([-1.5, 0.2, 0.9, 4.0]), np.array([11, 7, 5, 3, 2])
    problem = ec.ufm.Problem(
        loss.encoding, counts, weight_decay=2e-2, feature_decay=1e-3, bias_decay=bias_decay, loss=loss
    )
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds

    def objective(x: np.ndarray) -> float:
        weight, means, bias = x[:3], x[3:18].reshape(3, 5), 0.0 if math.isinf(bias_decay) else x[18]
        o = weight @ means + bias
        edges = np.concatenate([[-np.inf], loss.thresholds, [np.inf]])
        above = 1 / (1 + np.exp(o[None, :] - edges[:, None]))
        fit = -np.log(above[1:] - above[:-1])[np.arange(5), np.arange(5)] @ counts / counts.sum()
        decay = 0.0 if math.isinf(bias_decay) else bias_decay
        return float(fit + 1e-2 * weight @ weight + 5e-4 * (counts * means**2).sum() + decay / 2 * bias**2)

    generator = np.random.default_rng(3)
    lowest = min(minimize(objective, 0.5 * generator.standard_normal(19), method="L-BFGS-B").fun for _ in range(3))
    assert solution.loss == pytest.approx(lowest, rel=1e-5)
    assert solution.loss <= lowest + 1e-10


def test_order_symmetry_and_the_middle_of_the_intervals() -> None:
    """Class means lie on a line in order; reversed thresholds mirror them; small decay brings the middles."""
    outputs = []
    for thresholds, counts in (([-2.0, 0.0, 3.0], [40, 30, 20, 10]), ([-3.0, 0.0, 2.0], [10, 20, 30, 40])):
        loss = ec.ufm.CumulativeLink(thresholds)
        problem = ec.ufm.Problem(
            loss.encoding, counts, weight_decay=1e-7, feature_decay=1e-8, bias_decay=math.inf, loss=loss
        )
        weight, means, _ = ec.ufm.solve(problem).parameters(feature_dim=1)
        outputs.append((weight @ means)[0])
    assert (np.diff(outputs[0]) > 0).all()
    np.testing.assert_allclose(outputs[0], -outputs[1][::-1], rtol=1e-6)
    np.testing.assert_allclose(outputs[0][1:3], [-1.0, 1.5], atol=1e-4)


def test_bad_thresholds_and_codewords_are_named() -> None:
    for wrong in ([], [1.0, 1.0], [2.0, 1.0], [0.0, math.nan]):
        with pytest.raises(ArgumentError, match="thresholds"):
            ec.ufm.CumulativeLink(wrong)
    for encoding in (ec.encodings.one_hot(6), ec.encodings.Encoding([[0.0, 1.5]]), ec.encodings.Encoding([[0.0, 6.0]])):
        with pytest.raises(ArgumentError, match="encoding"):
            ec.ufm.Problem(encoding, 5, weight_decay=1e-2, feature_decay=1e-3, loss=LOSS)
