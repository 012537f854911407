"""What is noted along a training, and when; schedules; samples kept away."""

import math

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.train import Run, fit
from encollapse.train.loop.optimizers import SCHEDULES, learning_rate

DATA = ec.data.load("digits", counts=13, seed=7)


def short(history_every: int | str | list[int], dataset: ec.data.Dataset = DATA, frames: bool = False) -> Run:
    """Five passes of Adam, eight of L-BFGS, to the end."""
    return fit(
        dataset,
        "one-hot",
        weight_decay=5e-3,
        feature_decay=1e-3,
        bias_decay=0.2,
        epochs=5,
        finish=8,
        tolerance=0.0,
        history_every=history_every,
        keep_frames=frames,
    )


def test_rows_come_at_the_passes_asked_for() -> None:
    assert [row["epoch"] for row in short([11, 3, 7, 1000]).history] == [0, 3, 7, 11, 13]
    assert [row["epoch"] for row in short("log").history] == [0, 1, 2, 3, 4, 6, 8, 11, 13]
    assert [row["epoch"] for row in short(3).history] == [0, 3, 5, 8, 11, 13]


def test_looking_more_often_does_not_change_the_first_phase() -> None:
    often, seldom = (
        fit(DATA, "one-hot", weight_decay=5e-3, feature_decay=1e-3, epochs=4, finish=0, history_every=every)
        for every in (1, 4)
    )
    assert often.loss == seldom.loss
    assert len(often.history) > len(seldom.history)


def test_frames_are_kept_on_request_and_end_at_the_network() -> None:
    run = short([3], frames=True)
    assert [frame.epoch for frame in run.frames] == [row["epoch"] for row in run.history] == [0, 3, 13]
    for frame in run.frames:
        assert frame.class_means.shape == (64, 10)
        assert frame.weight.shape == (10, 64)
        assert frame.bias.shape == (10,)
    with torch.no_grad():
        features = run.model.features(torch.tensor(DATA.train.inputs)).numpy()
    means = np.stack([features[DATA.train.labels == k].mean(0) for k in range(10)], axis=1)
    np.testing.assert_allclose(run.frames[-1].class_means, means, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(run.frames[-1].weight, run.head.weight.detach().numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(run.frames[-1].bias, run.head.bias.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert short([3]).frames == ()


def test_frames_hold_the_same_samples_of_each_class() -> None:
    run = short([3], frames=True)
    with torch.no_grad():
        features = run.model.features(torch.tensor(DATA.train.inputs)).numpy()
    first, last = run.frames[0], run.frames[-1]
    assert last.samples is not None
    assert first.sample_labels is not None
    assert last.sample_labels is not None
    for k in range(10):
        of_class = features[DATA.train.labels == k][:20]
        np.testing.assert_allclose(last.samples[last.sample_labels == k], of_class, rtol=1e-3, atol=1e-5)
    assert np.array_equal(first.sample_labels, last.sample_labels)


def test_samples_kept_away_are_scored_by_output_and_by_nearest_mean() -> None:
    dataset = ec.data.load("digits", counts=13, holdout=0.3, seed=7)
    run = short([], dataset)
    assert dataset.test is not None
    with torch.no_grad():
        train, test = (
            run.model.features(torch.tensor(split.inputs)).double().numpy() for split in (dataset.train, dataset.test)
        )
        decided = run.model(torch.tensor(dataset.test.inputs)).numpy().argmax(1)
    means = np.stack([train[dataset.train.labels == k].mean(0) for k in range(10)])
    nearest = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert 0.5 < float((decided == dataset.test.labels).mean()) < 1
    # A sample at a boundary may go either way in float32.
    one = 1.5 / len(test)
    last = run.history[-1]
    assert run.test_accuracy == last["test_accuracy"]
    assert run.test_nc4_agreement == last["test_nc4_agreement"]
    assert run.test_accuracy == pytest.approx((decided == dataset.test.labels).mean(), abs=one)
    assert run.test_nc4_agreement == pytest.approx((decided == nearest).mean(), abs=one)
    assert last["test_ncc_accuracy"] == pytest.approx((nearest == dataset.test.labels).mean(), abs=one)


def test_one_cycle_rises_linearly_to_its_peak_and_falls_to_zero() -> None:
    grid = np.linspace(0, 1, 1001)
    values = np.array([learning_rate("one_cycle", x) for x in grid])
    assert grid[values.argmax()] == pytest.approx(0.3)
    assert values.max() == pytest.approx(1.0)
    assert values[0] == pytest.approx(0.04)
    assert values[-1] == pytest.approx(0.0, abs=1e-12)
    assert learning_rate("one_cycle", 0.65) == pytest.approx(0.5)
    np.testing.assert_allclose(np.diff(values[:300]), 0.96 / 300, rtol=1e-9)
    assert (np.diff(values[300:]) < 0).all()


def test_cosine_step_and_constant_have_their_shapes() -> None:
    for done in (0.0, 0.17, 0.5, 0.83, 1.0):
        assert learning_rate("cosine", done) == pytest.approx(math.cos(math.pi * done / 2) ** 2, abs=1e-15)
        assert learning_rate("constant", done) == 1.0
    assert [learning_rate("step", x) for x in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_warm_up_rises_to_the_schedule_and_leaves_it_alone_afterwards(name: str) -> None:
    rises = [learning_rate(name, x, warm_up=0.2) / learning_rate(name, x) for x in np.linspace(0, 0.2, 41)[:-1]]
    assert 0 < rises[0] < 0.02  # the first step moves
    np.testing.assert_allclose(np.diff(rises), np.diff(rises)[0], rtol=1e-6)
    assert rises[-1] < 1
    for done in (0.2, 0.5, 0.9):
        assert learning_rate(name, done, warm_up=0.2) == learning_rate(name, done)
