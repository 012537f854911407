"""The excess in parts: against the objective, its signs, and the guarantee on the outputs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError

COUNTS = np.array([2, 3, 5, 7])
K, Q, D = 4, 3, 7
LABELS = np.repeat(np.arange(K), COUNTS)


def problem(loss: str = "mse", bias_decay: float = 0.3, features: str = "linear", **more: Any) -> ec.ufm.Problem:
    encoding = ec.encodings.one_hot(K) if loss == "cross_entropy" else ec.encodings.random(K, Q, seed=1)
    return ec.ufm.Problem(
        encoding,
        COUNTS,
        weight_decay=3e-3,
        feature_decay=2e-3,
        bias_decay=bias_decay,
        loss=loss,
        features=features,
        **more,
    )


def objective(p: ec.ufm.Problem, h: Any, w: Any, b: Any) -> float:
    """The double sum, sample by sample."""
    total = 0.0
    for row, label in zip(h, LABELS, strict=True):
        o, e = w @ row + b, p.encoding.codewords[:, label]
        if p.loss == "mse":
            total += 0.5 * float(((o - e) ** 2).sum())
        else:
            total -= float(e @ (o - np.log(np.exp(o).sum())))
    bias = 0.0 if not b.any() else 0.5 * p.bias_decay * float(b @ b)
    return float(
        total / len(LABELS) + 0.5 * p.weight_decay * (w**2).sum() + 0.5 * p.feature_decay * (h**2).sum() + bias
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    loss=st.sampled_from(["mse", "cross_entropy"]),
    decay=st.sampled_from([0.0, 1e-3, 0.4, 30.0, math.inf]),
    size=st.sampled_from([0.0, 1e-4, 0.1, 3.0]),
)
def test_parts_add_up_are_not_negative_and_the_guarantee_holds(seed: int, loss: str, decay: float, size: float) -> None:
    p = problem(loss, decay)
    rng = np.random.default_rng(seed)
    solution = ec.ufm.solve(p)
    w, m, b = solution.parameters(feature_dim=D, seed=seed)
    h = m.T[LABELS] + size * rng.standard_normal((len(LABELS), D))
    w = w + size * rng.standard_normal(w.shape)
    b = b if math.isinf(decay) else b + size * rng.standard_normal(b.shape)
    e = ec.ufm.excess(p, h, LABELS, w, b)
    scale = max(e.loss, 1e-3)
    assert e.loss == pytest.approx(objective(p, h, w, b), rel=1e-12)
    assert e.unbalanced + e.within + e.between == pytest.approx(e.total, abs=1e-9 * scale)
    assert min(e.unbalanced, e.within, e.between) >= -1e-9 * scale
    assert e.total == pytest.approx(e.loss - solution.certificate.lower_bound, abs=1e-12 * scale)
    assert e.distance is not None
    assert e.distance <= e.guarantee + 1e-9 * scale


def test_each_part_is_what_its_name_says() -> None:
    p = problem()
    w, m, b = ec.ufm.solve(p).parameters(feature_dim=D)
    h = m.T[LABELS]
    exact = ec.ufm.excess(p, h, LABELS, w, b)
    assert exact.total < 1e-14
    scaled = ec.ufm.excess(p, 2 * h, LABELS, w / 2, b)
    assert scaled.unbalanced == pytest.approx(scaled.total, rel=1e-9)
    noise = np.random.default_rng(0).standard_normal(h.shape)
    for k in range(K):
        noise[k == LABELS] -= noise[k == LABELS].mean(axis=0)
    spread = ec.ufm.excess(p, h + 0.1 * noise, LABELS, w, b)
    assert abs(spread.between) < 1e-14
    assert spread.within > 0
    moved = ec.ufm.excess(p, 1.1 * h, LABELS, 1.1 * w, b)
    assert moved.between == pytest.approx(moved.total, rel=1e-9)


def test_rounding_is_shown_as_zero_and_kept_in_the_values() -> None:
    p = problem()
    w, m, b = ec.ufm.solve(p).parameters(feature_dim=D)
    found = ec.ufm.excess(p, m.T[LABELS], LABELS, w, b)
    rounded = dataclasses.replace(found, unbalanced=1e-3, within=-4 * np.finfo(float).eps * found.loss, between=-1e-9)
    words = dict(line.rsplit(None, 1) for line in map(str.strip, str(rounded).splitlines()))
    assert words["within classes"] == "0"
    assert words["layers unbalanced"] == "0.001"
    assert words["between classes"] == "-1e-09"  # no rounding: a fault that a reader should see
    assert rounded.to_dict()["within"] == rounded.within < 0


def test_nonnegative_features_have_parts_too() -> None:
    p = problem(features="relu")
    solution = ec.ufm.solve(p, throw=False)
    w, m, b = solution.parameters(feature_dim=2 * K)
    h = np.abs(m.T[LABELS] + 0.1 * np.random.default_rng(0).standard_normal((len(LABELS), 2 * K)))
    e = ec.ufm.excess(p, h, LABELS, w, b)
    assert e.loss == pytest.approx(objective(p, h, w, b), rel=1e-12)
    assert e.unbalanced + e.within + e.between == pytest.approx(e.total, abs=1e-12)
    assert min(e.unbalanced, e.within, e.between) >= 0
    with pytest.raises(ArgumentError, match="features: the problem has features='relu'"):
        ec.ufm.excess(p, -h, LABELS, w, b)


P = 6
ACTIVATIONS = np.random.default_rng(4).standard_normal((len(LABELS), P)) + 2 * np.eye(K, P)[LABELS]


def tail(loss: str = "mse", bias_decay: float = 0.3, inner_bias_decay: float = math.inf) -> ec.ufm.TailProblem:
    encoding = ec.encodings.one_hot(K) if loss == "cross_entropy" else ec.encodings.random(K, Q, seed=1)
    return ec.ufm.TailProblem(
        encoding,
        LABELS,
        ACTIVATIONS,
        weight_decay=0.03,
        inner_decay=0.02,
        inner_bias_decay=inner_bias_decay,
        bias_decay=bias_decay,
        loss=loss,
    )


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(("decay", "inner_decay"), [(0.0, math.inf), (0.4, 0.5), (math.inf, math.inf), (3.0, 1e-3)])
def test_parts_of_a_tail_add_up_and_its_guarantee_holds(loss: str, decay: float, inner_decay: float) -> None:
    """Against the explicit sum over head, inner layer, their biases and samples, at random layers and at the best."""
    p = tail(loss, decay, inner_decay)
    solution = ec.ufm.solve(p)
    scale = math.sqrt(0.02 / 0.03)
    # A balanced split of the minimizer: its features belong to the least inner layer.
    left, singular, right = np.linalg.svd(solution.matrix, full_matrices=False)
    best_w, best_v = left * np.sqrt(singular * scale), np.sqrt(singular / scale)[:, None] * right
    best_a = best_v[:, P] / math.sqrt(inner_decay / 0.02) if best_v.shape[1] > P else np.zeros(len(best_v))
    rng = np.random.default_rng(1)
    for size in (0.0, 1e-3, 0.3, 2.0):
        w = best_w + size * rng.standard_normal(best_w.shape)
        v = best_v[:, :P] + size * rng.standard_normal((len(best_v), P))
        a = best_a + (0.0 if math.isinf(inner_decay) else size * rng.standard_normal(len(best_a)))
        b = solution.bias + (0.0 if math.isinf(decay) else size * rng.standard_normal(len(solution.bias)))
        h = ACTIVATIONS @ v.T + a
        inner = v if math.isinf(inner_decay) else (v, a)
        e = ec.ufm.excess(p, h, LABELS, w, b, inner=inner)
        explicit = objective(dataclasses.replace(problem(loss, decay), weight_decay=0.03, feature_decay=1e-9), h, w, b)
        explicit += 0.5 * 0.02 * float((v**2).sum()) - 0.5e-9 * float((h**2).sum())
        explicit += 0.0 if math.isinf(inner_decay) else 0.5 * inner_decay * float(a @ a)
        assert e.loss == pytest.approx(explicit, rel=1e-12)
        assert abs(e.unbalanced + e.within + e.between - e.total) <= 1e-9
        assert e.total == pytest.approx(e.loss - solution.certificate.lower_bound, abs=1e-12)
        assert min(e.unbalanced, e.between) >= -1e-12
        assert e.within == 0.0
        assert e.distance is not None
        assert e.distance <= e.guarantee + 1e-12
        # Without the layer, the least one with these features: a full column rank leaves no other.
        again = ec.ufm.excess(p, h, LABELS, w, b)
        assert again.loss == pytest.approx(e.loss, rel=1e-9)
        if size == 0.0:
            assert e.total < 1e-7 * e.loss


def test_a_tail_wider_than_its_samples_takes_the_least_layer() -> None:
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((len(LABELS), 29))
    p = ec.ufm.TailProblem(ec.encodings.one_hot(K), LABELS, wide, weight_decay=0.03, inner_decay=0.02, bias_decay=0.1)
    w, v = rng.standard_normal((K, D)), rng.standard_normal((D, 29))
    off = v - v @ np.linalg.pinv(wide) @ wide  # what the activations do not see
    given = ec.ufm.excess(p, wide @ v.T, LABELS, w, inner=v)
    least = ec.ufm.excess(p, wide @ v.T, LABELS, w)
    assert given.loss - least.loss == pytest.approx(0.5 * 0.02 * float((off**2).sum()), rel=1e-9)
    assert given.distance == pytest.approx(least.distance, rel=1e-9)
    assert given.total > least.total


def test_what_does_not_fit_a_tail_is_refused() -> None:
    p = tail()
    w, v = np.ones((Q, D)), np.ones((D, P))
    h = ACTIVATIONS @ v.T
    with pytest.raises(ArgumentError, match="labels: they are not those of the tail problem"):
        ec.ufm.excess(p, h, LABELS[::-1], w)
    with pytest.raises(ArgumentError, match=r"features: they are .* away from a linear layer"):
        ec.ufm.excess(p, np.maximum(ACTIVATIONS[:, :1], 0) @ np.ones((1, D)), LABELS, w)
    with pytest.raises(ArgumentError, match="inner: the problem has inner_bias_decay=inf, so expected a matrix alone"):
        ec.ufm.excess(p, h, LABELS, w, inner=(v, np.zeros(D)))
    with pytest.raises(ArgumentError, match="inner: expected shape"):
        ec.ufm.excess(p, h, LABELS, w, inner=v[:, :3])
    with pytest.raises(ArgumentError, match="inner: only a TailProblem has an inner layer"):
        ec.ufm.excess(problem(), np.zeros((len(LABELS), D)), LABELS, w, inner=v)
    deep = ec.ufm.TailProblem(p.encoding, LABELS, ACTIVATIONS, weight_decay=1, inner_decay=1, layers=3)
    with pytest.raises(UnsupportedError, match="two layers, got layers=3"):
        ec.ufm.excess(deep, h, LABELS, w)
    norm = ec.ufm.sample_norm_problem(p.encoding, COUNTS, feature_dim=D, weight_decay=1, gain_decay=1)
    with pytest.raises(UnsupportedError, match="normalization of each sample"):
        ec.ufm.excess(norm, h, LABELS, w)


def test_torch_tensors_and_float32_are_read() -> None:
    p = problem()
    w, m, b = ec.ufm.solve(p).parameters(feature_dim=D)
    h = torch.tensor(m.T[LABELS], dtype=torch.float32, requires_grad=True)
    e = ec.ufm.excess(p, h, torch.tensor(LABELS), torch.tensor(w), torch.tensor(b))
    assert abs(e.total) < 1e-12


def test_what_does_not_fit_is_refused() -> None:
    p = problem()
    w, m, b = ec.ufm.solve(p).parameters(feature_dim=D)
    h = m.T[LABELS]
    with pytest.raises(ArgumentTypeError, match="problem: expected a Problem, got int"):
        ec.ufm.excess(3, h, LABELS, w, b)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="features: expected shape"):
        ec.ufm.excess(p, h[:, :3], LABELS, w, b)
    with pytest.raises(ArgumentError, match="labels: their counts are not those of the problem"):
        ec.ufm.excess(p, h, LABELS[::-1] * 0 + np.arange(len(LABELS)) % K, w, b)
    with pytest.raises(ArgumentError, match="labels: expected 17"):
        ec.ufm.excess(p, h, LABELS[:5], w, b)
    with pytest.raises(ArgumentError, match="bias: expected none"):
        ec.ufm.excess(problem(bias_decay=math.inf), h, LABELS, w, b + 1)
    with pytest.raises(ArgumentError, match="features: expected finite"):
        ec.ufm.excess(p, h * np.nan, LABELS, w, b)
    with pytest.raises(UnsupportedError, match="one weight layer"):
        ec.ufm.excess(problem(depth=2), h, LABELS, w, b)
