"""Gradient flow against its conservation law, a closed form, the certified minimum and the measured rate."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError

COUNTS = [11, 7, 5, 3, 2]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@given(seed=st.integers(0, 10**6), decay=st.sampled_from([1e-3, 3e-2]))
def test_the_imbalance_of_the_layers_decays_at_twice_the_decay(loss: str, seed: int, decay: float) -> None:
    """With equal decays ``WᵀW - HHᵀ`` shrinks as ``exp(-2λt)``, whatever the loss."""
    encoding = ec.encodings.random(5, 3, seed=1) if loss == "mse" else ec.encodings.label_smoothing(5, 0.1)
    problem = ec.ufm.Problem(encoding, COUNTS, weight_decay=decay, feature_decay=decay, bias_decay=0.3, loss=loss)
    flow = ec.ufm.flow(problem, [0.0, 7.0, 23.0], feature_dim=7, scale=1.0, seed=seed)
    features = flow.class_means * np.sqrt(problem.counts)
    excess = flow.weights.transpose(0, 2, 1) @ flow.weights - features @ features.transpose(0, 2, 1)
    for time, found in zip(flow.times, excess, strict=True):
        np.testing.assert_allclose(found, excess[0] * math.exp(-2 * decay * time), atol=1e-6)
    assert (np.diff(flow.losses) < 0).all()


def test_a_balanced_start_along_the_labels_grows_as_a_logistic_curve() -> None:
    """Each mode s of ``W H`` obeys ``ds/dt = 2s((a - s)/N - λ)`` on its own."""
    decay, total = 1e-2, sum(COUNTS)
    encoding = ec.encodings.random(5, 3, seed=2)
    problem = ec.ufm.Problem(encoding, COUNTS, weight_decay=decay, feature_decay=decay, bias_decay=math.inf)
    left, a, right = np.linalg.svd(encoding.codewords * np.sqrt(COUNTS), full_matrices=False)
    start, times = 1e-3, np.array([0.0, 13.0, 29.0, 61.0])
    flow = ec.ufm.flow(
        problem, times, weight=left * math.sqrt(start), class_means=math.sqrt(start) * right / np.sqrt(COUNTS)
    )
    end = a - total * decay
    expected = end / (1 + (end / start - 1) * np.exp(-2 * end * times[:, None] / total))
    np.testing.assert_allclose(flow.singular_values * math.sqrt(total), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_it_ends_in_the_minimum_at_the_rate_of_the_hessian(loss: str) -> None:
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(5), COUNTS, weight_decay=1e-2, feature_decay=1e-3, bias_decay=0.1, loss=loss
    )
    solution = ec.ufm.solve(problem)
    slowest = ec.ufm.rates(solution)[0]
    flow = ec.ufm.flow(problem, np.array([5.0, 6.0, 7.0]) / slowest, scale=1.0, seed=3)
    excess = flow.losses - solution.loss
    assert (excess > -1e-12).all()
    assert flow.geometry(-1).distance(solution.geometry) < 1e-2
    np.testing.assert_allclose(np.diff(np.log(excess)), -2, rtol=0.1)


@pytest.mark.parametrize("bias_decay", [0.0, 0.2, math.inf])
def test_no_rate_belongs_to_what_changes_nothing(bias_decay: float) -> None:
    """Under cross-entropy a constant added to all entries of a free bias is one more such direction."""
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(3), [6, 7, 1], weight_decay=0.02, feature_decay=2e-3, bias_decay=bias_decay,
        loss="cross_entropy",
    )  # fmt: skip
    assert ec.ufm.rates(ec.ufm.solve(problem))[0] > 1e-4


def test_what_does_not_flow_is_named() -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(3), 5, weight_decay=1e-2, feature_decay=1e-3)
    deep = ec.ufm.Problem(ec.encodings.one_hot(3), 5, weight_decay=1e-2, feature_decay=1e-3, depth=2)
    with pytest.raises(ArgumentError, match="sets depth"):
        ec.ufm.flow(deep, [1.0])
    with pytest.raises(ArgumentError, match="times: expected increasing"):
        ec.ufm.flow(problem, [2.0, 1.0])
    with pytest.raises(ArgumentError, match="give both"):
        ec.ufm.flow(problem, [1.0], weight=np.ones((3, 2)))
    with pytest.raises(ArgumentError, match=r"class_means: .*\(2, 3\)"):
        ec.ufm.flow(problem, [1.0], weight=np.ones((3, 2)), class_means=np.ones((3, 3)))
    with pytest.raises(ArgumentTypeError, match="expected a Problem"):
        ec.ufm.flow("one-hot", [1.0])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="expected a Solution"):
        ec.ufm.rates(problem)  # type: ignore[arg-type]
