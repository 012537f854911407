"""Arguments of the wrong kind or size are refused by the package's own errors, which name them."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError, EncollapseError, MemoryLimitError

DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 2e-3}
PROBLEM = ec.ufm.Problem(ec.encodings.one_hot(5), 7, **DECAYS)
BEYOND: Any = 10**400
ANY: Any = ec

REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "one number for a path": ("bias_decays", lambda: ANY.ufm.bias_path(PROBLEM, 0.5)),
    "a path of no problem": ("problem", lambda: ANY.ufm.bias_path(3, [0.5])),
    "an objective of no problem": ("problem", lambda: ANY.ufm.objective(3, np.eye(5), np.eye(5))),
    "a start that is no solution": ("warm_start", lambda: ANY.ufm.solve(PROBLEM, warm_start=3)),
    "a number of names": ("classes", lambda: ANY.encodings.one_hot(3, classes=3)),
    "a list for a path": ("path", lambda: ANY.encodings.Encoding.load([])),
    "an array for a word": ("features", lambda: ANY.ufm.Problem(PROBLEM.encoding, 7, features=np.ones(3), **DECAYS)),
    "a string for a dimension": ("feature_dim", lambda: ANY.ufm.solve(PROBLEM).parameters(feature_dim="1")),
    "a decay beyond float64": ("bias_decay", lambda: ec.ufm.Problem(PROBLEM.encoding, 7, bias_decay=BEYOND, **DECAYS)),
    "an entry beyond float64": ("on", lambda: ec.encodings.scaled_one_hot(3, on=BEYOND, off=0)),
    "samples beyond float64": ("counts", lambda: ec.ufm.Problem(PROBLEM.encoding, 2**62, **DECAYS)),
    "layers beyond memory": ("depth", lambda: ec.ufm.Problem(PROBLEM.encoding, 7, depth=BEYOND, **DECAYS)),
    "classes beyond float64": ("num_classes", lambda: ec.encodings.one_hot(BEYOND)),
}  # fmt: skip
REFUSED["an array for a loss"] = ("loss", lambda: PROBLEM.encoding.decode(np.eye(5), loss=np.ones(3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_argument_is_refused_by_name(name: str) -> None:
    argument, call = REFUSED[name]
    with pytest.raises(EncollapseError, match=f"^{argument}: "):
        call()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.encodings.ordinal(2**31),
        lambda: ec.encodings.hadamard(10**30),
        lambda: ec.encodings.hadamard(BEYOND),
        lambda: ec.encodings.random(30_000, 30_000),
        lambda: ec.encodings.circular(2**40),
        lambda: ec.encodings.simplex(2**40),
        lambda: ec.ufm.solve(PROBLEM).parameters(feature_dim=10**30),
    ],
)
def test_what_does_not_fit_is_refused_before_memory_is_taken(make: Callable[[], Any]) -> None:
    with pytest.raises(MemoryLimitError, match="GiB"):
        make()


@pytest.mark.parametrize("size", [1e-300, 1.7e-257, 3e-151, 1e151, 1e300])
def test_numbers_whose_squares_leave_float64_are_refused_by_name(size: float) -> None:
    encoding = PROBLEM.encoding
    with pytest.raises(ArgumentError, match=r"^weight_decay: "):
        ec.ufm.Problem(encoding, 7, weight_decay=size, feature_decay=1e-3)
    with pytest.raises(ArgumentError, match=r"^feature_decay: "):
        ec.ufm.Problem(encoding, 7, weight_decay=1e-3, feature_decay=size)
    with pytest.raises(ArgumentError, match=r"^encoding: "):
        ec.ufm.Problem(ec.encodings.Encoding(size * np.eye(3)), 7, **DECAYS)


@pytest.mark.parametrize("size", [5e-324, 1e-320, 1e-310, 9e-301, 1.1e300])
def test_prices_of_which_digits_or_reciprocals_leave_float64_are_refused_by_name(size: float) -> None:
    encoding = PROBLEM.encoding
    for make in (
        lambda: ec.ufm.Problem(encoding, 7, bias_decay=size, **DECAYS),
        lambda: ec.ufm.Problem(encoding, 7, bias_decay=size, loss="cross_entropy", **DECAYS),
        lambda: ec.ufm.bias_path(PROBLEM, [0.0, size]),
        lambda: ec.ufm.TailProblem(
            encoding, [0, 1, 2], np.eye(3), weight_decay=1e-3, inner_decay=1e-3, bias_decay=size
        ),
        lambda: ec.ufm.sample_norm_problem(
            encoding, 7, feature_dim=5, weight_decay=1e-3, gain_decay=1e-3, bias_decay=size
        ),
    ):
        with pytest.raises(ArgumentError, match=r"^bias_decay: expected 0, infinity or 1e-300 to 1e\+300"):
            make()
    with pytest.raises(ArgumentError, match=r"^class_weights: "):
        ec.ufm.Problem(encoding, 7, class_weights=[1.0, size, 1.0, 1.0, 1.0], **DECAYS)
    with pytest.raises(ArgumentError, match=r"^feature_mean_decay: expected 0, infinity or 1e-300 to 1e\+300 times"):
        ec.ufm.Problem(encoding, 7, feature_mean_decay=size if size > 1 else max(1e-3 * size, 5e-324), **DECAYS)


@pytest.mark.parametrize("features", ["linear", "relu"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_extreme_bias_decays_within_the_range_give_the_minimum_at_their_limit(
    features: str, loss: str, size: float
) -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, bias_decay=size, loss=loss, features=features, **DECAYS)
    limit = problem.with_bias_decay(0.0 if size < 1 else math.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ec.ufm.solve(problem)
    assert found.loss == pytest.approx(ec.ufm.solve(limit).loss, rel=1e-9)


def test_a_threshold_far_beyond_the_labels_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"threshold c"):
        ec.ufm.Problem(PROBLEM.encoding, 7, weight_decay=1e-100, feature_decay=1e-100)
    with pytest.raises(ArgumentError, match=r"threshold c"):
        ec.ufm.Problem(PROBLEM.encoding, 7, weight_decay=1e-40, feature_decay=1e-40, loss="cross_entropy")


def test_a_mean_of_the_features_that_is_all_but_free_is_refused() -> None:
    problem = ec.ufm.Problem(ec.encodings.random(5, 3), 7, bias_decay=1.0, feature_mean_decay=1e-30, **DECAYS)
    with pytest.raises(ArgumentError, match=r"^feature_mean_decay: "):
        ec.ufm.solve(problem)
