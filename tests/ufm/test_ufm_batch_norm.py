"""Batch-normalization tails: the reduction, prices of the mean on both sides, class weights, against brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, UnsupportedError

COUNTS = np.array([2, 3, 5, 7])
K, Q, D = 4, 3, 6


def encoding_of(loss: str, seed: int = 0) -> ec.encodings.Encoding:
    if loss == "cross_entropy":
        soft = np.random.default_rng(seed).dirichlet(np.ones(Q), K).T
        return ec.encodings.Encoding(soft)
    return ec.encodings.random(K, Q, seed=seed)


def lowest(cost: Any, shapes: list[tuple[int, ...]], starts: int = 5, seed: int = 0) -> float:
    """Lowest value that L-BFGS finds over parameters of given shapes, in float64."""
    best = math.inf
    for start in range(starts):
        generator = torch.Generator().manual_seed(1000 * seed + start)
        x = [torch.randn(s, dtype=torch.float64, generator=generator).requires_grad_() for s in shapes]
        solver = torch.optim.LBFGS(
            x, max_iter=700, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe", history_size=30
        )

        def closure(x: Any = x, solver: Any = solver) -> Any:
            solver.zero_grad()
            value = cost(*x)
            value.backward()
            return value

        solver.step(closure)  # type: ignore[no-untyped-call]
        best = min(best, float(cost(*x)))
    return best


def sample_loss(loss: str, outputs: Any, codewords: Any, weights: Any) -> Any:
    """Mean loss of outputs (N, q) of all samples."""
    labels = np.repeat(np.arange(K), COUNTS)
    targets = torch.tensor(codewords.T[labels])
    if loss == "mse":
        each = 0.5 * ((outputs - targets) ** 2).sum(1)
    else:
        each = -(targets * torch.log_softmax(outputs, 1)).sum(1)
    return (each * torch.tensor(weights[labels])).mean()


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    ("gain", "offset", "bias"),
    [(0.01, 0.01, 0.0), (0.012, 0.012, 0.3), (0.01, 0.004, 2.0), (0.01, 0.09, 0.05), (0.01, 0.03, math.inf)],
)
def test_the_reduction_is_exact_on_the_parameters_of_a_network(
    loss: str, gain: float, offset: float, bias: float
) -> None:
    """Gains, offsets, head and free activations below the normalization, from random starts."""
    encoding = encoding_of(loss)
    decays: Any = {"weight_decay": 0.02, "gain_decay": gain, "offset_decay": offset, "bias_decay": bias}
    p = ec.ufm.batch_norm_problem(encoding, COUNTS, loss=loss, **decays)
    n = int(COUNTS.sum())

    def cost(raw: Any, gamma: Any, beta: Any, w: Any, b: Any) -> Any:
        hat = (raw - raw.mean(0)) / raw.std(0, unbiased=False)
        outputs = (hat * gamma + beta) @ w.T + (0 if math.isinf(bias) else b)
        penalty = 0.02 * (w**2).sum() + gain * (gamma**2).sum() + offset * (beta**2).sum()
        extra = 0 if math.isinf(bias) else bias * (b**2).sum()
        return sample_loss(loss, outputs, encoding.codewords, np.ones(K)) + 0.5 * (penalty + extra)

    found = lowest(cost, [(n, 12), (12,), (12,), (Q, 12), (Q,)], starts=3)
    solution = ec.ufm.solve(p)
    assert solution.certificate.holds
    assert found >= solution.loss - 1e-9
    assert found == pytest.approx(solution.loss, rel=2e-6)


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from(["mse", "cross_entropy"]),
    ratio=st.sampled_from([0.01, 0.3, 0.7, 1.5, 20.0, math.inf]),
    bias=st.sampled_from([0.0, 0.1, 1.0, 10.0, math.inf]),
    weighted=st.booleans(),
)
def test_priced_means_and_weighted_classes_reach_the_lowest_descent(
    seed: int, loss: str, ratio: float, bias: float, weighted: bool
) -> None:
    encoding = encoding_of(loss, seed)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 3.0, K) if weighted else np.ones(K)
    c = 10 ** rng.uniform(-2.5, -1.0)
    p = ec.ufm.Problem(
        encoding, COUNTS, weight_decay=c, feature_decay=c / COUNTS.sum(), bias_decay=bias, loss=loss,
        feature_mean_decay=ratio * c / COUNTS.sum(), class_weights=weights if weighted else None,
    )  # fmt: skip
    solution = ec.ufm.solve(p)
    assert solution.certificate.holds
    value = ec.ufm.objective(p, *solution.parameters(D))
    assert value == pytest.approx(solution.loss, rel=1e-7 if loss == "cross_entropy" or weighted else 1e-10)
    roots = torch.tensor(np.sqrt(COUNTS / COUNTS.sum()))
    priors = roots**2

    def cost(w: Any, m: Any, b: Any) -> Any:
        center = m @ priors
        if math.isinf(ratio):
            m, center = m - center[:, None], center * 0
        outputs = (w @ m + (0 if math.isinf(bias) else b[:, None])).T.repeat_interleave(torch.tensor(COUNTS), 0)
        features = ((m - center[:, None]) ** 2 @ priors).sum() + (0 if math.isinf(ratio) else ratio * (center**2).sum())
        extra = 0 if math.isinf(bias) else bias * (b**2).sum()
        return sample_loss(loss, outputs, encoding.codewords, weights) + 0.5 * (c * (w**2).sum() + c * features + extra)

    found = lowest(cost, [(Q, D), (D, K), (Q,)], starts=2, seed=seed)
    assert found >= solution.loss * (1 - 1e-8)
    assert found == pytest.approx(solution.loss, rel=1e-4)


@pytest.mark.parametrize("ratio", [1 - 1e-9, 1 + 1e-9])
@pytest.mark.parametrize("bias", [0.0, 0.3, math.inf])
def test_the_price_of_the_mean_is_continuous_at_that_of_the_features(ratio: float, bias: float) -> None:
    decays: Any = {"weight_decay": 5e-3, "feature_decay": 2e-3, "bias_decay": bias}
    plain = ec.ufm.solve(ec.ufm.Problem(encoding_of("mse"), COUNTS, **decays))
    priced = ec.ufm.solve(ec.ufm.Problem(encoding_of("mse"), COUNTS, feature_mean_decay=ratio * 2e-3, **decays))
    assert priced.loss == pytest.approx(plain.loss, rel=1e-8)
    np.testing.assert_allclose(priced.geometry.feature_gram, plain.geometry.feature_gram, rtol=0, atol=1e-7)
    np.testing.assert_allclose(priced.bias, plain.bias, atol=1e-8)


@pytest.mark.parametrize("offset", [1e-3, 7e-3, 5e-2])
def test_the_balanced_critical_value_is_the_closed_form(offset: float) -> None:
    """``λ_b* = t_β/(1 - t_β)`` with ``t_β = √(λ_W λ_β K)``, whatever the gains' decay is; below it stands a simplex."""
    classes, weight = 5, 6e-3
    t = math.sqrt(weight * offset * classes)
    decays: Any = {"weight_decay": weight, "gain_decay": 4e-3, "offset_decay": offset}
    p = ec.ufm.batch_norm_problem(ec.encodings.one_hot(classes), 7, **decays)
    critical = p.critical_bias_decay()
    assert critical == pytest.approx(t / (1 - t), rel=1e-10)
    assert critical is not None
    below, above = (ec.ufm.solve(p.with_bias_decay(critical * f)).geometry.cosine(0, 1) for f in (0.99, 1.1))
    assert below == pytest.approx(-1 / (classes - 1), abs=1e-9)
    assert above > -1 / (classes - 1) + 1e-4


def test_one_decay_on_everything_keeps_one_hot_labels_on_the_simplex_side() -> None:
    """``λ√K/(1 - λ√K) > λ``; one-vs-rest labels are far from zero mean, and are not (theory §7)."""
    for decay in (1e-3, 1e-2, 0.1):
        every: Any = dict.fromkeys(("weight_decay", "gain_decay", "bias_decay"), decay)
        p = ec.ufm.batch_norm_problem(ec.encodings.one_hot(6), 11, **every)
        assert ec.ufm.solve(p).geometry.cosine(0, 1) == pytest.approx(-0.2, abs=1e-9)
    every = dict.fromkeys(("weight_decay", "gain_decay", "bias_decay"), 0.05)
    gram = ec.ufm.solve(ec.ufm.batch_norm_problem(ec.encodings.one_vs_rest(6), 11, **every)).geometry.feature_gram
    mean = math.sqrt(gram.mean() / np.diag(gram).mean())
    assert mean == pytest.approx(0.36, abs=0.005)


def test_where_there_is_no_minimizer_it_is_said_before_solving() -> None:
    one_hot: Any = (ec.encodings.one_hot(K), COUNTS)
    with pytest.raises(ArgumentError, match=r"gain_decay: .*grow without end"):
        ec.ufm.batch_norm_problem(*one_hot, weight_decay=0.1, gain_decay=0.0, offset_decay=0.1)
    with pytest.raises(
        ArgumentError, match="feature_mean_decay: at 0, with a bias_decay above 0, there is no minimizer"
    ):
        ec.ufm.batch_norm_problem(*one_hot, weight_decay=0.1, gain_decay=0.1, offset_decay=0.0, bias_decay=0.1)
    with pytest.raises(ArgumentError, match="offset_decay: with features='relu'"):
        ec.ufm.batch_norm_problem(*one_hot, weight_decay=0.1, gain_decay=0.1, offset_decay=0.2, features="relu")
    free = ec.ufm.batch_norm_problem(*one_hot, weight_decay=0.01, gain_decay=0.01, offset_decay=0.0, bias_decay=0.0)
    held = ec.ufm.batch_norm_problem(*one_hot, weight_decay=0.01, gain_decay=0.01, offset_decay=math.inf)
    assert ec.ufm.solve(free).loss == pytest.approx(ec.ufm.solve(held).loss, rel=1e-12)


def test_a_free_mean_takes_over_the_bias_where_the_classifier_reaches_the_mean_label() -> None:
    labels = ec.encodings.random(K, 2, seed=3)
    decays: Any = {"weight_decay": 1e-3, "gain_decay": 1e-3}
    p = ec.ufm.batch_norm_problem(labels, COUNTS, offset_decay=0.0, bias_decay=0.2, **decays)
    s = ec.ufm.solve(p)
    assert not s.bias.any()
    assert ec.ufm.objective(p, *s.parameters(5)) == pytest.approx(s.loss, rel=1e-10)
    small = ec.ufm.solve(ec.ufm.batch_norm_problem(labels, COUNTS, offset_decay=1e-7, bias_decay=0.2, **decays))
    assert s.loss == pytest.approx(small.loss, rel=1e-3)
    assert s.loss <= small.loss


def test_a_common_weight_of_all_classes_divides_the_decays() -> None:
    """A factor common to all classes is the same as all decays divided by it."""
    decays: Any = {"weight_decay": 0.02, "feature_decay": 0.003, "bias_decay": 0.4}
    for loss in ("mse", "cross_entropy"):
        twice = ec.ufm.Problem(encoding_of(loss), COUNTS, loss=loss, class_weights=np.full(K, 2.0), **decays)
        half = ec.ufm.Problem(
            encoding_of(loss), COUNTS, loss=loss, weight_decay=0.01, feature_decay=0.0015, bias_decay=0.2
        )
        a, b = ec.ufm.solve(twice), ec.ufm.solve(half)
        assert a.loss == pytest.approx(2 * b.loss, rel=1e-7)
        np.testing.assert_allclose(a.geometry.feature_gram, b.geometry.feature_gram, atol=1e-4)


@pytest.mark.parametrize("weights", [[1, 2, 3], [1, 2, 0, 1], [1, 2, -1, 1], [1, np.nan, 1, 1], "x"])
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    with pytest.raises((ArgumentError, TypeError), match="class_weights"):
        ec.ufm.Problem(ec.encodings.one_hot(K), COUNTS, weight_decay=0.1, feature_decay=0.1, class_weights=weights)
    with pytest.raises(UnsupportedError, match="depth"):
        ec.ufm.Problem(
            ec.encodings.one_hot(K), COUNTS, weight_decay=0.1, feature_decay=0.1, class_weights=np.ones(K), depth=2
        )


def test_the_practical_value_follows_the_counts_and_sits_above_the_kink() -> None:
    decays: Any = {"weight_decay": 5e-3, "feature_decay": 2e-3}
    even = ec.ufm.Problem(ec.encodings.one_hot(4), 500, **{**decays, "feature_decay": 2e-5})
    kink, practical = even.critical_bias_decay(), even.practical_bias_decay()
    assert kink is not None
    assert practical is not None
    assert kink < practical < 1.5 * kink
    assert even.practical_bias_decay(1e-6) == pytest.approx(kink, rel=1e-4)
    for extra in (1, 5, 25):
        counts = [500, 500, 500, 500 + extra]
        near = ec.ufm.Problem(ec.encodings.one_hot(4), counts, **{**decays, "feature_decay": 2e-5})
        assert near.critical_bias_decay() == 0.0
        assert near.practical_bias_decay() == pytest.approx(practical, rel=0.02 * extra)
    assert ec.ufm.Problem(ec.encodings.simplex(4), 5, **decays).practical_bias_decay() == math.inf
    assert ec.ufm.Problem(ec.encodings.one_hot(4), 5, depth=2, **decays).practical_bias_decay() is None
    with pytest.raises(ArgumentError, match="share"):
        even.practical_bias_decay(1.0)


@pytest.mark.parametrize("mean_price", [None, 0.3, 2.0])
@pytest.mark.parametrize("labels", ["one-hot", "any"])
def test_the_practical_value_is_where_the_features_carry_the_share(labels: str, mean_price: float | None) -> None:
    """By solving there and at the end: ``Z u`` are the class outputs in the mean."""
    codewords = np.random.default_rng(1).standard_normal((7, 5)) + 1.0
    encoding = ec.encodings.one_hot(5) if labels == "one-hot" else ec.encodings.Encoding(codewords)
    price = None if mean_price is None else mean_price * 3e-4
    problem = ec.ufm.Problem(
        encoding, [11, 20, 30, 7, 45], weight_decay=5e-2, feature_decay=3e-4, feature_mean_decay=price
    )
    mean = problem.mean_codeword

    def carried(decay: float) -> float:
        solution = ec.ufm.solve(problem.with_bias_decay(decay))
        outputs = np.asarray(solution.geometry.class_outputs) @ problem.priors
        return 1.0 - float(np.linalg.norm(outputs - mean) / np.linalg.norm(mean))

    for share in (0.1, 0.7):
        found = problem.practical_bias_decay(share)
        assert found is not None
        assert carried(found) == pytest.approx(share * carried(math.inf), rel=1e-6)


def test_many_distinct_counts_have_a_practical_value_too() -> None:
    """Without singular vectors. A long tail of twice the classes turns at nearly the same place."""
    values = []
    for k in (997, 1994):
        counts = np.random.default_rng(3).permutation(np.arange(1, k + 1))
        decay = 0.2 / math.sqrt(k) / math.sqrt(int(counts.sum()))
        problem = ec.ufm.Problem(ec.encodings.one_hot(k), counts, weight_decay=decay, feature_decay=decay)
        value, name = problem.turning_point()
        assert name == "λ_b at 10 %"
        assert value is not None
        assert f"{value:.4g}" in problem.explain()
        values.append(value)
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_figures_mark_the_practical_value_where_the_critical_one_is_zero() -> None:
    decays: Any = {"weight_decay": 5e-3, "feature_decay": 2e-5}
    near = ec.ufm.Problem(ec.encodings.one_hot(4), [500, 500, 500, 501], **decays)
    assert near.turning_point() == (near.practical_bias_decay(), "λ_b at 10 %")
    assert f"{near.practical_bias_decay():.4g}" in near.explain()
    even = ec.ufm.Problem(ec.encodings.one_hot(4), 500, **decays)
    assert even.turning_point() == (even.critical_bias_decay(), "λ_b*")
