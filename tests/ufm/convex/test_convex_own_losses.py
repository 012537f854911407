"""Losses of one's own, handed to `Problem` as small objects: certified, and not above brute force over (W, M, b)."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning
from reference.own_losses import HalfSquares, Logistic

Array = NDArray[np.float64]


class Huber(ec.ufm.SeparableLoss):
    """Squares up to a distance of 0.3, and straight lines beyond: not strictly convex, not linear in the target."""

    name = "huber"
    smoothness = 1.0
    reach = 0.3

    def phi(self, o: Array, p: Array) -> Array:
        """Loss."""
        far = np.abs(o - p)
        return np.where(far <= self.reach, 0.5 * far**2, self.reach * (far - 0.5 * self.reach))

    def slope(self, o: Array, p: Array) -> Array:
        """Derivative."""
        return np.clip(o - p, -self.reach, self.reach)

    def second_derivative(self, o: Array, p: Array) -> Array:
        """Second derivative."""
        return np.where(np.abs(o - p) <= self.reach, 1.0, 0.0)

    def conjugate_phi(self, y: Array, p: Array) -> Array:
        """Conjugate."""
        return p * y + 0.5 * y**2

    def slopes(self, p: Array) -> tuple[Array, Array]:
        """Its domain."""
        return np.full_like(p, -self.reach), np.full_like(p, self.reach)


class SquaredHinge(ec.ufm.SeparableLoss):
    """For targets of ±1; slopes are bounded on one side."""

    name = "squared_hinge"
    smoothness = 1.0

    def targets(self, codewords: Array) -> Array:
        """Only signs."""
        if not (np.abs(codewords) == 1).all():
            raise ArgumentError("encoding: the squared hinge takes codewords of ±1")
        return codewords

    def phi(self, o: Array, p: Array) -> Array:
        """Loss."""
        return 0.5 * np.maximum(1 - p * o, 0) ** 2

    def slope(self, o: Array, p: Array) -> Array:
        """Derivative."""
        return -p * np.maximum(1 - p * o, 0)

    def second_derivative(self, o: Array, p: Array) -> Array:
        """Second derivative."""
        return np.where(p * o < 1, 1.0, 0.0)

    def conjugate_phi(self, y: Array, p: Array) -> Array:
        """Conjugate."""
        return p * y + 0.5 * y**2

    def slopes(self, p: Array) -> tuple[Array, Array]:
        """Its domain."""
        return np.where(p > 0, -np.inf, 0.0), np.where(p > 0, 0.0, np.inf)


COUNTS = [31, 17, 11, 11, 5]
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}
BIAS_DECAYS = [0.0, 1e-6, 0.1, 20.0, math.inf]


def encoding_of(loss: ec.ufm.SeparableLoss, dense: bool) -> ec.encodings.Encoding:
    rng = np.random.default_rng(4)
    if isinstance(loss, SquaredHinge):
        signs = rng.choice([-1.0, 1.0], (3, 5))
        return ec.encodings.Encoding(signs) if dense else ec.encodings.one_vs_rest(5)
    return ec.encodings.Encoding(rng.standard_normal((3, 5))) if dense else ec.encodings.one_hot(5)


def brute_force(problem: ec.ufm.Problem, loss: ec.ufm.SeparableLoss) -> float:
    """Least of a few descents over (W, M, b)."""
    targets, priors = problem.encoding.codewords, problem.priors
    (q, k), d = targets.shape, max(targets.shape)
    has_bias = not math.isinf(problem.bias_decay)
    decay = problem.bias_decay if has_bias else 0.0

    def objective(flat: Array) -> tuple[float, Array]:
        w, m = flat[: q * d].reshape(q, d), flat[q * d : d * (q + k)].reshape(d, k)
        b = flat[d * (q + k) :] * has_bias
        outputs = w @ m + b[:, None]
        pull = loss.slope(outputs, targets) * priors
        value = float((loss.phi(outputs, targets) * priors).sum())
        value += 0.5 * problem.weight_decay * float((w**2).sum()) + 0.5 * decay * float(b @ b)
        value += 0.5 * problem.feature_decay * float((problem.counts * m**2).sum())
        parts = [
            pull @ m.T + problem.weight_decay * w,
            w.T @ pull + problem.feature_decay * problem.counts * m,
            (pull.sum(axis=1) + decay * b) * has_bias,
        ]
        return value, np.concatenate([part.ravel() for part in parts])

    rng = np.random.default_rng(1)
    options = {"maxiter": 9000, "maxfun": 15000, "ftol": 1e-16, "gtol": 1e-11}
    starts = (0.5 * rng.standard_normal(d * (q + k) + q) for _ in range(2))
    return min(float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun) for start in starts)


@pytest.mark.parametrize("bias_decay", BIAS_DECAYS)
@pytest.mark.parametrize("dense", [False, True], ids=["groups", "dense"])
@pytest.mark.parametrize("loss", [Huber(), SquaredHinge(), HalfSquares()], ids=lambda loss: loss.name)
def test_a_loss_of_ones_own_is_certified(loss: ec.ufm.SeparableLoss, dense: bool, bias_decay: float) -> None:
    problem = ec.ufm.Problem(encoding_of(loss, dense), COUNTS, bias_decay=bias_decay, loss=loss, **DECAYS)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    assert solution.rank > 0
    assert ec.ufm.objective(problem, *solution.parameters()) == pytest.approx(solution.loss, rel=1e-11)
    best = brute_force(problem, loss)
    assert solution.loss <= best * (1 + 1e-8)
    assert solution.certificate.lower_bound <= best


@pytest.mark.parametrize("bias_decay", BIAS_DECAYS)
def test_squares_are_the_squared_error(bias_decay: float) -> None:
    encoding = encoding_of(HalfSquares(), dense=True)
    given: dict[str, Any] = {"bias_decay": bias_decay, **DECAYS}
    own = ec.ufm.solve(ec.ufm.Problem(encoding, COUNTS, loss=HalfSquares(), **given))
    exact = ec.ufm.solve(ec.ufm.Problem(encoding, COUNTS, **given))
    assert own.loss == pytest.approx(exact.loss, rel=1e-9)
    np.testing.assert_allclose(own.bias, exact.bias, atol=1e-5)
    np.testing.assert_allclose(own.geometry.feature_gram, exact.geometry.feature_gram, atol=1e-3)


def test_nothing_learned_with_the_best_bias_of_a_loss_that_is_not_linear_in_the_target() -> None:
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(4), [40, 9, 5, 3], weight_decay=1.0, feature_decay=1.0, bias_decay=0.2, loss=Huber()
    )
    solution = ec.ufm.solve(problem)
    assert solution.status is ec.ufm.Status.COLLAPSED
    loss, labels = Huber(), np.eye(4)
    slope = (loss.slope(solution.bias[:, None], labels) * problem.priors).sum(axis=1)
    np.testing.assert_allclose(slope + 0.2 * solution.bias, 0, atol=1e-12)


def test_the_bias_decay_may_change_under_a_loss_of_ones_own() -> None:
    problem = ec.ufm.Problem(ec.encodings.one_vs_rest(5), COUNTS, loss=SquaredHinge(), **DECAYS)
    path = ec.ufm.bias_path(problem, [0.0, 0.1, math.inf])
    assert all(solution.certificate.holds for solution in path.solutions)
    assert problem.loss == "squared_hinge"
    assert problem.critical_bias_decay() is None


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (Huber, ArgumentTypeError, "the class Huber; call it"),
        (object(), ArgumentTypeError, "without name, smoothness"),
        ("hinge", ArgumentError, "'hinge'"),
        (None, ArgumentTypeError, "without name"),
        (type("Named", (HalfSquares,), {"name": "mse"})(), ArgumentError, "name of its own"),
        (type("Unnamed", (ec.ufm.SeparableLoss,), {})(), ArgumentTypeError, "without name, smoothness"),
        (type("Flat", (HalfSquares,), {"smoothness": 0.0})(), ArgumentError, "smoothness"),
    ],
)
def test_what_is_no_loss_is_refused(loss: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ec.ufm.Problem(ec.encodings.one_hot(3), 4, loss=loss, **DECAYS)  # type: ignore[arg-type]


def test_targets_that_a_loss_does_not_take() -> None:
    with pytest.raises(ArgumentError, match="±1"):
        ec.ufm.Problem(ec.encodings.one_hot(3), 4, loss=SquaredHinge(), **DECAYS)


def test_the_old_name_of_the_second_derivative_is_read_with_a_warning() -> None:
    with pytest.warns(EncollapseWarning, match=r"Old\.bend is called second_derivative"):

        class Old(ec.ufm.SeparableLoss):
            name = "old"
            smoothness = 1.0

            def bend(self, o: Array, p: Array) -> Array:
                return np.full_like(o, 0.75)

    outputs = np.zeros((3, 5))
    assert (Old().curvature(outputs, outputs, outputs).diagonal == 0.75).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_minimum_of_exactly_zero_is_proved(sign: float) -> None:
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(np.full((3, 5), sign)), 7, loss=SquaredHinge(), weight_decay=5e-3, feature_decay=1e-4
    )
    solution = ec.ufm.solve(problem)
    assert solution.loss == 0.0
    assert solution.certificate.holds
    assert solution.certificate.gap == 0.0


@pytest.mark.parametrize("row", [0.0, 1.0])
def test_an_infimum_that_is_not_attained_is_refused(row: float) -> None:
    """A logistic loss falls for ever where no class, or every class, asks for an output; its slopes tell."""
    words = np.vstack([np.eye(5), np.full(5, row)])
    decays: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-4}
    with pytest.raises(ArgumentError, match="no minimizer"):
        ec.ufm.Problem(ec.encodings.Encoding(words), [3, 7, 11, 2, 5], loss=Logistic(), **decays)
    assert ec.ufm.solve(
        ec.ufm.Problem(ec.encodings.Encoding(words), [3, 7, 11, 2, 5], loss=Logistic(), bias_decay=0.1, **decays)
    ).certificate.holds
    assert ec.ufm.Problem(ec.encodings.one_hot(5), 7, loss=Logistic(), **decays).bias_decay == 0.0
