"""The objective, its units, the best head and the stationarity measure, against slow formulas and theorems."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.train import objective, stationarity
from encollapse.train.loop.nondimensionalize import Units
from encollapse.train.loop.ridge_head import best_head
from reference.ufm_reference import sample_objective

K, Q, D = 5, 3, 7
COUNTS = np.array([4, 2, 11, 6, 7])
N = int(COUNTS.sum())
LABELS = np.repeat(np.arange(K), COUNTS)


def sample(seed: int, bias: bool = True) -> dict[str, Any]:
    """Random network outputs for K = 5 classes: features, targets, head, decays."""
    rng = np.random.default_rng(seed)
    codewords = rng.standard_normal((Q, K))
    return {
        "codewords": codewords,
        "features": torch.tensor(rng.standard_normal((N, D))),
        "targets": torch.tensor(codewords.T[LABELS]),
        "weight": torch.tensor(rng.standard_normal((Q, D))),
        "bias": torch.tensor(rng.standard_normal(Q)) if bias else None,
        "decays": {
            "weight_decay": float(rng.uniform(0.01, 2)),
            "feature_decay": float(rng.uniform(0.001, 0.2)),
            "bias_decay": float(rng.uniform(0.01, 2)) if bias else math.inf,
        },
    }


def value(s: dict[str, Any], rows: Any = slice(None), **changed: Any) -> torch.Tensor:
    s = s | changed
    features, targets = s["features"][rows], s["targets"][rows]
    outputs = features @ s["weight"].T + (0 if s["bias"] is None else s["bias"])
    return objective(outputs, features, targets, s["weight"], s["bias"], num_samples=N, **s["decays"])


def judge(s: dict[str, Any]) -> Any:
    labels = torch.tensor(LABELS)
    return stationarity(s["features"], s["targets"], labels, s["weight"], s["bias"], **s["decays"])


@pytest.mark.parametrize("bias", [True, False])
def test_objective_of_the_whole_set_is_the_double_sum(bias: bool) -> None:
    s = sample(1, bias)
    by_class = [s["features"].numpy()[k == LABELS] for k in range(K)]
    vector = s["bias"].numpy() if bias else np.zeros(Q)
    decays = (s["decays"]["weight_decay"], s["decays"]["feature_decay"], s["decays"]["bias_decay"] if bias else 0.0)
    slow = sample_objective(s["codewords"], COUNTS, by_class, s["weight"].numpy(), vector, decays)
    assert float(value(s)) == pytest.approx(slow, rel=1e-12)


def test_minibatches_average_to_the_whole_set() -> None:
    s = sample(2)
    order = torch.tensor(np.random.default_rng(0).permutation(N))
    batches = order.reshape(6, N // 6)
    mean = sum(float(value(s, rows)) for rows in batches) / len(batches)
    assert mean == pytest.approx(float(value(s)), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias=st.booleans())
def test_training_units_multiply_the_objective_by_a_constant(seed: int, bias: bool) -> None:
    s = sample(seed, bias)
    size = float(s["targets"].square().sum(1).mean().sqrt())
    decays = s["decays"]
    units = Units.of(size, N, weight_decay=decays["weight_decay"], feature_decay=decays["feature_decay"])
    inner = {
        "features": s["features"] / units.feature,
        "targets": s["targets"] / units.codeword,
        "weight": s["weight"] / units.weight,
        "bias": s["bias"] / units.codeword if bias else None,
        "decays": decays | {"weight_decay": units.decay, "feature_decay": units.decay / N},
    }
    assert float(value(inner)) * units.codeword**2 == pytest.approx(float(value(s)), rel=1e-10)
    assert float(inner["targets"].square().sum(1).mean()) == pytest.approx(1.0)
    assert judge(inner).descent == pytest.approx(judge(s).descent, rel=1e-9)
    assert judge(inner).escape == pytest.approx(judge(s).escape, rel=1e-9)


def test_descent_is_the_gradient_in_the_regularized_variables() -> None:
    s = sample(3)
    leaves = {name: s[name].clone().requires_grad_() for name in ("features", "weight", "bias")}
    value(s, **leaves).backward()  # type: ignore[no-untyped-call]
    decays = s["decays"]
    total = (
        leaves["weight"].grad.square().sum() / decays["weight_decay"]
        + leaves["features"].grad.square().sum() / decays["feature_decay"]
        + leaves["bias"].grad.square().sum() / (1 + decays["bias_decay"])
    )
    assert judge(s).descent == pytest.approx(float(total / s["targets"].square().sum(1).mean()), rel=1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 0.3, 50.0, math.inf])
def test_the_exact_minimizer_is_stationary(bias_decay: float) -> None:
    encoding = ec.encodings.random(K, Q, seed=4)
    decays: dict[str, Any] = {"weight_decay": 0.02, "feature_decay": 0.004, "bias_decay": bias_decay}
    weight, means, bias = ec.ufm.solve(ec.ufm.Problem(encoding, COUNTS, **decays)).parameters(D)
    s = {
        "features": torch.tensor(means.T[LABELS]),
        "targets": torch.tensor(encoding.encode(LABELS)),
        "weight": torch.tensor(weight),
        "bias": None if math.isinf(bias_decay) else torch.tensor(bias),
        "decays": decays,
    }
    assert judge(s).descent < 1e-20
    assert judge(s).escape < 1e-8


@pytest.mark.parametrize("t", [0.1, 0.3, 0.8, 1.5])
def test_escape_at_zero_is_what_the_threshold_leaves(t: float) -> None:
    # One-hot, balanced, free bias: |A - ē uᵀ|_op = 1/√K and c = t/√K, so zero is a saddle exactly for t < 1.
    n, k = 3, K
    labels = torch.arange(k).repeat(n)
    decay = t / math.sqrt(k) / math.sqrt(n * k)
    found = stationarity(
        torch.zeros(n * k, D, dtype=torch.float64),
        torch.eye(k, dtype=torch.float64)[labels],
        labels,
        torch.zeros(k, D, dtype=torch.float64),
        torch.full((k,), 1 / k, dtype=torch.float64),
        weight_decay=decay,
        feature_decay=decay,
        bias_decay=0.0,
    )
    assert found.descent < 1e-30
    assert found.escape == pytest.approx(max(0.0, 1 / t - 1), rel=1e-12)


def test_escape_sees_the_saddle_that_lacks_one_direction() -> None:
    """Drop the weakest direction of the minimizer: the gradient vanishes still, but F falls when it returns."""
    encoding = ec.encodings.random(K, Q, seed=5)
    decays: dict[str, Any] = {"weight_decay": 0.02, "feature_decay": 0.004, "bias_decay": math.inf}
    solution = ec.ufm.solve(ec.ufm.Problem(encoding, COUNTS, **decays))
    weight, means, _ = solution.parameters(D)
    _, _, right = np.linalg.svd(weight, full_matrices=False)
    keep = right[: solution.rank - 1]
    s: dict[str, Any] = {
        "features": torch.tensor((means.T @ keep.T @ keep)[LABELS]),
        "targets": torch.tensor(encoding.encode(LABELS)),
        "weight": torch.tensor(weight @ keep.T @ keep),
        "bias": None,
        "decays": decays,
    }
    assert judge(s).descent < 1e-20
    problem = solution.problem
    dropped = solution.singular_values[solution.rank - 1] / problem.threshold
    assert judge(s).escape == pytest.approx(dropped, rel=1e-6)
    step = 1e-3
    back = {
        "features": s["features"] + step * torch.tensor((means.T - means.T @ keep.T @ keep)[LABELS]),
        "weight": s["weight"] + step * torch.tensor(weight - weight @ keep.T @ keep),
    }
    assert float(value(s | back)) < float(value(s))


def test_rectified_features_are_stationary_where_they_cannot_move() -> None:
    s = sample(6)
    s["features"] = torch.zeros(N, D, dtype=torch.float64)
    # A head whose pull on every feature is negative: (W h + b - e) W > 0 in every entry.
    s["weight"] = torch.ones(Q, D, dtype=torch.float64)
    s["bias"] = s["targets"].max(0).values + 1
    labels = torch.tensor(LABELS)
    arguments = (s["features"], s["targets"], labels, s["weight"], s["bias"])
    free, bound = (stationarity(*arguments, rectified=r, **s["decays"]) for r in (False, True))
    assert bound.descent < free.descent
    assert bound.escape == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bias=st.booleans())
def test_the_best_head_has_no_gradient(seed: int, bias: bool) -> None:
    s = sample(seed, bias)
    decays = s["decays"]
    weight, vector = best_head(
        s["features"], s["targets"], weight_decay=decays["weight_decay"], bias_decay=decays["bias_decay"]
    )
    assert (vector is None) is (not bias)
    leaves = {"weight": weight.requires_grad_(), "bias": None if vector is None else vector.requires_grad_()}
    value(s, **leaves).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert float(weight.grad.abs().max()) < 1e-12
    if vector is not None:
        assert vector.grad is not None
        assert float(vector.grad.abs().max()) < 1e-12
