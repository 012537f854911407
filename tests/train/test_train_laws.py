"""Laws of plain decay: what a tail predicts with nothing fitted, and the excess with its guarantee."""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.train import Run, fit

SMALL = ec.data.load("digits", counts=13, seed=7)
RARE = ec.data.load("digits", counts=[17, 5, 11, 7, 13, 3, 5, 19, 7, 11], seed=3)
MLP: dict[str, Any] = {"width": 64, "depth": 1}


def plain(tail: str, decay: float = 5e-2, dataset: ec.data.Dataset = SMALL, **options: Any) -> Run:
    given: dict[str, Any] = {"bias_decay": decay} | options
    model_options = MLP | {"tail": tail} | given.pop("model_options", {})
    return fit(dataset, "one-hot", weight_decay=decay, decay="plain", model_options=model_options, **given)


def gram_error(run: Run) -> float:
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    return run.comparison.gram_error


QUICK: dict[str, Any] = {"epochs": 4, "finish": 20}


def several() -> list[Run]:
    """Runs far from their ends, under every law that has an excess."""
    ufm: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3, "model_options": MLP}
    return [
        plain("batch-norm", **QUICK),
        plain("batch-norm", loss="cross_entropy", bias_decay=math.inf, **QUICK),
        plain("batch-norm-relu", **QUICK),
        plain("batch-norm", dataset=RARE, class_weights="balanced", bias_decay=0.3, **QUICK),
        plain("none", dataset=RARE, bias_decay=0.0, **QUICK),
        plain("linear", loss="cross_entropy", bias_decay=0.3, **QUICK),
        plain("none", dataset=RARE, class_weights="balanced", loss="cross_entropy", bias_decay=0.3, **QUICK),
        plain("linear", bias_decay=math.inf, epochs=0, finish=1),
        fit(RARE, "one-hot", **ufm, bias_decay=0.3, epochs=1, finish=0),
        fit(SMALL, ec.encodings.random(10, 7, seed=0), **ufm, bias_decay=0.3, **QUICK),
        fit(SMALL, ec.encodings.label_smoothing(10, 0.1), **ufm, loss="cross_entropy", bias_decay=0.3, **QUICK),
        fit(SMALL, "one-hot", **ufm, features="relu", **QUICK),
    ]


@pytest.mark.slow
def test_the_parts_add_up_to_the_excess_and_no_run_violates_its_guarantee() -> None:
    violations, runs = [], several()
    for run in runs:
        parts = run.excess
        assert parts is not None, run.prediction_note
        assert parts.unbalanced + parts.within + parts.between == pytest.approx(parts.total, abs=1e-9)
        assert min(parts.unbalanced, parts.within, parts.between) > -1e-7
        assert run.history[-1]["excess_between"] == parts.between
        assert run.to_dict()["excess"]["guarantee"] == run.guarantee
        above = run.excess.loss / run.predicted_loss - 1  # type: ignore[union-attr, operator]
        assert run.relative_excess == pytest.approx(above, abs=1e-7)  # sums of float32 features in two orders
        if parts.distance is not None and parts.distance > parts.guarantee + 1e-9:
            violations.append(run)
    assert len(violations) == 0
    assert sum(run.excess is not None and run.excess.distance is not None for run in runs) >= 9


def test_the_objective_of_a_linear_tail_is_that_of_the_training_above_the_activations() -> None:
    run = plain("linear", epochs=1, finish=5, model_options={"depth": 0})
    # With no hidden layer the tail is the whole network, and its objective that of the training.
    assert run.excess is not None
    assert run.excess.loss == pytest.approx(run.loss, rel=1e-6)
    assert run.predicted_loss is not None
    assert run.loss > run.predicted_loss


def test_a_batch_normalization_poses_the_model_with_the_decay_over_n() -> None:
    run = plain("batch-norm", epochs=1, finish=0)
    assert run.prediction_kind == "minimum"
    assert run.prediction is not None
    assert run.prediction.problem.feature_decay == pytest.approx(5e-2 / 130)
    tail: Any = run.model.backbone.tail
    penalty = sum(float(p.detach().double().square().sum()) for p in tail.parameters())
    penalty += float(run.head.weight.detach().double().square().sum())
    bias = run.head.bias.detach().double().numpy()
    wanted = run.history[-1]["loss_fit"] + 0.5 * 5e-2 * (penalty + bias @ bias)
    # The excess is by features; the decay acts on gains and offsets, which are the same up to what the variance lacks.
    assert run.excess is not None
    assert run.excess.loss == pytest.approx(wanted, rel=1e-5)


def test_a_tail_that_has_no_law_yet_says_what_is_known() -> None:
    run = plain("layer-norm", loss="cross_entropy", **QUICK)
    assert run.prediction_kind == "none"
    assert "only that it lies between" in run.prediction_note
    with pytest.raises(ArgumentError, match="feature_decay"):
        plain("batch-norm", feature_decay=1e-3)


def test_deeper_linear_tails_are_compared_and_have_no_guarantee() -> None:
    run = plain("linear", model_options={"tail_depth": 3}, **QUICK)
    assert run.prediction_kind == "given activations"
    assert run.excess is None
    assert "more than two linear layers" in run.missing["excess"]
    assert run.relative_excess is not None
    assert run.relative_excess > -1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tail", "loss", "decay", "finish"),
    [
        ("batch-norm", "mse", 5e-2, 100),
        ("batch-norm", "mse", 2e-2, 100),
        ("batch-norm", "cross_entropy", 2e-2, 100),
        ("batch-norm-relu", "mse", 5e-2, 130),
        ("batch-norm-relu", "cross_entropy", 2e-2, 130),
    ],
)
def test_batch_normalized_networks_reach_the_minimum_with_nothing_fitted(
    tail: str, loss: str, decay: float, finish: int
) -> None:
    run = plain(tail, decay, loss=loss, finish=finish, batch_size=65)
    assert run.prediction_kind == "minimum"
    assert gram_error(run) < 0.005
    assert run.relative_excess is not None
    assert -1e-9 < run.relative_excess < 1e-3


@pytest.mark.slow
def test_linear_tails_reach_the_minimum_given_their_activations() -> None:
    run = plain("linear", 2e-2, finish=500)
    assert run.prediction_kind == "given activations"
    assert gram_error(run) < 0.005
    solution: Any = run.prediction
    within, counts = run.collapse.geometry.within, np.asarray(SMALL.counts)
    assert within is not None
    means = np.diag(run.collapse.geometry.feature_gram_centered)
    assert float(within @ counts) / float(means @ counts) == pytest.approx(solution.nc1_trace_ratio, rel=0.01)
