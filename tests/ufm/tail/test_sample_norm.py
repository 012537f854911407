"""RMSNorm and LayerNorm tails: against descent on every explicit parameter, and against the theorems."""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import EncollapseError
from encollapse.ufm.tail.frames import centered_frame
from encollapse.ufm.tail.three_factors import BalancedLabels
from reference.norm_reference import normalize, train_norm


@pytest.mark.parametrize(
    ("num_classes", "kind", "feature_dim", "weight_decay", "gain_decay", "offset_decay", "bias_decay", "rank"),
    [
        (3, "rms", 7, 0.05, 0.05, math.inf, 0.0, 2),
        (5, "rms", 11, 0.2, 0.3, math.inf, 0.3, 4),
        (6, "rms", 11, 0.05, 0.02, math.inf, math.inf, 6),
        (6, "rms", 13, 0.4, 0.4, math.inf, math.inf, 3),
        (4, "layer", 4, 0.1, 0.1, math.inf, 0.0, 3),
        (5, "rms", 11, 0.03, 0.03, 0.06, 3.0, 5),
    ],
)
def test_theorems_against_descent_on_all_parameters(
    num_classes: int,
    kind: str,
    feature_dim: int,
    weight_decay: float,
    gain_decay: float,
    offset_decay: float,
    bias_decay: float,
    rank: int,
) -> None:
    problem = ec.ufm.sample_norm_problem(
        ec.encodings.one_hot(num_classes),
        7,
        kind=kind,
        feature_dim=feature_dim,
        weight_decay=weight_decay,
        gain_decay=gain_decay,
        offset_decay=offset_decay,
        bias_decay=bias_decay,
    )
    solution = ec.ufm.solve(problem)
    loss, features = train_norm(
        np.eye(num_classes), feature_dim, kind, weight_decay, gain_decay, offset_decay, bias_decay, "mse", starts=5
    )
    assert solution.certificate.kind == "theorem"
    assert solution.rank == rank
    assert solution.loss == pytest.approx(loss, rel=1e-8)
    found = np.linalg.eigvalsh(features.T @ features)
    np.testing.assert_allclose(np.linalg.eigvalsh(solution.geometry.feature_gram), found, atol=1e-4 * found[-1])


@pytest.mark.parametrize(
    ("num_classes", "kind", "feature_dim", "decay", "offset_decay", "bias_decay"),
    [
        (3, "rms", 31, 0.01, 0.01, 0.01),  # below the transition: the mean is left to the bias
        (3, "rms", 7, 0.05, 0.001, 0.5),  # a cheap offset holds the mean alone
        (4, "layer", 7, 0.1, 0.1, 0.1),
        (4, "layer", 7, 0.1, math.inf, 0.0),
    ],
)
def test_where_only_a_bound_is_known_the_certificate_says_so(
    num_classes: int, kind: str, feature_dim: int, decay: float, offset_decay: float, bias_decay: float
) -> None:
    problem = ec.ufm.sample_norm_problem(
        ec.encodings.one_hot(num_classes),
        3,
        kind=kind,
        feature_dim=feature_dim,
        weight_decay=decay,
        gain_decay=decay,
        offset_decay=offset_decay,
        bias_decay=bias_decay,
    )
    solution = ec.ufm.solve(problem)
    loss, _ = train_norm(
        np.eye(num_classes), feature_dim, kind, decay, decay, offset_decay, bias_decay, "mse", starts=5
    )
    assert solution.certificate.kind == "stationary"
    assert solution.certificate.lower_bound < loss
    assert solution.loss == pytest.approx(loss, rel=1e-8)


def test_parameters_are_reached_by_a_normalization() -> None:
    """The class means are gains times columns of mean square 1, at the decay that the loss counts."""
    problem = ec.ufm.sample_norm_problem(
        ec.encodings.one_hot(5), 7, feature_dim=13, weight_decay=0.2, gain_decay=0.05, bias_decay=math.inf
    )
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters()
    # In balance head and gains decay alike, so each gain follows from its column of the head.
    gains = np.linalg.norm(weight, axis=0) * math.sqrt(0.2 / 0.05)
    used = gains > 0
    unit = means[used] / gains[used, None]
    np.testing.assert_allclose((unit**2).sum(axis=0), 13.0, rtol=1e-12)
    fit = 0.5 * np.mean(np.sum((weight @ means + bias[:, None] - np.eye(5)) ** 2, axis=0))
    decay = 0.5 * (0.2 * np.sum(weight**2) + 0.05 * np.sum(gains**2))
    assert fit + decay == pytest.approx(solution.loss, rel=1e-12)


@pytest.mark.parametrize(
    ("num_classes", "first"), [(2, 15), (3, 41), (4, 80), (5, 132), (10, 581), (20, 2432), (100, 62955)]
)
def test_the_mean_is_learned_from_a_width_on(num_classes: int, first: int) -> None:
    """One small decay on everything, offsets included: a first-order transition in the width."""
    decay = 1e-9
    labels = BalancedLabels(num_classes**-0.5, num_classes**-0.5, num_classes, decay / (1 + decay))
    below = labels.best(decay, first - 1, 1.0, first - 1)
    above = labels.best(decay, first, 1.0, first)
    assert below.mean == 0
    assert above.mean > 0.2 * above.contrast
    assert below.rank == above.rank == num_classes - 1


@pytest.mark.parametrize(("rank", "num_classes"), [(2, 5), (3, 6), (4, 7), (6, 7), (1, 4), (3, 7), (5, 11)])
def test_frames_are_tight_of_equal_norm_and_centered(rank: int, num_classes: int) -> None:
    frame = centered_frame(rank, num_classes)
    assert frame is not None
    np.testing.assert_allclose(frame @ frame.T, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose((frame**2).sum(axis=0), rank / num_classes, atol=1e-12)
    np.testing.assert_allclose(frame.sum(axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize(("rank", "num_classes"), [(1, 3), (1, 5), (3, 5), (5, 7)])
def test_frames_that_do_not_exist(rank: int, num_classes: int) -> None:
    assert centered_frame(rank, num_classes) is None


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_any_labels_lie_above_the_bound(kind: str, loss: str) -> None:
    """Imbalanced classes: every sample is its own column in the reference."""
    counts = [1, 2, 4]
    encoding = ec.encodings.label_smoothing(3, 0.1)
    decays: dict[str, Any] = {"weight_decay": 0.03, "gain_decay": 0.02, "offset_decay": math.inf, "bias_decay": 0.2}
    problem = ec.ufm.sample_norm_problem(encoding, counts, kind=kind, feature_dim=5, loss=loss, **decays)
    solution = ec.ufm.solve(problem)
    targets = np.repeat(encoding.codewords, counts, axis=1)
    best, _ = train_norm(targets, 5, kind, 0.03, 0.02, math.inf, 0.2, loss, starts=6)
    assert solution.certificate.kind == "stationary"
    assert 0 < solution.certificate.lower_bound < best
    assert solution.loss == pytest.approx(best, rel=1e-6)


@pytest.mark.slow
def test_a_simplex_is_not_the_minimum_of_cross_entropy_for_six_classes() -> None:
    """Three pairs of opposite means cost less: why cross-entropy has no closed form here."""
    decay, num_classes, feature_dim = 0.01, 6, 11
    problem = ec.ufm.sample_norm_problem(
        ec.encodings.one_hot(num_classes),
        3,
        feature_dim=feature_dim,
        weight_decay=decay,
        gain_decay=decay,
        loss="cross_entropy",
    )
    solution = ec.ufm.solve(problem)
    sizes = np.linspace(0, 40, 40001)
    price = decay / math.sqrt(feature_dim) * (num_classes - 1) ** 1.5 / math.sqrt(num_classes)
    simplex = float(np.min(np.log1p((num_classes - 1) * np.exp(-sizes)) + price * sizes))
    assert solution.loss < simplex - 0.005
    assert solution.rank == 3


def test_the_method_has_a_name() -> None:
    problem = ec.ufm.sample_norm_problem(ec.encodings.one_hot(3), 5, feature_dim=7, weight_decay=0.1, gain_decay=0.1)
    assert ec.ufm.select_method(problem) == "normalization"
    with pytest.raises(EncollapseError, match="problem: expected a Problem, got int"):
        ec.ufm.select_method(3)  # type: ignore[arg-type]


def test_reference_normalizes() -> None:
    raw = np.random.default_rng(0).standard_normal((7, 3))
    np.testing.assert_allclose((normalize(raw, "layer")[0] ** 2).mean(axis=0), 1.0)
    np.testing.assert_allclose(normalize(raw, "layer")[0].mean(axis=0), 0.0, atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "batch"}, "kind: expected one of"),
        ({"feature_dim": 0}, "feature_dim"),
        ({"kind": "layer", "feature_dim": 1}, "feature_dim"),
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"gain_decay": 0.0}, "gain_decay"),
        ({"offset_decay": 0.0}, "offset_decay: expected a number above 0"),
        ({"gain_decay": 1e-170}, "gain_decay: expected it between 1e-150"),
        ({"bias_decay": -1.0}, "bias_decay"),
        ({"counts": [1, 0, 2]}, "counts: class 1"),
        ({"encoding": np.eye(3)}, "encoding: expected an Encoding"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], text: str) -> None:
    valid: dict[str, Any] = {
        "encoding": ec.encodings.one_hot(3),
        "counts": 5,
        "feature_dim": 7,
        "weight_decay": 0.1,
        "gain_decay": 0.1,
    }
    with pytest.raises(EncollapseError, match=text):
        ec.ufm.sample_norm_problem(**{**valid, **changes})
