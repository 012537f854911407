"""Saddles near minority collapse: known in closed form, waited at without the step off them, left with it."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.train import Run, Settings, fit
from encollapse.train.loop.dead_units import wake_dead_units_
from encollapse.train.loop.saddle_escape import _fit_last_layer_, _nearest
from encollapse.train.loop.task import Task

MAJORITY, MINORITY = 60, 6
DATA = ec.data.load(
    "digits", imbalance={"kind": "step", "majority": MAJORITY, "minority": MINORITY}, holdout=0.1, seed=3
)
WEIGHT_DECAY = 5e-3
SHAPES = [(131, 131), (505, 505), (7, 505)]


def trained(relative: float, **options: Any) -> Run:
    """A training at a multiple of the threshold ``√π`` of the rare classes."""
    threshold = relative * math.sqrt(MINORITY / len(DATA.train))
    given: dict[str, Any] = {
        "weight_decay": WEIGHT_DECAY,
        "feature_decay": threshold**2 / (len(DATA.train) * WEIGHT_DECAY),
    }
    return fit(DATA, "one-hot", **given | {"bias_decay": math.inf} | options)


def gram_error(run: Run) -> float:
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    return run.comparison.gram_error


@pytest.mark.parametrize("options", [{}, {"loss": "cross_entropy", "bias_decay": 0.0}], ids=["mse", "entropy"])
def test_a_saddle_of_merged_classes_is_left_for_the_minimum(options: dict[str, Any]) -> None:
    waiting = trained(0.85, leave_saddles=False, finish=60, **options)
    # Every rare class at the merged solution has the residual √π against the threshold c.
    assert waiting.stationarity == pytest.approx(1 / 0.85 - 1, rel=0.02)
    assert gram_error(waiting) > 0.1
    leaving = trained(0.85, **options)
    assert leaving.converged
    assert gram_error(leaving) <= 0.01


def test_beyond_the_threshold_merged_classes_are_the_minimum_and_stay() -> None:
    steps, plain = (trained(1.1, leave_saddles=leave) for leave in (True, False))
    assert steps.converged
    assert gram_error(steps) <= 0.01
    assert steps.history == plain.history


@pytest.mark.slow
@pytest.mark.parametrize(("num_classes", "options"), [(17, {"learning_rate": 0.3}), (131, {})], ids=["dead", "many"])
def test_many_classes_and_networks_whose_units_all_died_reach_the_minimum(
    num_classes: int, options: dict[str, Any]
) -> None:
    each, decay = 17 * 5 // num_classes or 2, 5e-3
    data = ec.data.gaussian_mixture(num_classes, dim=23, samples_per_class=each, separation=10.0, seed=0)
    feature_decay = 0.3**2 / (num_classes * len(data.train) * decay)
    given = options | {"weight_decay": decay, "feature_decay": feature_decay, "bias_decay": 0.2}
    run = fit(data, "one-hot", **given, finish=300, history_every=10)
    fallen = any(row["accuracy"] < 0.1 and row["epoch"] == 20 for row in run.history)
    assert fallen == ("learning_rate" in options)
    assert gram_error(run) < 0.02


def test_the_default_network_and_learning_rate_follow_the_number_of_classes() -> None:
    def default(num_classes: int, **options: Any) -> tuple[int, Any]:
        settings = Settings(weight_decay=5e-3, feature_decay=1e-5, **options)
        found = settings.completed(num_samples=3 * num_classes, code_dim=num_classes, num_classes=num_classes)
        return found.model_options.get("width", 0), found.learning_rate

    assert default(10) == (128, 1e-2)
    assert default(101)[1] == pytest.approx(1e-2 / 2)
    assert default(505) == (768, pytest.approx(1e-2 * (64 / 505) ** 1.25))
    assert default(17, model_options={"width": 512}) == (512, 1e-2 / 4)
    assert default(17, optimizer="sgd", model_options={"width": 512}) == (512, 0.2)
    assert default(17, model="cnn") == (0, 1e-2)


def test_the_default_tolerance_is_finer_for_many_classes() -> None:
    settings = Settings(weight_decay=5e-3, feature_decay=1e-5)
    found = [settings.completed(num_samples=2000, code_dim=q, num_classes=k).tolerance for q, k in SHAPES]
    assert found == [1e-3, 1e-4, 1e-3]


def test_the_step_does_not_depend_on_the_choice_among_equal_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    turn, free, left = (
        torch.tensor(np.linalg.qr(rng.standard_normal(shape))[0]) for shape in [(5, 5), (11, 7), (13, 5)]
    )
    ways, turned = _nearest(free.T, left), _nearest(free.T, left @ turn)
    torch.testing.assert_close(left @ turn @ turned, left @ ways)
    torch.testing.assert_close(ways @ ways.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(ways @ free @ free.T, ways)


def test_dead_units_are_woken_without_a_change_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def killed_and_woken(task: Task) -> int:
        backbone = task.classifier.backbone
        layers = [part for part in backbone.trunk.modules() if isinstance(part, torch.nn.Linear)]
        with torch.no_grad():
            for layer in layers:
                layer.bias[::2] = -1e6
            before = task.classifier.features(task.inputs)
            seen.append(wake_dead_units_(task))
            torch.testing.assert_close(task.classifier.features(task.inputs), before)
            assert all((layer.bias > -1e6).all() for layer in layers)
            assert wake_dead_units_(task) == 0
        return seen[-1]

    monkeypatch.setattr("encollapse.train.loop.loop.wake_dead_units_", killed_and_woken)
    options = {"width": 14, "depth": 2}
    fit(DATA, "one-hot", weight_decay=5e-3, feature_decay=1e-3, epochs=1, finish=1, model_options=options)
    assert seen[0] >= 14


def test_a_layer_wider_than_the_set_takes_any_features_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[float] = []

    def fitted(task: Task) -> int:
        wanted = torch.randn(task.num_samples, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        _fit_last_layer_(task, wanted, slice(None))
        missing = task.classifier.features(task.inputs).detach().double() - wanted
        errors.append(float(missing.norm() / wanted.norm()))
        return 0

    monkeypatch.setattr("encollapse.train.loop.loop.wake_dead_units_", fitted)
    small = ec.data.load("digits", counts=[5] * 10, seed=3)
    options: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3, "feature_dim": 13, "epochs": 1, "finish": 1}
    for width in (251, 17):
        fit(small, "one-hot", **options, model_options={"width": width, "depth": 1})
    assert errors[0] < 0.02
    assert 0.3 < errors[1] < 1
