"""Cross-entropy: closed forms, minority collapse, certificates that hold or say that they do not, brute force."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, SolverError, UnsupportedError
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.losses import LOSSES
from reference import convex_reference as reference
from reference.ufm_reference import sample_objective

BIAS_DECAYS = [0.0, 1e-12, 1e-8, 1e-3, 0.1, 1.0, 1e3, 1e8, math.inf]


def problem_of(
    encoding: ec.encodings.Encoding, counts: Any, c: float, bias_decay: float = 0.0, weight_decay: float = 1e-2
) -> ec.ufm.Problem:
    """Problem with the threshold c."""
    total = np.broadcast_to(counts, encoding.num_classes).sum()
    return ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=weight_decay,
        feature_decay=c**2 / total / weight_decay,
        bias_decay=bias_decay,
        loss="cross_entropy",
    )


def random_problem(seed: int, *, max_classes: int = 11, mild: bool = False) -> ec.ufm.Problem:
    """Any label distributions, counts up to 1:1e6, every bias decay, c over seven decades."""
    rng = np.random.default_rng(seed)
    k, q = int(rng.integers(2, max_classes)), int(rng.integers(2, max_classes))
    kind = rng.integers(4)
    if kind == 0:
        encoding: ec.encodings.Encoding = ec.encodings.one_hot(k)
    elif kind == 1:
        encoding = ec.encodings.label_smoothing(k, float(rng.choice([1e-3, 0.1, 0.5, 1.0])))
    elif kind == 2:
        encoding = ec.encodings.Encoding(rng.dirichlet(np.full(q, 0.5), k).T)
    else:
        encoding = ec.encodings.Encoding(np.eye(q)[:, rng.integers(q, size=k)])
    ratio = 20.0 if mild else float(rng.choice([1.5, 50, 1000, 1e6]))
    counts = np.exp(rng.uniform(0, math.log(ratio), k)).astype(int)
    if rng.random() < 0.3:
        counts = rng.choice([3, 53], k)
    bias_decay = float(rng.choice([0.0, 0.1, 3.0, math.inf] if mild else BIAS_DECAYS))
    if bias_decay == 0 and encoding.mean(counts / counts.sum()).min() <= 0:
        bias_decay = 1e-6
    largest = np.linalg.norm(encoding.codewords * np.sqrt(counts / counts.sum()), 2)
    c = float(largest * 10 ** rng.uniform(-2 if mild else -7, -0.5 if mild else 0.2))
    return problem_of(encoding, counts, c, bias_decay, float(10 ** rng.uniform(-4, 0)))


@pytest.mark.parametrize("bias_decay", [0.0, 1e-8, 0.3, 1e8, math.inf])
@pytest.mark.parametrize(("k", "n"), [(2, 7), (5, 3), (1000, 11)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("t", [1e-6, 1e-3, 0.2, 0.95])
def test_balanced_label_smoothing_has_its_closed_form(
    bias_decay: float, k: int, n: int, smoothing: float, t: float
) -> None:
    c = t / math.sqrt(k)
    problem = problem_of(ec.encodings.label_smoothing(k, smoothing), n, c, bias_decay)
    solution = ec.ufm.solve(problem)
    rate = math.sqrt(n * problem.weight_decay * problem.feature_decay)
    q = smoothing / k + rate
    a = math.log(1 / q - k + 1) if q < 1 / k else 0.0
    expected = math.log1p((k - 1) * math.exp(-a)) + smoothing * (k - 1) * a / k + (k - 1) * a * rate
    assert solution.loss == pytest.approx(expected, rel=1e-9)
    assert solution.certificate.kind == "duality_gap"
    assert solution.certificate.relative_gap <= 1e-8
    np.testing.assert_allclose(solution.bias, 0.0, atol=1e-10)
    expected_values = np.append(np.full(k - 1, a / math.sqrt(k)), 0.0)
    np.testing.assert_allclose(solution.singular_values, expected_values, rtol=1e-6, atol=1e-9)
    if a == 0:
        assert solution.status is ec.ufm.Status.COLLAPSED
    else:
        assert solution.geometry.cosine(0, 1) == pytest.approx(-1 / (k - 1), rel=1e-8)
    if k == 5:
        outputs = solution.geometry.class_outputs
        assert outputs is not None
        np.testing.assert_allclose(outputs, a * (np.eye(k) - 1 / k), atol=1e-6)


@pytest.mark.parametrize(("majority", "minority"), [(100, 4), (30, 7)])
@pytest.mark.parametrize("bias_decay", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_minority_classes_merge_at_the_threshold(
    majority: int, minority: int, bias_decay: float, smoothing: float
) -> None:
    """Two groups: apart just below √(λ_W λ_H) = (1 - δ) √n_B / N, merged just above."""
    counts = [majority] * 5 + [minority] * 3
    total = sum(counts)
    ranks, cosines = [], []
    for factor in (0.9999, 1.0001):
        c = factor * (1 - smoothing) * math.sqrt(minority / total)
        problem = problem_of(ec.encodings.label_smoothing(8, smoothing), counts, c, bias_decay)
        solution = ec.ufm.solve(problem)
        ranks.append(solution.rank)
        geometry = solution.geometry
        cosines.append(geometry.cosine(6, 7) if geometry.norm(6) > 1e-9 else 1.0)
        assert geometry.cosine(0, 1) < 0
    assert ranks[0] == ranks[1] + 2  # the contrasts of three classes
    assert cosines[0] < 1 - 1e-6
    assert cosines[1] == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_hostile_problems_are_certified_or_known_not_to_be(seed: int) -> None:
    problem = random_problem(seed)
    solution = ec.ufm.solve(problem, throw=False)
    certificate = solution.certificate
    assert certificate.lower_bound <= solution.loss
    assert certificate.holds == (certificate.gap <= 1e-8 * solution.loss)
    assert solution.status.success == certificate.holds
    value = ec.ufm.objective(problem, *solution.parameters(seed=seed % 97))
    assert value == pytest.approx(solution.loss, rel=1e-9)
    # Whatever was found, no other point may lie below the bound.
    rng = np.random.default_rng(seed)
    for size in (1e-6, 1e-2, 1.0):
        moved = [p + size * rng.standard_normal(p.shape) for p in solution.parameters(seed=1)]
        if math.isinf(problem.bias_decay):
            moved[2] = np.zeros(problem.code_dim)
        assert ec.ufm.objective(problem, *moved) >= certificate.lower_bound * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_brute_force_never_gets_below_and_reaches_the_same_geometry(seed: int) -> None:
    problem = random_problem(seed, max_classes=8, mild=True)
    solution = ec.ufm.solve(problem)
    d = min(problem.code_dim, problem.num_classes) + 2
    loss, gram, bias = reference.brute_force(problem, seed, d, restarts=2)
    assert loss >= solution.loss * (1 - 1e-9)
    assert loss == pytest.approx(solution.loss, rel=1e-7)
    scale = math.sqrt(problem.num_samples * problem.weight_decay / problem.feature_decay) / problem.counts.min()
    np.testing.assert_allclose(gram, solution.geometry.feature_gram, atol=5e-3 * scale)
    assert abs(bias.mean() - solution.bias.mean()) < 10  # the mean of the bias is free at a bias decay of 0
    np.testing.assert_allclose(bias - bias.mean(), solution.bias - solution.bias.mean(), atol=5e-3)


@pytest.mark.parametrize("bias_decay", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_kinds_of_classes_give_what_single_classes_give(bias_decay: float, smoothing: float) -> None:
    """The same labels, once with their structure and once as a plain matrix."""
    counts = np.array([2, 3, 50, 3, 2, 2, 50, 3, 2, 3, 50])
    structured = ec.encodings.label_smoothing(11, smoothing)
    blocks = ec.ufm.solve(problem_of(structured, counts, 0.05, bias_decay))
    dense = ec.ufm.solve(problem_of(ec.encodings.Encoding(structured.codewords), counts, 0.05, bias_decay))
    assert isinstance(dense.problem.structure.output_map, DenseOutputMap)
    assert not isinstance(blocks.problem.structure.output_map, DenseOutputMap)
    assert blocks.loss == pytest.approx(dense.loss, rel=1e-8)
    np.testing.assert_allclose(blocks.singular_values, dense.singular_values, atol=1e-6)
    np.testing.assert_allclose(blocks.bias, dense.bias, atol=1e-6)
    for name in ("feature_gram", "classifier_gram", "class_outputs"):
        expected = getattr(dense.geometry, name)
        np.testing.assert_allclose(
            getattr(blocks.geometry, name), expected, atol=1e-6 * np.abs(expected).max(), err_msg=name
        )
    assert ec.ufm.objective(blocks.problem, *blocks.parameters(seed=3)) == pytest.approx(blocks.loss, rel=1e-9)


def test_many_classes_in_kinds_need_no_large_matrix() -> None:
    k = 200_000
    counts = np.where(np.arange(k) % 3 == 0, 2, 90)
    problem = problem_of(ec.encodings.label_smoothing(k, 0.1), counts, 0.1 / math.sqrt(k), 0.1)
    solution = ec.ufm.solve(problem)
    assert solution.certificate.holds
    assert len(solution.singular_values) == len(solution.bias) == k
    assert -1 <= solution.geometry.cosine(0, 3) <= 1
    # The features bear one half of the nuclear norm: λ_H Σ n_k |m_k|² = c |Z|_*.
    energies = [solution.geometry.norm(g) ** 2 * counts[counts == counts[g]].sum() for g in (0, 1)]
    nuclear = problem.threshold * solution.singular_values.sum()
    assert problem.feature_decay * sum(energies) == pytest.approx(nuclear, rel=1e-9)


@pytest.mark.parametrize("seed", [2, 3, 5, 7])
def test_a_free_bias_centers_the_features(seed: int) -> None:
    """At λ_b = 0, Z u = 0 and the mean prediction is the mean label; the bias has mean zero."""
    rng = np.random.default_rng(seed)
    encoding = ec.encodings.Encoding(rng.dirichlet(np.ones(7), 5).T)
    problem = problem_of(encoding, [3, 50, 7, 500, 11], 0.02)
    solution = ec.ufm.solve(problem)
    outputs = solution.geometry.class_outputs
    assert outputs is not None
    size = np.abs(outputs).max()
    assert size > 0.1
    np.testing.assert_allclose(outputs @ problem.priors, 0.0, atol=1e-6 * size)
    np.testing.assert_allclose(outputs.sum(axis=0), 0.0, atol=1e-6 * size)
    assert solution.bias.sum() == pytest.approx(0.0, abs=1e-10)
    odds = np.exp(outputs + solution.bias[:, None])
    np.testing.assert_allclose((odds / odds.sum(axis=0)) @ problem.priors, problem.mean_codeword, rtol=1e-6)


@pytest.mark.parametrize("bias_decay", [0.0, 1e-8, 0.1, 10.0, math.inf])
def test_nothing_learned_is_a_result(bias_decay: float) -> None:
    """Above the largest singular value of ``(E - s 1ᵀ) diag(u)`` nothing is learned, and just below something is."""
    encoding = ec.encodings.one_hot(5)
    counts = np.array([3, 50, 7, 500, 11])
    priors = counts / counts.sum()
    bias = np.zeros(5)
    if math.isfinite(bias_decay):
        zero = ec.ufm.solve(problem_of(encoding, counts, 2.0, bias_decay))
        bias = zero.bias
        shares = np.exp(bias) / np.exp(bias).sum()
        np.testing.assert_allclose(shares + bias_decay * bias, priors, atol=1e-12)
    shares = np.exp(bias) / np.exp(bias).sum()
    largest = float(np.linalg.norm((np.eye(5) - shares[:, None]) * np.sqrt(priors), 2))
    above = ec.ufm.solve(problem_of(encoding, counts, largest * (1 + 1e-9), bias_decay))
    assert above.status is ec.ufm.Status.COLLAPSED
    assert above.rank == 0
    assert not above.singular_values.any()
    expected = float(-priors @ np.log(shares)) + (0.5 * bias_decay * bias @ bias if bias.any() else 0.0)
    assert above.loss == pytest.approx(expected, rel=1e-12)
    assert above.certificate.holds
    below = ec.ufm.solve(problem_of(encoding, counts, largest * (1 - 1e-3), bias_decay))
    assert below.status is ec.ufm.Status.OPTIMAL
    assert below.loss < above.loss


def test_uninformative_labels_learn_nothing() -> None:
    solution = ec.ufm.solve(problem_of(ec.encodings.label_smoothing(5, 1.0), [2, 3, 5, 7, 11], 1e-6, 0.1))
    assert solution.status is ec.ufm.Status.COLLAPSED
    assert solution.loss == pytest.approx(math.log(5), rel=1e-14)


def test_labels_that_agree_up_to_rounding_have_no_direction_too_many() -> None:
    """Next to no decay: the least loss is the entropy of the common distribution, here of 12 outputs for 3 classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.dirichlet(np.full(12, 20.0))[:, None], 3, axis=1)
    labels[:, 1] += np.resize([1e-17, -1e-17], 12)
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(labels),
        [20, 151, 2191],
        weight_decay=1.2e-4,
        feature_decay=1.2e-38,
        bias_decay=1.0,
        loss="cross_entropy",
    )
    found = ec.ufm.solve(problem)
    assert found.rank <= 3
    assert found.loss == pytest.approx(-float(labels[:, 0] @ np.log(labels[:, 0])), rel=1e-12)


def test_objective_is_the_double_sum_over_samples() -> None:
    rng = np.random.default_rng(2)
    counts = np.array([2, 3, 1, 5, 4])
    encoding = ec.encodings.Encoding(rng.dirichlet(np.ones(3), 5).T)
    problem = ec.ufm.Problem(
        encoding, counts, weight_decay=0.03, feature_decay=0.002, bias_decay=0.7, loss="cross_entropy"
    )
    weight, means, bias = rng.standard_normal((3, 7)), rng.standard_normal((7, 5)), rng.standard_normal(3)
    features = [np.tile(means[:, k], (counts[k], 1)) for k in range(5)]
    decays = (0.03, 0.002, 0.7)
    expected = sample_objective(encoding.codewords, counts, features, weight, bias, decays, reference.cross_entropy)
    assert ec.ufm.objective(problem, weight, means, bias) == pytest.approx(expected, rel=1e-13)
    # The same term by term where outputs are far too large to be exponentiated.
    large = ec.ufm.objective(problem, 300 * weight, means, bias)
    shifts = [reference.cross_entropy(300 * weight @ means[:, k] + bias, encoding.codewords[:, k]) for k in range(5)]
    decay = 0.015 * (300 * weight**2 * 300).sum() + 0.001 * (means**2 @ counts).sum() + 0.35 * bias @ bias
    assert large == pytest.approx(float(problem.priors @ shifts + decay), rel=1e-12)


@pytest.mark.parametrize("bias_decay", [0.0, 1e-6, 0.1, 1e4, math.inf])
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_the_bound_holds_at_any_point(bias_decay: float, size: float) -> None:
    """A point far from the minimum gives a loose bound, never a wrong one."""
    rng = np.random.default_rng(7)
    encoding = ec.encodings.Encoding(rng.dirichlet(np.ones(4), 7).T)
    problem = problem_of(encoding, [2, 3, 5, 7, 11, 13, 17], 0.02, bias_decay)
    solution = ec.ufm.solve(problem)
    composite = Composite(problem.structure.output_map, LOSSES["cross_entropy"], problem.threshold, bias_decay)
    assert solution.warm_start is not None
    point, bias = solution.warm_start
    for _ in range(20):
        moved = composite.shrink(point.matrix + size * rng.standard_normal((4, 7)), point.contrast, bias)
        noise = size * rng.standard_normal(4) * composite.has_bias
        loss, certificate = composite.certified(replace(moved, singular=moved.singular * (1 + size)), bias + noise)
        assert loss > solution.loss
        assert not certificate.holds
        assert certificate.lower_bound <= solution.loss * (1 + 1e-12)


@pytest.mark.parametrize("bias_decay", [1e-8, 1e-4, 0.1, 1.0])
@pytest.mark.parametrize("shift", [-30.0, 0.7, 100.0])
def test_the_bound_holds_where_the_bias_has_a_mean(bias_decay: float, shift: float) -> None:
    """Such a bias is no gradient's; it was taken for one, and bounds came out above the minimum."""
    rng = np.random.default_rng(3)
    encoding = ec.encodings.Encoding(rng.dirichlet(np.ones(5), 7).T)
    solution = ec.ufm.solve(problem_of(encoding, [2, 3, 5, 7, 11, 13, 17], 0.02, bias_decay))
    problem = solution.problem
    composite = Composite(problem.structure.output_map, LOSSES["cross_entropy"], problem.threshold, bias_decay)
    assert solution.warm_start is not None
    point, bias = solution.warm_start
    loss, certificate = composite.certified(point, bias + shift)
    # A constant costs λ_b/2 for its square and nothing else.
    assert loss == pytest.approx(solution.loss + 2.5 * bias_decay * shift**2, rel=1e-9)
    assert certificate.lower_bound <= solution.certificate.lower_bound + 1e-8 * solution.loss
    # The bound is nevertheless that of the minimum.
    assert certificate.lower_bound == pytest.approx(solution.loss, rel=1e-7)


def test_an_open_gap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no Newton step allowed the starting point is handed back unproved, and its bound still holds."""
    problem = problem_of(ec.encodings.one_hot(5), [2, 3, 5, 7, 11], 0.03, 0.1)
    solved = ec.ufm.solve(problem)
    monkeypatch.setattr("encollapse.ufm.convex.minimize._NEWTON_STEPS", 0)
    monkeypatch.setattr("encollapse.ufm.convex.minimize._APPROACH", 3)
    monkeypatch.setattr("encollapse.ufm.convex.douglas_rachford.ITERATIONS", 3)
    with pytest.raises(SolverError, match="duality gap"):
        ec.ufm.solve(problem)
    open_one = ec.ufm.solve(problem, throw=False)
    assert open_one.status is ec.ufm.Status.NOT_CERTIFIED
    assert open_one.certificate.lower_bound <= solved.loss < open_one.loss


def test_path_matches_single_solves() -> None:
    problem = problem_of(ec.encodings.one_hot(7), [40, 40, 40, 40, 6, 6, 6], 0.03)
    grid = [0.0, 1e-3, 0.1, 3.0, math.inf, 0.01]
    path = ec.ufm.bias_path(problem, grid)
    assert path.critical is None
    for value, solution in zip(grid, path.solutions, strict=True):
        single = ec.ufm.solve(problem.with_bias_decay(value))
        assert solution.loss == pytest.approx(single.loss, rel=1e-8)
        np.testing.assert_allclose(
            solution.geometry.feature_gram, single.geometry.feature_gram, atol=1e-5 * single.geometry.feature_gram.max()
        )


def test_critical_bias_decay_is_not_claimed() -> None:
    problem = problem_of(ec.encodings.one_hot(5), 3, 0.1)
    assert problem.critical_bias_decay() is None
    assert "closed form" in problem.explain()


def test_rank_that_binds_is_said() -> None:
    encoding = ec.encodings.one_hot(5)
    arguments: dict[str, Any] = {"weight_decay": 1e-2, "feature_decay": 1e-3, "loss": "cross_entropy"}
    with pytest.raises(SolverError, match="feature_dim"):
        ec.ufm.solve(ec.ufm.Problem(encoding, 4, feature_dim=3, **arguments))
    wide = ec.ufm.solve(ec.ufm.Problem(encoding, 4, feature_dim=4, **arguments))
    assert wide.parameters()[1].shape == (4, 5)


@pytest.mark.parametrize(
    ("encoding", "change", "error", "words"),
    [
        (ec.encodings.simplex(4), {}, ArgumentError, "encoding: .*distributions"),
        (ec.encodings.one_vs_rest(4), {}, ArgumentError, "encoding: .*distributions"),
        (ec.encodings.ordinal(4), {}, ArgumentError, "encoding: .*sums to [03]"),
        (ec.encodings.scaled_one_hot(4, on=2.0), {}, ArgumentError, "encoding: .*sums to 2"),
        (ec.encodings.Encoding([[1.0, 0.5], [0.0, 0.4]]), {}, ArgumentError, "codeword 1 sums to 0.9"),
        (ec.encodings.Encoding([[1.0, 1.5], [0.0, -0.5]]), {}, ArgumentError, "codeword 1 has the entry -0.5"),
        (ec.encodings.Encoding([[1.0, 0.5], [0.0, 0.5], [0.0, 0.0]]), {}, ArgumentError, "bias_decay"),
        (ec.encodings.one_hot(4), {"depth": 31}, UnsupportedError, "depth"),
    ],
)
def test_what_cross_entropy_cannot_use_is_refused_by_name(
    encoding: ec.encodings.Encoding, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ec.ufm.Problem(encoding, 3, weight_decay=1e-2, feature_decay=1e-2, loss="cross_entropy", **change)


def test_a_warm_start_must_be_of_the_same_size() -> None:
    small = ec.ufm.solve(problem_of(ec.encodings.one_hot(5), [2, 3, 5, 7, 11], 0.03))
    with pytest.raises(ArgumentError, match="warm_start"):
        ec.ufm.solve(problem_of(ec.encodings.one_hot(7), [2, 3, 5, 7, 11, 13, 17], 0.03), warm_start=small)
