"""Saddles near minority collapse: known in closed form, waited at without the step off them, left with it."""

import math
from typing import Any

import pytest

import encollapse as ec
from encollapse.train import Run, fit

MAJORITY, MINORITY = 60, 6
DATA = ec.data.load(
    "digits", imbalance={"kind": "step", "majority": MAJORITY, "minority": MINORITY}, holdout=0.1, seed=3
)
WEIGHT_DECAY = 5e-3


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
