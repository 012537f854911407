"""Usual recipes with a batch normalization: the batches they take, the decay time they spend, and where they end."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.train import Settings, fit
from encollapse.train.loop.optimizers import decay_time

SEEN: list[int] = []


class Counting(nn.Module):
    """A network that notes how many rows its batch normalization gets in training."""

    def __init__(self, normalizes: bool) -> None:
        super().__init__()
        self.first = nn.Linear(64, 7)
        self.second = nn.BatchNorm1d(7) if normalizes else nn.Identity()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            SEEN.append(len(inputs))
        outputs: torch.Tensor = self.second(self.first(inputs.flatten(1)))
        return outputs


@pytest.mark.parametrize(("normalizes", "sizes"), [(True, [32, 32, 33, 33]), (False, [1, 43, 43, 43])])
def test_no_batch_that_is_normalized_by_itself_is_much_smaller_than_the_others(
    normalizes: bool, sizes: list[int]
) -> None:
    SEEN.clear()
    data = ec.data.load("digits", counts=13, seed=7)
    fit(data, "one-hot", weight_decay=5e-3, recipe="sgd-cosine", model=Counting(normalizes), batch_size=43, epochs=3)
    passes = np.reshape(SEEN[-12:], (3, 4))
    assert all(sorted(one) == sizes for one in passes.tolist())


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_minibatches_reach_the_minimum_of_a_batch_normalization(loss: str) -> None:
    """Of 370 samples in batches of 121 seven were left over, whose own mean and variance spoiled each pass."""
    data = ec.data.load("digits", counts=37, seed=1)
    options: dict[str, Any] = {"model_options": {"tail": "batch-norm", "depth": 2}, "history_every": [10]}
    steps: dict[str, Any] = {"recipe": "sgd-cosine", "warm_up": 0.1, "learning_rate": 0.1, "batch_size": 121}
    run = fit(data, "one-hot", weight_decay=2e-2, loss=loss, epochs=225, **steps, **options)
    assert run.settings.bias_decay == 2e-2
    assert run.decay_time is not None
    assert run.decay_time > 8
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    assert run.comparison.gram_error <= 0.05
    assert run.excess is not None
    assert run.excess.distance is not None
    assert run.excess.distance <= run.excess.guarantee


@pytest.mark.parametrize(
    ("momentum", "schedule", "warm_up"), [(0.0, "constant", 0.0), (0.8, "cosine", 0.1), (0.9, "step", 0.0)]
)
def test_decay_time_is_the_logarithm_of_what_is_left_of_a_parameter_without_gradient(
    momentum: float, schedule: str, warm_up: float
) -> None:
    """Torch's own weight decay, on a parameter that no loss touches, under the schedule that the training takes."""
    from encollapse.train.loop.optimizers import learning_rate

    given: dict[str, Any] = {"learning_rate": 3e-2, "momentum": momentum, "schedule": schedule, "warm_up": warm_up}
    settings = Settings(weight_decay=7e-3, decay="plain", optimizer="sgd", batch_size=50, epochs=200, finish=0, **given)
    done = settings.completed(num_samples=270, code_dim=10, num_classes=10)
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=3e-2, momentum=momentum, weight_decay=7e-3)
    for step in range(200 * 6):
        optimizer.param_groups[0]["lr"] = 3e-2 * learning_rate(schedule, step / 1200, warm_up=warm_up)
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    assert decay_time(done, 270) == pytest.approx(-math.log(parameter.item()), rel=0.02)


def test_decay_time_is_said_where_decay_shrinks_and_only_there() -> None:
    sizes = {"num_samples": 270, "code_dim": 10, "num_classes": 10}

    def spent(**options: Any) -> float | None:
        return decay_time(Settings(weight_decay=0.5, **options).completed(**sizes), 270)

    adamw = spent(recipe="adamw-cosine", learning_rate=2e-3, warm_up=0.0, schedule="constant", batch_size=90, epochs=7)
    assert adamw == pytest.approx(0.5 * 2e-3 * 3 * 7)
    assert spent(recipe="adam-cosine") is None
    assert spent(feature_decay=1e-3) is None
