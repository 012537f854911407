"""The central path against small steps of all features, with the last layer fitted anew and renormalized after each."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError

K, EACH, D = 4, 7, 5
LABELS = np.repeat(np.arange(K), EACH)
TARGETS = np.eye(K)[LABELS].T


def split(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Class means (d, K) about their mean, and what samples (d, N) have about them."""
    means = np.stack([features[:, k == LABELS].mean(axis=1) for k in range(K)], axis=1)
    return means - means.mean(axis=1, keepdims=True), features - means[:, LABELS]


def renormalized(features: NDArray[np.float64]) -> NDArray[np.float64]:
    means, within = split(features)
    values, vectors = np.linalg.eigh(within @ within.T / len(LABELS))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    return np.asarray(root @ (means[:, LABELS] + within))


def loss_and_gradient(features: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Half the mean squared error of the least-squares layer, whose own gradient is zero."""
    rows = np.vstack([features, np.ones(len(LABELS))])
    layer = np.linalg.lstsq(rows.T, TARGETS.T, rcond=None)[0].T
    residual = layer @ rows - TARGETS
    return float((residual**2).sum() / (2 * len(LABELS))), layer[:, :-1].T @ residual / len(LABELS)


def tangent(features: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a gradient along which the within-class covariance stays one: without ``S X_within``, S symmetric."""
    _, within = split(features)
    covariance = within @ within.T
    product = gradient @ within.T
    values, vectors = np.linalg.eigh(covariance)
    turned = vectors.T @ (product + product.T) @ vectors
    weights = values[:, None] + values[None, :]
    return np.asarray(gradient - (vectors @ (turned / weights) @ vectors.T) @ within)


def followed(features: NDArray[np.float64], time: float, steps: int) -> NDArray[np.float64]:
    """Features after so many steps of the midpoint rule, which end on the manifold."""
    rate = time / steps
    for _ in range(steps):
        middle = renormalized(features - rate / 2 * tangent(features, loss_and_gradient(features)[1]))
        features = renormalized(features - rate * tangent(middle, loss_and_gradient(middle)[1]))
    return features


def test_small_steps_of_all_features_follow_it() -> None:
    random = np.random.default_rng(3)
    features = renormalized(0.7 * random.standard_normal((D, K))[:, LABELS] + random.standard_normal((D, len(LABELS))))
    start = np.linalg.svd(split(features)[0], compute_uv=False)[: K - 1]
    for time, steps in [(40.0, 200), (150.0, 400)]:
        path = ec.ufm.central_path(start, [0.0, time], num_classes=K, samples_per_class=EACH)
        found = followed(features, time, steps)
        values = np.linalg.svd(split(found)[0], compute_uv=False)[: K - 1]
        np.testing.assert_allclose(path.signal_to_noise, [start, values], rtol=1e-5)
        assert path.losses[0] == pytest.approx(loss_and_gradient(features)[0], rel=1e-12)
        assert path.losses[1] == pytest.approx(loss_and_gradient(found)[0], rel=1e-5)
        measured = ec.measure.collapse(found.T, LABELS)
        assert path.nc1[1] == pytest.approx(measured.nc1_pinv, rel=1e-4)


@given(
    start=st.lists(st.floats(1e-150, 1e70), min_size=1, max_size=6),
    time=st.one_of(st.just(0.0), st.floats(1e-9, 1e200)),
    k=st.integers(7, 300),
    n=st.integers(1, 10**6),
)
def test_the_sum_that_grows_with_time_does(start: list[float], time: float, k: int, n: int) -> None:
    """In 60 digits: the closed form of the paper, at any size."""
    path = ec.ufm.central_path(start, [time], num_classes=k, samples_per_class=n)
    with mpmath.workdps(60):

        def grown(value: float) -> mpmath.mpf:
            u = mpmath.mpf(value) ** 2 / k
            return mpmath.log(u) / 2 + u + u**2 / 4

        for before, after in zip(start, path.signal_to_noise[0], strict=True):
            wanted = grown(before) + mpmath.mpf(time) / (n * k**2)
            u = mpmath.mpf(float(after)) ** 2 / k
            # What an error of ω amounts to in the sum, and the rounding of the logarithm of ω.
            slope, digits = 1 + 2 * u + u**2, 1e-15 * (1 + abs(math.log(after)) + math.log(k))
            assert abs(grown(float(after)) - wanted) <= 50 * digits * slope
    assert (np.diff(path.signal_to_noise[0][np.argsort(start)]) >= 0).all()


def test_it_ends_in_collapse() -> None:
    path = ec.ufm.central_path([1e-3, 0.1, 3.0], [0.0, 1e3, 1e5, 1e9], num_classes=4, samples_per_class=5)
    assert (np.diff(path.losses) < 0).all()
    assert (np.diff(path.nc1) < 0).all()
    assert (np.diff(path.evenness) > 0).all()
    assert path.evenness[-1] > 0.99
    lost = ec.ufm.central_path([1e30], [1.0], num_classes=4, samples_per_class=5)
    assert lost.losses[0] == pytest.approx(2 / 8)  # two directions of three are never seen


@pytest.mark.parametrize(
    ("given_values", "message"),
    [
        ({"signal_to_noise": [1.0, 0.0]}, "signal_to_noise"),
        ({"signal_to_noise": []}, "signal_to_noise"),
        ({"signal_to_noise": [1.0, 2.0, 3.0, 4.0]}, "num_classes - 1 = 3"),
        ({"signal_to_noise": [1.0, math.nan]}, "signal_to_noise"),
        ({"times": [-1.0]}, "times"),
        ({"times": []}, "times"),
        ({"num_classes": 1}, "num_classes"),
        ({"samples_per_class": 0}, "samples_per_class"),
        ({"samples_per_class": 2.5}, "samples_per_class"),
    ],
)
def test_what_is_no_path_is_refused(given_values: dict[str, object], message: str) -> None:
    usual = {"signal_to_noise": [1.0, 2.0], "times": [1.0], "num_classes": 4, "samples_per_class": 5}
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        ec.ufm.central_path(**(usual | given_values))  # type: ignore[arg-type]
