"""Losses as objects: laws of every loss, and a second loss that the solver has never seen."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad, minimize

from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.losses.cross_entropy import CrossEntropy
from reference.own_losses import Logistic

Array = NDArray[np.float64]


LOSSES: list[ConvexLoss] = [CrossEntropy(), Logistic()]


def sample(loss: ConvexLoss, seed: int, q: int = 5, k: int = 7) -> tuple[Array, Array]:
    """Outputs and targets."""
    rng = np.random.default_rng(seed)
    codewords = rng.dirichlet(np.full(q, 0.7), k).T
    codewords[:, 0] = np.eye(q)[3]
    return 4 * rng.standard_normal((q, k)), loss.targets(codewords)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_derivatives_conjugate_and_smoothness(loss: ConvexLoss) -> None:
    outputs, targets = sample(loss, 3)
    ones = np.ones_like(outputs)
    rng = np.random.default_rng(5)

    def value(flat: Array) -> float:
        return float(loss.value(flat.reshape(outputs.shape), targets, ones).sum())

    def slope(flat: Array) -> Array:
        return loss.gradient(flat.reshape(outputs.shape), targets, ones).ravel()

    assert check_grad(value, slope, outputs.ravel(), seed=1) < 1e-5
    change = rng.standard_normal(outputs.shape)
    curvature = loss.curvature(outputs, targets, ones)
    bent = curvature(change)
    difference = slope((outputs + 1e-5 * change).ravel()) - slope((outputs - 1e-5 * change).ravel())
    np.testing.assert_allclose(bent.ravel(), difference / 2e-5, atol=1e-8)
    assert (np.abs((bent * change).sum(axis=0)) <= loss.smoothness * (change**2).sum(axis=0)).all()
    # With a ridge the second derivative is inverted; column by column, as the ridge is.
    for ridge in (1e-3, 1.0, 1e3):
        solved = curvature.solve(change, ridge)
        np.testing.assert_allclose(curvature(solved) + ridge * solved, change, atol=1e-9)
    # Fenchel-Young: equality at the gradient, inequality elsewhere in the domain.
    gradient = loss.gradient(outputs, targets, ones)
    at = loss.value(outputs, targets, ones)
    np.testing.assert_allclose(
        loss.conjugate(gradient, targets, ones), (gradient * outputs).sum(axis=0) - at, atol=1e-12
    )
    for share in (0.0, 0.3, 0.9):
        other = loss.conjugate(share * gradient, targets, ones)
        assert (at + other >= share * (gradient * outputs).sum(axis=0) - 1e-12).all()
    assert np.isinf(loss.conjugate(gradient + 2.0, targets, ones)).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_outputs_have_the_gradient_that_they_are_made_from(loss: ConvexLoss) -> None:
    outputs, targets = sample(loss, 13)
    ones = np.ones_like(outputs)
    # Moderate ones, for very small probabilities may be lifted.
    gradient = loss.gradient(outputs / 16, targets, ones)
    again = loss.gradient(loss.outputs(gradient, targets, ones), targets, ones)
    np.testing.assert_allclose(again, gradient, atol=1e-12)
    # No outputs have a gradient outside the domain of the conjugate; a finite answer is asked for all the same.
    assert np.isfinite(loss.outputs(gradient - 2.0, targets, ones)).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_recentering_reaches_the_mean_within_the_domain(loss: ConvexLoss) -> None:
    outputs, targets = sample(loss, 7)
    table = DenseOutputMap.of(targets, np.array([1.0, 2, 3, 5, 7, 11, 13]) / 42)
    gradient = loss.gradient(outputs, targets, table.copies)
    wanted = 0.01 * np.array([1.0, -2.0, 3.0, -1.0, -1.0])
    moved = loss.recentered(gradient, targets, table.copies, table.mean, table.spread, wanted)
    assert moved is not None
    np.testing.assert_allclose(table.mean(moved), wanted, atol=1e-15)
    assert np.isfinite(loss.conjugate(moved, targets, table.copies)).all()
    beyond = np.array([4.0, -4.0, 0.0, 0.0, 0.0])
    assert loss.recentered(gradient, targets, table.copies, table.mean, table.spread, beyond) is None


def test_recentering_takes_an_output_of_next_to_no_probability_without_a_warning() -> None:
    """What it is short of, over what it has, is beyond float64."""
    targets = np.array([[1e-310, 1e-310], [1.0, 1.0]])
    table, wanted = DenseOutputMap.of(targets, np.array([0.5, 0.5])), np.array([0.3, -0.3])
    with np.errstate(all="raise", under="ignore"):
        moved = CrossEntropy().recentered(0 * targets, targets, table.copies, table.mean, table.spread, wanted)
    assert moved is not None
    np.testing.assert_allclose(table.mean(moved), wanted, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("decay", [0.0, 1e-6, 0.3, 1e6])
def test_intercept_is_stationary(loss: ConvexLoss, decay: float) -> None:
    mean, copies = np.array([0.55, 0.2, 0.05, 0.01, 0.005]), np.array([1.0, 1, 2, 3, 24])

    def slope(bias: Array) -> Array:
        return loss.gradient(bias[:, None], mean[:, None], copies[:, None])[:, 0]

    bias = loss.intercept(mean, copies, decay, slope)
    np.testing.assert_allclose(slope(bias) + decay * bias, 0.0, atol=1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_the_solver_needs_the_protocol_only(loss: ConvexLoss, bias_decay: float) -> None:
    """Certified, and not below what brute force over (W, M, b) finds."""
    _, targets = sample(loss, 11)
    q, k = targets.shape
    priors = np.array([1.0, 2, 3, 5, 7, 11, 13]) / 42
    c = 0.03
    composite = Composite(DenseOutputMap.of(targets, priors), loss, c, bias_decay)
    found = minimize_composite(composite)
    assert found.certificate.holds
    assert len(found.factors.singular) > 0
    u, ones = np.sqrt(priors), np.ones((q, k))

    def objective(flat: Array) -> tuple[float, Array]:
        w, m = flat[: q * q].reshape(q, q), flat[q * q : q * (q + k)].reshape(q, k)
        b = flat[q * (q + k) :] * (not math.isinf(bias_decay))
        decay = 0.0 if math.isinf(bias_decay) else bias_decay
        outputs = w @ m / u + b[:, None]
        slope = loss.gradient(outputs, targets, ones)
        value = float(priors @ loss.value(outputs, targets, ones))
        value += 0.5 * c * float((w**2).sum() + (m**2).sum()) + 0.5 * decay * float(b @ b)
        parts = [(slope * u) @ m.T + c * w, w.T @ (slope * u) + c * m]
        bias_slope = (slope @ priors + decay * b) * (not math.isinf(bias_decay))
        return value, np.concatenate([part.ravel() for part in [*parts, bias_slope]])

    start = np.random.default_rng(2).standard_normal(q * (q + k + 1))
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11}
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun
    assert best >= found.loss * (1 - 1e-9)
    assert best == pytest.approx(found.loss, rel=1e-7)
