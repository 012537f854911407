"""Questions a problem answers about itself, and input it refuses."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError

ONE_HOT = ec.encodings.one_hot(5)
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}


def mean_output(solution: ec.ufm.Solution) -> float:
    """|Z u| relative to |Z|: how much of the mean direction is learned."""
    p = solution.problem
    outputs = solution.geometry.class_outputs
    assert outputs is not None
    size = float(np.linalg.norm(outputs * np.sqrt(p.priors)))
    return float(np.linalg.norm(outputs @ p.priors)) / max(size, 1e-300)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_critical_bias_decay_separates_learned_from_not_learned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, q = int(rng.integers(2, 12)), int(rng.integers(1, 14))
    codewords = rng.standard_normal((q, k)) + 3 * rng.standard_normal((q, 1))
    counts = rng.integers(1, 50, k)
    encoding = ec.encodings.Encoding(codewords)
    priors = counts / counts.sum()
    centered = (codewords - (codewords @ priors)[:, None]) * np.sqrt(priors)
    c = np.linalg.norm(centered, 2) * rng.uniform(0.3, 1.6)
    decay = float(c / math.sqrt(counts.sum()))
    problem = ec.ufm.Problem(encoding, counts, weight_decay=decay, feature_decay=decay)
    critical = problem.critical_bias_decay()
    assert critical is not None
    assert problem.explain()
    if critical == 0.0:
        probe = problem.with_bias_decay(1e-3)
        assert mean_output(ec.ufm.solve(probe)) > 0
    elif math.isinf(critical):
        assert mean_output(ec.ufm.solve(problem.with_bias_decay(math.inf))) < 1e-12
    else:
        assert mean_output(ec.ufm.solve(problem.with_bias_decay(critical * (1 - 1e-6)))) < 1e-12
        assert mean_output(ec.ufm.solve(problem.with_bias_decay(critical * (1 + 1e-6)))) > 0


@pytest.mark.parametrize(
    ("counts", "settings"),
    [
        (4, {"feature_dim": 2}),
        (4, {"feature_dim": 1}),
        (4, {"feature_dim": 2, "depth": 2}),
        ([3, 5, 7, 11, 13], {"depth": 2, "weight_decay": 0.5}),
        (4, {"loss": "cross_entropy"}),
        (4, {"loss": "cross_entropy", "features": "relu"}),
        (4, {"class_weights": [1, 2, 3, 4, 5]}),
        ([3, 5, 7, 11, 13], {"features": "relu"}),
    ],
)
def test_what_has_no_critical_bias_decay_is_explained_without_names_of_code(counts: Any, settings: Any) -> None:
    problem = ec.ufm.Problem(ONE_HOT, counts, **(DECAYS | settings))
    assert problem.critical_bias_decay() is None
    words = problem.explain()
    assert "_" not in words.replace("λ_b", "")
    assert "=" not in words


def test_threshold_and_derived_quantities() -> None:
    counts = [3, 5, 7, 11, 13]
    problem = ec.ufm.Problem(ec.encodings.ordinal(5), counts, **DECAYS)
    assert problem.num_samples == 39
    assert problem.threshold == pytest.approx(math.sqrt(39 * 5e-3 * 1e-3), rel=1e-15)
    assert not problem.is_balanced
    expected = [36 / 39, 31 / 39, 24 / 39, 13 / 39]
    np.testing.assert_allclose(problem.mean_codeword, expected, rtol=1e-14)
    assert ec.ufm.Problem(ONE_HOT, 4, **DECAYS).is_balanced


def test_imbalanced_one_hot_turns_at_once() -> None:
    problem = ec.ufm.Problem(ONE_HOT, [3, 5, 7, 11, 13], **DECAYS)
    assert problem.critical_bias_decay() == 0.0
    assert "every bias decay" in problem.explain()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weight_decay": 0.0}, ArgumentError, "weight_decay"),
        ({"weight_decay": -1.0}, ArgumentError, "weight_decay"),
        ({"weight_decay": math.nan}, ArgumentError, "weight_decay"),
        ({"weight_decay": math.inf}, ArgumentError, "weight_decay"),
        ({"weight_decay": "0.1"}, ArgumentTypeError, "weight_decay"),
        ({"feature_decay": 0}, ArgumentError, "feature_decay"),
        ({"feature_decay": None}, ArgumentTypeError, "feature_decay"),
        ({"bias_decay": -0.1}, ArgumentError, "bias_decay"),
        ({"bias_decay": math.nan}, ArgumentError, "bias_decay"),
        ({"bias_decay": True}, ArgumentTypeError, "bias_decay"),
        ({"feature_dim": 0}, ArgumentError, "feature_dim"),
        ({"feature_dim": 2.0}, ArgumentTypeError, "feature_dim"),
        ({"counts": 0}, ArgumentError, "counts"),
        ({"counts": [1, 2, 3]}, ArgumentError, "counts"),
        ({"counts": [1, 2, 0, 4, 5]}, ArgumentError, "class 2"),
        ({"counts": [1, 2, -3, 4, 5]}, ArgumentError, "counts"),
        ({"counts": [1.5] * 5}, ArgumentTypeError, "counts"),
        ({"counts": "abc"}, ArgumentTypeError, "counts"),
        ({"encoding": np.eye(5)}, ArgumentTypeError, "encoding"),
        ({"loss": "hinge"}, ArgumentError, "loss"),
        ({"loss": "cross_entropy", "depth": 31}, UnsupportedError, "depth"),
        ({"depth": 0}, ArgumentError, "depth"),
        ({"depth": 2.0}, ArgumentTypeError, "depth"),
        ({"depth": 2, "features": "relu"}, UnsupportedError, "depth"),
        ({"features": "tanh"}, ArgumentError, "features"),
        ({"weight_decay": [1e-3, 1e-2]}, ArgumentError, "weight_decay"),
        ({"depth": 3, "weight_decay": [1e-3, 1e-2]}, ArgumentError, "3 layers"),
        ({"depth": 2, "weight_decay": [1e-3, 0.0]}, ArgumentError, r"weight_decay\[1\]"),
        ({"depth": 2, "weight_decay": [1e-3, math.nan]}, ArgumentError, r"weight_decay\[1\]"),
        ({"depth": 2, "weight_decay": [1e-3, "0.1"]}, ArgumentTypeError, r"weight_decay\[1\]"),
        ({"depth": 2, "weight_decay": []}, ArgumentError, "weight_decay"),
        ({"weight_decay": [1, [2]]}, ArgumentError, "weight_decay"),
        ({"depth": 2, "weight_decay": [1, [2]]}, ArgumentTypeError, r"weight_decay\[1\]"),
    ],
)
def test_bad_problems_are_refused_by_name(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"encoding": ONE_HOT, "counts": 4, **DECAYS, **change}
    with pytest.raises(error, match=words):
        ec.ufm.Problem(arguments.pop("encoding"), arguments.pop("counts"), **arguments)


@pytest.mark.parametrize(
    ("weight", "means", "bias", "words"),
    [
        (np.ones((4, 3)), np.ones((3, 5)), None, "weight"),
        (np.ones((5, 3)), np.ones((3, 4)), None, "class_means"),
        (np.ones((5, 3)), np.ones((2, 5)), None, "class_means"),
        (np.ones((5, 3)), np.ones((3, 5)), np.ones(4), "bias"),
        (np.full((5, 3), np.nan), np.ones((3, 5)), None, "weight"),
        (np.ones((5, 3)), np.full((3, 5), np.inf), None, "class_means"),
        (np.ones(5), np.ones((3, 5)), None, "weight"),
        ([[1, 2], [3]], np.ones((3, 5)), None, "weight"),
        (np.ones((5, 0)), np.ones((0, 5)), None, "weight"),
        (np.ones((5, 3), dtype=complex), np.ones((3, 5)), None, "weight"),
    ],
)
def test_objective_refuses_what_does_not_fit(weight: Any, means: Any, bias: Any, words: str) -> None:
    problem = ec.ufm.Problem(ONE_HOT, 4, **DECAYS)
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        ec.ufm.objective(problem, weight, means, bias)


def test_solve_refuses_anything_but_a_problem() -> None:
    with pytest.raises(ArgumentTypeError, match="problem"):
        ec.ufm.solve(ONE_HOT)  # type: ignore[call-overload]


def test_feature_dim_that_holds_the_rank_changes_nothing() -> None:
    wide = ec.ufm.solve(ec.ufm.Problem(ONE_HOT, 4, **DECAYS, feature_dim=4))
    assert wide.loss == ec.ufm.solve(ec.ufm.Problem(ONE_HOT, 4, **DECAYS)).loss
    assert wide.certificate.kind == "duality_gap"
    assert wide.parameters()[0].shape == (5, 4)
    with pytest.raises(ArgumentError, match="feature_dim"):
        wide.parameters(feature_dim=3)


def test_path_shares_one_decomposition_and_matches_single_solves() -> None:
    problem = ec.ufm.Problem(ONE_HOT, 4, **DECAYS)
    grid = [0.0, 0.1, 0.5, 3.0, math.inf]
    path = ec.ufm.bias_path(problem, grid)
    np.testing.assert_array_equal(path.bias_decays, grid)
    assert path.critical == problem.critical_bias_decay()
    for value, solution, cosine in zip(grid, path.solutions, path.mean_cosine, strict=True):
        assert solution.problem.structure.label_svd is problem.structure.label_svd
        single = ec.ufm.solve(ec.ufm.Problem(ONE_HOT, 4, **DECAYS, bias_decay=value))
        assert solution.loss == pytest.approx(single.loss, rel=1e-13)
        assert cosine == pytest.approx(single.geometry.cosine(0, 3), abs=1e-12)
    assert (np.diff(path.mean_cosine) > -1e-12).all()


@pytest.mark.parametrize(("grid", "words"), [([], "at least one"), ([0.1, -1.0], r"bias_decays\[1\]")])
def test_bad_paths_are_refused(grid: list[float], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ec.ufm.bias_path(ec.ufm.Problem(ONE_HOT, 4, **DECAYS), grid)


def test_replace_keeps_what_does_not_change() -> None:
    encoding = Encoding(np.random.default_rng(5).standard_normal((3, 5)))
    problem = ec.ufm.Problem(encoding, [2, 3, 5, 7, 11], weight_decay=[1e-3, 5e-3], feature_decay=2e-4, depth=2)
    other = dataclasses.replace(problem, bias_decay=0.1)
    assert other.structure is problem.structure
    assert other.weight_decays == problem.weight_decays == (1e-3, 5e-3)
    assert vars(problem.with_bias_decay(0.1)) == vars(other)
    assert dataclasses.replace(problem, weight_decay=2e-3).weight_decays == (2e-3, 2e-3)
    assert dataclasses.replace(problem, depth=3).weight_decays == (problem.weight_decay,) * 3
    moved = dataclasses.replace(problem, encoding=Encoding(2 * encoding.codewords))
    assert moved.structure.encoding is moved.encoding
    assert moved.structure.label_svd.labels.scale == 2 * problem.structure.label_svd.labels.scale


def test_replace_keeps_a_loss_of_ones_own() -> None:
    class Squared(ec.ufm.SeparableLoss):
        name = "squared"
        smoothness = 1.0

    loss = Squared()
    problem = ec.ufm.Problem(ec.encodings.one_hot(3), 5, weight_decay=1e-3, feature_decay=1e-4, loss=loss)
    assert dataclasses.replace(problem, encoding=ec.encodings.one_hot(3)).convex_loss is loss
    assert dataclasses.replace(problem, loss="mse").convex_loss is None


def test_users_see_what_they_can_use() -> None:
    problem = ec.ufm.Problem("one-hot", [3, 3, 3], weight_decay=1e-2, feature_decay=1e-3)
    assert [name for name in dir(problem) if not name.startswith("_")] == [
        "bias_decay", "class_weights", "code_dim", "counts", "critical_bias_decay", "depth", "encoding", "explain",
        "feature_decay", "feature_dim", "feature_mean_decay", "features", "is_balanced", "loss", "mean_codeword",
        "num_classes", "num_samples", "practical_bias_decay", "priors", "threshold", "turning_point", "weight_decay",
        "weight_decays", "with_bias_decay",
    ]  # fmt: skip
