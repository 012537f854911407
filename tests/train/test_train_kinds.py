"""Losses, kinds of decay, optimizers and classifiers: each reaches what the theory says of it, and says what it is."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.train import Run, TrainingStatus, fit
from encollapse.train.loop.optimizers import shrink_

WEIGHT_DECAY = 5e-3
FEATURE_DECAY = 0.3**2 / (10 * 290 * WEIGHT_DECAY)  # t = c √K = 0.3
SMALL = ec.data.load("digits", counts=29, seed=7)
ONE_HOT = ec.encodings.one_hot(10)
SMOOTHED = ec.encodings.label_smoothing(10, 0.1)
FLOAT32 = 1e-4
"""Relative accuracy of sums over a network's features in float32."""


def trained(encoding: Any = ONE_HOT, **options: Any) -> Run:
    given = {"weight_decay": WEIGHT_DECAY, "feature_decay": FEATURE_DECAY, "bias_decay": 0.1}
    return fit(SMALL, encoding, **given | options)


def parameters_decayed(**options: Any) -> Run:
    """A training under plain or decoupled decay."""
    return trained(feature_decay=None, **options)


def gram_error(run: Run) -> float:
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    return run.comparison.gram_error


def outputs_of(run: Run) -> tuple[Any, Any, Any]:
    """Features (N, d), outputs (N, q) and weight (q, d) of the returned network."""
    with torch.no_grad():
        features = run.model.features(torch.tensor(SMALL.train.inputs)).double()
        weight = run.head.weight.double()
        outputs = features @ weight.T + (0.0 if run.head.bias is None else run.head.bias.double())
    return features.numpy(), outputs.numpy(), weight.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("bias_decay", [0.0, 1.0])
@pytest.mark.parametrize("encoding", [ONE_HOT, SMOOTHED], ids=["one_hot", "smoothed"])
def test_cross_entropy_networks_reach_the_minimum(encoding: ec.encodings.Encoding, bias_decay: float) -> None:
    run = trained(encoding, loss="cross_entropy", bias_decay=bias_decay)
    assert run.status is TrainingStatus.STATIONARY
    assert run.prediction_kind == "minimum"
    assert gram_error(run) <= 0.01
    assert run.relative_excess is not None
    assert -1e-9 < run.relative_excess < 1e-3
    # Balanced classes under a symmetric loss: a simplex, whatever the bias decay, for rows of W sum to zero.
    means = run.collapse.geometry.mean_cosine()
    assert means == pytest.approx(-1 / 9, abs=2e-3)
    features, outputs, weight = outputs_of(run)
    bias = run.head.bias.detach().double().numpy()
    targets = encoding.encode(SMALL.train.labels)
    fitted = (np.log(np.exp(outputs).sum(1)) - (targets * outputs).sum(1)).mean()
    penalty = WEIGHT_DECAY * (weight**2).sum() + FEATURE_DECAY * (features**2).sum()
    loss = fitted + 0.5 * (penalty + bias_decay * (bias**2).sum())
    assert run.loss == pytest.approx(loss, rel=FLOAT32)


def test_cross_entropy_asks_for_distributions() -> None:
    with pytest.raises(ArgumentError, match="sum to 1"):
        trained("simplex", loss="cross_entropy", epochs=1, finish=0)


def test_plain_decay_is_a_term_of_the_loss_for_every_parameter_but_the_bias() -> None:
    run = parameters_decayed(decay="plain", epochs=3, finish=10)
    features, outputs, weight = outputs_of(run)
    squares = sum(
        float(p.detach().double().square().sum()) for name, p in run.model.named_parameters() if name != "head.bias"
    )
    fitted = 0.5 * ((outputs - np.eye(10)[SMALL.train.labels]) ** 2).sum(1).mean()
    bias = run.head.bias.detach().double().numpy()
    assert run.loss == pytest.approx(fitted + 0.5 * WEIGHT_DECAY * squares + 0.05 * (bias**2).sum(), rel=FLOAT32)
    assert run.stationarity is not None
    assert run.prediction_kind == "given activations"
    # Without a last layer that is linear no law holds, and the feature decay is read off.
    run = parameters_decayed(decay="plain", epochs=3, finish=10, features="relu")
    features, outputs, weight = outputs_of(run)
    assert run.prediction_kind == "effective"
    assert run.excess is None
    assert "no law" in run.missing["excess"]
    assert run.prediction is not None
    problem = run.prediction.problem
    assert problem.weight_decay == WEIGHT_DECAY
    balance = problem.feature_decay * (features**2).sum()
    assert balance == pytest.approx(WEIGHT_DECAY * (weight**2).sum(), rel=FLOAT32)
    assert f"feature decay {problem.feature_decay:.3g}, read off the trained network" in run.prediction_note
    assert run.history[-1]["effective_feature_decay"] == problem.feature_decay


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decoupled_decay_is_in_no_loss_and_its_reading_balances_the_pull(optimizer: str) -> None:
    run = parameters_decayed(decay="decoupled", optimizer=optimizer, weight_decay=0.1, epochs=20)
    features, outputs, weight = outputs_of(run)
    residual = outputs - np.eye(10)[SMALL.train.labels]
    bias = run.head.bias.detach().double().numpy()
    assert run.loss == pytest.approx(0.5 * (residual**2).sum(1).mean() + 0.05 * (bias**2).sum(), rel=FLOAT32)
    assert not {"loss_weight", "loss_features", "loss_backbone"} & set(run.history[-1])
    assert run.status is TrainingStatus.COMPLETED
    assert run.stationarity is None
    assert "no loss" in run.missing["stationarity"]
    assert run.prediction_kind == "effective"
    assert run.prediction is not None
    problem = run.prediction.problem
    pull = -(residual * (features @ weight.T)).sum(1).mean()
    assert problem.weight_decay * (weight**2).sum() == pytest.approx(pull, rel=FLOAT32)
    assert problem.feature_decay * (features**2).sum() == pytest.approx(pull, rel=FLOAT32)
    assert "weight decay" in run.prediction_note


def test_the_three_kinds_of_decay_give_three_networks() -> None:
    short: dict[str, Any] = {"epochs": 5, "finish": 0, "learning_rate": 3e-3}
    runs = [trained(**short), *(parameters_decayed(decay=kind, **short) for kind in ("plain", "decoupled"))]
    losses = {run.loss for run in runs}
    assert len(losses) == 3
    assert [run.settings.to_dict()["decay"] for run in runs] == ["ufm", "plain", "decoupled"]
    assert "loss_features" in runs[0].history[-1]
    assert "loss_backbone" in runs[1].history[-1]


def test_shrinking_before_a_step_of_adam_is_adamw() -> None:
    ours = torch.nn.Parameter(torch.arange(1.0, 8.0))
    theirs = torch.nn.Parameter(ours.detach().clone())
    adam, adamw = Adam([ours], lr=0.03), AdamW([theirs], lr=0.03, weight_decay=0.7)
    for scale in (1.0, -2.0, 0.5):
        for parameter in (ours, theirs):
            parameter.grad = scale * torch.cos(torch.arange(7.0))
        shrink_([ours], 0.03 * 0.7)
        adam.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_momentum_and_nesterov_are_those_of_torch() -> None:
    from encollapse.train.loop.optimizers import make

    run = trained(optimizer="sgd", momentum=0.7, nesterov=True, epochs=1, finish=0)
    made = make(run.model.parameters(), run.settings)
    assert isinstance(made, SGD)
    assert {name: made.defaults[name] for name in ("momentum", "nesterov", "weight_decay")} == {
        "momentum": 0.7,
        "nesterov": True,
        "weight_decay": 0,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "nesterov": True, "schedule": "cosine", "warm_up": 0.1},
        {"optimizer": "lbfgs"},
        {"schedule": "step"},
        pytest.param({"precision": "bf16-mixed", "epochs": 5}, marks=pytest.mark.filterwarnings("ignore:precision")),
        {"epochs": 60, "finish": 0},
    ],
    ids=["nesterov", "lbfgs", "step", "bfloat16", "adam-alone"],
)
def test_every_optimizer_and_schedule_ends_at_the_minimum(options: dict[str, Any]) -> None:
    run = trained(**options)
    assert gram_error(run) <= 0.01
    phases = {row["phase"] for row in run.history}
    first = set() if run.settings.optimizer == "lbfgs" else {run.settings.optimizer}
    assert phases == {"start"} | first | (set() if run.settings.finish == 0 else {"lbfgs"})


@pytest.mark.parametrize(
    "options",
    [
        {"features": "relu", "bias_decay": math.inf},
        {"features": "relu", "bias_decay": 0.0},
        {"classifier": "fixed", "loss": "cross_entropy"},
    ],
    ids=["relu-no-bias", "relu", "fixed-cross-entropy"],
)
def test_where_the_gradient_alone_judges_training_does_not_end_too_early(options: dict[str, Any]) -> None:
    run = trained(**options)
    assert run.converged
    assert run.settings.tolerance == 1e-5
    assert gram_error(run) <= 0.005
    # At the tolerance of the other networks more than that would be left.
    assert gram_error(trained(**options, tolerance=1e-3)) > 2 * gram_error(run)


@pytest.mark.parametrize("bias_decay", [0.0, 1.0, math.inf])
def test_under_a_fixed_classifier_the_features_go_where_convexity_says(bias_decay: float) -> None:
    run = trained(classifier="fixed", bias_decay=bias_decay)
    assert run.prediction_kind == "fixed_classifier"
    assert run.prediction is None
    assert gram_error(run) <= 0.005
    weight = run.head.weight.detach().double().numpy()
    np.testing.assert_allclose(weight @ weight.T, np.eye(10) - 0.1, atol=1e-5)
    # The frame is a projection P, so m_k = s P e_k with (s - 1) / 10 + 29 λ_H s = 0: the bias meets none of it.
    means = weight.T / (1 + 10 * 29 * FEATURE_DECAY)
    np.testing.assert_allclose(
        run.collapse.geometry.feature_gram, means.T @ means, atol=0.005 * float(means[:, 0] @ means[:, 0])
    )


def test_a_classifier_of_ones_own_stays_as_it_is() -> None:
    own = np.random.default_rng(3).standard_normal((10, 17))
    run = trained(classifier=own, feature_dim=17, epochs=2, finish=3)
    np.testing.assert_allclose(run.head.weight.detach().numpy(), own, rtol=1e-5)
    with pytest.raises(ArgumentError, match="classifier: has 9 rows for codewords of length 10"):
        trained(classifier=own[:9], feature_dim=17)


def test_an_optimizer_that_is_not_there_is_named() -> None:
    with pytest.raises(ArgumentError, match="optimizer: expected one of 'adam', 'adamw', 'sgd', 'lbfgs'"):
        trained(optimizer="lion")
