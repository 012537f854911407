"""Bounds on norms: closed forms, projections onto a ball of the nuclear norm, explicit descents, and what merges."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec

Array = NDArray[np.float64]


@pytest.mark.parametrize("average", ["classes", "samples"])
def test_balanced_classes_form_a_simplex_whose_norms_are_the_bounds(average: str) -> None:
    k, weight_bound, feature_bound = 6, 3.0, 2.0
    solution = ec.ufm.solve_layer_peeled(
        ec.encodings.one_hot(k), 5, weight_bound=weight_bound, feature_bound=feature_bound, average=average
    )
    # At a simplex of these norms ⟨w_k, h_k⟩ = √(E_W E_H) and ⟨w_l, h_k⟩ is -1/(K-1) of it.
    margin = k / (k - 1) * math.sqrt(weight_bound * feature_bound)
    assert solution.loss == pytest.approx(math.log1p((k - 1) * math.exp(-margin)), rel=1e-9)
    weight, means, _ = solution.parameters()
    np.testing.assert_allclose((weight**2).sum(axis=1), weight_bound, rtol=1e-8)
    np.testing.assert_allclose((means**2).sum(axis=0), feature_bound, rtol=1e-8)
    assert solution.geometry.distance("simplex_etf") < 1e-8
    assert solution.certificate.holds
    assert solution.status is ec.ufm.Status.OPTIMAL


def simplex_projection(values: Array, bound: float) -> Array:
    """Nearest vector of entries above 0 with that sum: the entries above a level, less it."""
    level = max((values[: j + 1].sum() - bound) / (j + 1) for j in range(len(values)))
    return np.asarray(np.maximum(values - level, 0.0))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_squared_error_projects_the_labels_onto_a_ball_of_the_nuclear_norm(share: float) -> None:
    labels, counts = np.random.default_rng(4).standard_normal((3, 5)), np.array([30, 9, 2, 15, 4])
    weighted = labels * np.sqrt(counts / counts.sum())
    values = np.linalg.svd(weighted, compute_uv=False)
    bound = share * values.sum()
    solution = ec.ufm.solve_layer_peeled(
        ec.encodings.Encoding(labels),
        counts,
        weight_bound=bound / 3,
        feature_bound=bound,
        loss="mse",
        average="samples",
    )
    projected = simplex_projection(values, bound)
    assert solution.loss == pytest.approx(0.5 * float(((values - projected) ** 2).sum()), rel=1e-9)
    np.testing.assert_allclose(solution.factors.singular_values(), projected, atol=1e-7)
    assert solution.multiplier == pytest.approx((values - projected)[0], rel=1e-4)


@pytest.mark.parametrize(("bias_decay", "loss"), [(math.inf, "mse"), (0.0, "mse"), (0.0, "cross_entropy")])
def test_bounds_that_do_not_bind_leave_the_least_loss(bias_decay: float, loss: str) -> None:
    encoding = ec.encodings.label_smoothing(4, 0.3)
    solution = ec.ufm.solve_layer_peeled(
        encoding, [5, 9, 2, 4], weight_bound=50.0, feature_bound=50.0, loss=loss, bias_decay=bias_decay
    )
    labels = encoding.codewords
    least = 0.0 if loss == "mse" else float(-(labels * np.log(labels)).sum(axis=0)[0])
    assert solution.loss == pytest.approx(least, rel=1e-12, abs=1e-20)
    assert solution.multiplier == 0.0
    weight, means, bias = solution.parameters()
    outputs = weight @ means + bias[:, None]
    if loss == "mse":
        np.testing.assert_allclose(outputs, labels, atol=1e-12)
    else:
        np.testing.assert_allclose(np.exp(outputs) / np.exp(outputs).sum(axis=0), labels, atol=1e-12)
    assert (weight**2).sum() / 4 < 50.0
    assert (means**2).sum() / 4 < 50.0


def descended(labels: Array, shares: Array, radii: tuple[float, float], seed: int) -> tuple[float, Array]:
    """Cross-entropy at the end of a descent on W and M of Frobenius norms `radii`, and M."""
    q, k = labels.shape
    half = q * k

    def value(x: Array) -> tuple[float, Array]:
        free = x[:half].reshape(q, k), x[half:].reshape(k, k)
        lengths = [float(np.linalg.norm(part)) for part in free]
        weight, means = (part * (r / n) for part, r, n in zip(free, radii, lengths, strict=True))
        outputs = weight @ means
        powers = np.exp(outputs - outputs.max(axis=0))
        soft = powers / powers.sum(axis=0)
        change = shares * (soft - labels)
        slopes = [change @ means.T, weight.T @ change]
        for i, part in enumerate((weight, means)):
            slopes[i] = (slopes[i] - part * np.sum(part * slopes[i]) / radii[i] ** 2) * (radii[i] / lengths[i])
        return float(-(shares * labels * np.log(soft)).sum()), np.concatenate([s.ravel() for s in slopes])

    start = np.random.default_rng(seed).standard_normal(half + k * k)
    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 0.0, "gtol": 1e-10}
    found = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
    means = found.x[half:].reshape(k, k)
    return float(found.fun), means * (radii[1] / np.linalg.norm(means))


def cosine(means: Array) -> float:
    """Of the last two columns."""
    return float(means[:, -2] @ means[:, -1] / np.linalg.norm(means[:, -2]) / np.linalg.norm(means[:, -1]))


@pytest.mark.parametrize("frequent", [6, 40])
def test_rare_classes_merge_or_not_as_in_an_explicit_descent(frequent: int) -> None:
    counts = np.array([frequent] * 2 + [4] * 2)
    solution = ec.ufm.solve_layer_peeled(ec.encodings.one_hot(4), counts, weight_bound=1.0, feature_bound=1.0)
    # The average over classes of |h|² is a quarter of the squared Frobenius norm.
    radii = 2.0, 2.0
    ends = [descended(np.eye(4), counts / counts.sum(), radii, seed) for seed in range(3)]
    lowest, means = min(ends, key=lambda end: end[0])
    assert solution.loss == pytest.approx(lowest, rel=1e-7)
    assert solution.certificate.lower_bound <= lowest
    assert solution.geometry.cosine(2, 3) == pytest.approx(cosine(means), abs=2e-3)
    assert (solution.geometry.cosine(2, 3) > 1 - 1e-9) == (frequent == 40)


def test_rare_classes_merge_exactly_where_the_multiplier_reaches_their_share() -> None:
    counts = np.array([60, 60, 6, 6])
    share = 6 / 132
    # The contrast of two rare classes has the slope π_rare √K at every multiplier: merged means merged above it.
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(4),
        1,
        class_weights=4 * counts / counts.sum(),
        weight_decay=share,
        feature_decay=share,
        bias_decay=math.inf,
        loss="cross_entropy",
    )
    critical = float(ec.ufm.solve(problem).singular_values.sum()) / 2  # of √(E_W E_H)
    for factor, merged in ((0.99, True), (1.01, False)):
        bound = factor * critical
        solution = ec.ufm.solve_layer_peeled(ec.encodings.one_hot(4), counts, weight_bound=bound, feature_bound=bound)
        assert (solution.geometry.cosine(2, 3) > 1 - 1e-6) == merged


BAD: list[tuple[dict[str, Any], str]] = [
    ({"weight_bound": 0.0}, "weight_bound"),
    ({"feature_bound": -1.0}, "feature_bound"),
    ({"average": "groups"}, "average"),
    ({"bias_decay": -1.0}, "bias_decay"),
]


@pytest.mark.parametrize(("change", "name"), BAD)
def test_bad_values_are_named(change: dict[str, Any], name: str) -> None:
    values: dict[str, Any] = {"weight_bound": 1.0, "feature_bound": 1.0, **change}
    with pytest.raises(ec.errors.ArgumentError, match=name):
        ec.ufm.solve_layer_peeled(ec.encodings.one_hot(3), 5, **values)
