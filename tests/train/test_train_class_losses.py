"""Losses that treat classes differently: weights of classes and adjusted logits, against slow formulas."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.train import Run, fit, stationarity
from encollapse.train.loop.ridge_head import best_bias, best_head
from encollapse.train.losses import LogitAdjusted, TorchCrossEntropy

COUNTS = [31, 31, 31, 31, 31, 5, 5, 5, 5, 5]
RARE = ec.data.load("digits", counts=COUNTS, holdout=0.3, seed=3)
N = sum(COUNTS)
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 0.2**2 / (10 * N * 5e-3)}


def trained(**options: Any) -> Run:
    return fit(RARE, "one-hot", **{**DECAYS, "bias_decay": 0.4, "epochs": 5, "finish": 20} | options)


def outputs_of(run: Run) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, outputs on the training set, weight and bias, in float64."""
    with torch.no_grad():
        features = run.model.features(torch.tensor(RARE.train.inputs)).double()
        weight, bias = run.head.weight.double(), run.head.bias.double()
        return features, features @ weight.T + bias, weight, bias


@pytest.mark.parametrize("weights", ["balanced", [0.5, 1, 2, 1, 1, 3, 4, 5, 6, 7]])
def test_class_weights_multiply_the_loss_of_their_samples(weights: Any) -> None:
    run = trained(class_weights=weights)
    features, outputs, weight, bias = outputs_of(run)
    factors = [N / (10 * n) for n in COUNTS] if weights == "balanced" else weights
    slow = 0.0
    for output, label in zip(outputs, RARE.train.labels, strict=True):
        slow += factors[label] * 0.5 * float((output - torch.eye(10)[label]).square().sum()) / N
    slow += 0.5 * DECAYS["weight_decay"] * float(weight.square().sum())
    slow += 0.5 * DECAYS["feature_decay"] * float(features.square().sum())
    slow += 0.5 * 0.4 * float(bias.square().sum())
    assert run.loss == pytest.approx(slow, rel=1e-4)
    assert run.prediction_kind == "minimum"
    assert run.prediction is not None
    assert run.prediction.problem.class_weights == pytest.approx(factors)
    assert run.excess is not None
    assert run.excess.loss == pytest.approx(slow, rel=1e-4)
    plain = trained(decay="plain", feature_decay=None, class_weights=weights)
    assert plain.prediction_kind == "given activations"
    assert plain.prediction is not None
    assert plain.prediction.problem.class_weights == pytest.approx(factors)
    bent = trained(decay="plain", feature_decay=None, class_weights=weights, features="relu")
    assert bent.prediction_kind == "none"
    assert "class_weights" in bent.missing["comparison"]


def test_integer_weights_are_repeated_samples() -> None:
    rng = np.random.default_rng(0)
    features, targets = torch.tensor(rng.standard_normal((17, 3))), torch.tensor(rng.standard_normal((17, 2)))
    times = torch.tensor(rng.integers(1, 5, 17))
    rows = torch.repeat_interleave(torch.arange(17), times)
    many = len(rows)
    # Means are over 17 samples in one case and over all repeats in the other.
    decays: dict[str, Any] = {"weight_decay": 0.3, "bias_decay": 0.7}
    weighted = best_head(features, targets, **decays, weights=times.double())
    scaled: dict[str, Any] = {name: 17 / many * value for name, value in decays.items()}
    repeated = best_head(features[rows], targets[rows], **scaled)
    for one, other in zip(weighted, repeated, strict=True):
        torch.testing.assert_close(one, other)
    weight = torch.tensor(rng.standard_normal((2, 3)))
    one = best_bias(features, targets, weight, bias_decay=0.7, weights=times.double())
    other = best_bias(features[rows], targets[rows], weight, bias_decay=17 / many * 0.7)
    torch.testing.assert_close(one, other)


def test_weighted_stationarity_is_the_gradient_of_the_weighted_loss() -> None:
    rng = np.random.default_rng(1)
    labels = torch.tensor(np.repeat([0, 1, 2], [7, 5, 2]))
    targets = torch.tensor(rng.standard_normal((5, 3)).T[labels])
    weights = torch.tensor(rng.uniform(0.5, 3, 3))[labels]
    leaves = [torch.tensor(rng.standard_normal(s)).requires_grad_() for s in ((14, 4), (5, 4), (5,))]
    features, weight, bias = leaves
    loss = 0.5 * (weights * (features @ weight.T + bias - targets).square().sum(1)).mean()
    loss = loss + 0.5 * (0.2 * weight.square().sum() + 0.03 * features.square().sum() + 0.6 * bias.square().sum())
    loss.backward()  # type: ignore[no-untyped-call]
    squares = [float(leaf.grad.square().sum()) for leaf in leaves if leaf.grad is not None]
    total = squares[0] / 0.03 + squares[1] / 0.2 + squares[2] / 1.6
    found = stationarity(
        *(features.detach(), targets, labels, weight.detach(), bias.detach()),
        weight_decay=0.2,
        feature_decay=0.03,
        bias_decay=0.6,
        weights=weights,
    )
    assert found.descent == pytest.approx(total / float(targets.square().sum(1).mean()), rel=1e-12)


def test_logit_adjustment_adds_log_frequencies_in_training_alone() -> None:
    run = trained(loss="cross_entropy", logit_adjustment=1.5, bias_decay=0.4)
    features, outputs, weight, bias = outputs_of(run)
    shifted = outputs + 1.5 * torch.log(torch.tensor(COUNTS) / N)
    slow = float(functional.cross_entropy(shifted, torch.tensor(RARE.train.labels)))
    slow += 0.5 * DECAYS["weight_decay"] * float(weight.square().sum())
    slow += 0.5 * DECAYS["feature_decay"] * float(features.square().sum())
    assert run.loss == pytest.approx(slow + 0.2 * float(bias.square().sum()), rel=1e-4)
    assert run.prediction_kind == "none"
    # The decision is by the outputs themselves.
    right = outputs.argmax(1).numpy() == RARE.train.labels
    assert run.collapse.accuracy == pytest.approx(right.mean())


def test_adjusted_slopes_are_the_derivative_and_no_adjustment_is_cross_entropy() -> None:
    rng = np.random.default_rng(2)
    outputs = torch.tensor(rng.standard_normal((7, 3))).requires_grad_()
    targets = torch.tensor(rng.dirichlet(np.ones(3), 7))
    adjusted, plain = LogitAdjusted(torch.tensor([0.3, -1.0, 2.0])), LogitAdjusted(torch.zeros(3))
    adjusted.values(outputs, targets).sum().backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad, adjusted.slopes(outputs.detach(), targets))
    torch.testing.assert_close(plain.values(outputs, targets), TorchCrossEntropy().values(outputs, targets))
    assert plain.scale(targets) == pytest.approx(TorchCrossEntropy().scale(targets), rel=1e-6)


def test_accuracies_of_the_hold_out_by_class() -> None:
    run = trained(finish=0)
    assert RARE.test is not None
    with torch.no_grad():
        decided = run.model(torch.tensor(RARE.test.inputs)).argmax(1).numpy()
    shares = [(decided[RARE.test.labels == k] == k).mean() for k in range(10)]
    assert run.test_balanced_accuracy == pytest.approx(np.mean(shares))
    assert run.test_minority_accuracy == pytest.approx(np.mean(shares[5:]))
    even = fit(ec.data.load("digits", holdout=0.2), "one-hot", **DECAYS, epochs=1, finish=0)
    assert even.test_minority_accuracy is None
    assert even.test_balanced_accuracy is not None


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"class_weights": "even"}, ArgumentError, "class_weights: expected"),
        ({"class_weights": [1.0, 2.0]}, ArgumentError, "class_weights: expected one for each of 10 classes, got 2"),
        ({"class_weights": [1.0] * 9 + [0.0]}, ArgumentError, r"class_weights\[9\]: .* above 0"),
        ({"logit_adjustment": 1.0}, ArgumentError, "logit_adjustment: .* use loss='cross_entropy'"),
        ({"logit_adjustment": -1.0, "loss": "cross_entropy"}, ArgumentError, "logit_adjustment"),
        ({"logit_adjustment": "1", "loss": "cross_entropy"}, ArgumentTypeError, "logit_adjustment"),
        ({"logit_adjustment": math.inf, "loss": "cross_entropy"}, ArgumentError, "logit_adjustment"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        trained(**options)


def test_logit_adjustment_needs_every_output() -> None:
    unused = ec.encodings.Encoding(np.eye(11)[:, :10])
    with pytest.raises(ArgumentError, match="logit_adjustment: no sample asks for output 10"):
        fit(RARE, unused, **DECAYS, loss="cross_entropy", logit_adjustment=1.0, bias_decay=1.0, epochs=1)
