"""Training real networks: they reach the exact minimum, reproducibly, and say so when they do not."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.data import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning, TrainingError
from encollapse.train import Run, TrainingStatus, fit

WEIGHT_DECAY = 5e-3
T = 0.3
CRITICAL = T / (1 - T)
SMALL = ec.data.load("digits", counts=29, seed=7)
IMBALANCED = ec.data.load("digits", counts=np.geomspace(90, 9, 10).round().astype(int), seed=7)


def feature_decay(dataset: Dataset, t: float = T) -> float:
    """``λ_H`` for which ``c √K = t``."""
    return t**2 / (dataset.num_classes * len(dataset.train) * WEIGHT_DECAY)


def trained(dataset: Dataset = SMALL, encoding: Any = "one-hot", t: float = T, **options: Any) -> Run:
    return fit(dataset, encoding, weight_decay=WEIGHT_DECAY, feature_decay=feature_decay(dataset, t), **options)


def errors(run: Run) -> tuple[float, float]:
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    assert run.comparison.bias_error is not None
    return run.comparison.gram_error, run.comparison.bias_error


@pytest.mark.slow
@pytest.mark.parametrize("bias_decay", [CRITICAL, 100.0, math.inf])
def test_one_hot_networks_reach_the_minimum_along_the_transition(bias_decay: float) -> None:
    run = trained(bias_decay=bias_decay)
    gram_error, bias_error = errors(run)
    assert run.status is TrainingStatus.STATIONARY
    assert gram_error < 0.01
    assert bias_error < 0.005
    # Nothing lies below the minimum, and float32 features cannot be further above it than the tolerance.
    assert run.relative_excess is not None
    assert -1e-9 < run.relative_excess < 1e-3
    assert run.stationarity is not None
    assert run.stationarity <= run.settings.tolerance


@pytest.mark.slow
def test_imbalanced_networks_reach_the_minimum_too() -> None:
    gram_error, bias_error = errors(trained(IMBALANCED, bias_decay=0.1))
    assert gram_error < 0.01
    assert bias_error < 0.005


@pytest.mark.slow
def test_the_split_of_the_regularization_does_not_matter() -> None:
    """Only c and λ_b shape the minimum; training must not depend on how c is shared out, beyond rounding."""
    c_squared = T**2 / 10
    decays = (1e-4, 0.5)
    runs = [
        fit(
            SMALL,
            "one-hot",
            weight_decay=decay,
            feature_decay=c_squared / (len(SMALL.train) * decay),
            bias_decay=1.0,
            epochs=3,
            finish=5,
        )
        for decay in decays
    ]
    assert runs[0].history[0]["loss"] == pytest.approx(runs[1].history[0]["loss"], rel=1e-6)
    assert runs[0].loss == pytest.approx(runs[1].loss, rel=1e-3)


def test_total_collapse_is_a_result() -> None:
    run = trained(t=1.4)
    assert run.prediction is not None
    assert run.prediction.rank == 0
    assert run.comparison is not None
    assert run.comparison.gram_error is None
    assert "zero" in run.comparison.missing["gram_error"]
    assert run.comparison.bias_error is not None
    assert run.comparison.bias_error < 0.005
    assert float(np.abs(run.collapse.geometry.feature_gram).max()) < 1e-3


@pytest.mark.slow
def test_networks_near_total_collapse_are_not_lost_to_it() -> None:
    """At t = 0.9 features are worth learning still, but zero is a saddle that plain training falls into."""
    gram_error, _ = errors(trained(t=0.9, bias_decay=1.0))
    assert gram_error < 0.03


def test_the_same_seed_gives_the_same_network_and_the_callers_generators_stay_put() -> None:
    torch.manual_seed(3)
    random.seed(3)
    torch_state, threads = torch.get_rng_state(), torch.get_num_threads()
    python_state, numpy_state = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    first, second, other = (trained(epochs=2, finish=10, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert random.getstate() == python_state
    assert repr(np.random.get_state()) == numpy_state  # noqa: NPY002
    assert torch.get_num_threads() == threads
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert first.history == second.history
    assert first.loss != other.loss


def test_history_tells_both_phases_in_plain_values() -> None:
    run = trained(epochs=5, finish=8, history_every=4, tolerance=0.0)
    assert [(row["epoch"], row["phase"]) for row in run.history] == [
        (0, "start"),
        (4, "adam"),
        (5, "adam"),
        (9, "lbfgs"),
        (13, "lbfgs"),
    ]
    assert run.status is TrainingStatus.BUDGET
    assert "budget" in run.message
    assert json.loads(json.dumps(run.history)) == list(run.history)
    assert run.history[-1]["loss"] == run.loss < run.history[0]["loss"]
    assert run.history[-1]["stationarity"] == run.stationarity
    assert run.stationarity == max(run.history[-1]["descent"], run.history[-1]["escape"])
    # L-BFGS with a line search never raises the loss.
    assert run.history[4]["loss"] <= run.history[3]["loss"] <= run.history[2]["loss"]
    assert {"mean_cosine", "accuracy", "nc1_trace_ratio"} <= set(run.history[0])


def test_the_loss_is_the_objective_of_the_returned_network() -> None:
    run = trained(epochs=2, finish=5, bias_decay=0.7)
    inputs, labels = torch.tensor(SMALL.train.inputs), SMALL.train.labels
    with torch.no_grad():
        features = run.model.features(inputs).double().numpy()
        outputs = run.model(inputs).double().numpy()
        weight, bias = run.head.weight.double().numpy(), run.head.bias.double().numpy()
    n, targets = len(labels), np.eye(10)[labels]
    loss = ((outputs - targets) ** 2).sum() / (2 * n) + WEIGHT_DECAY / 2 * (weight**2).sum()
    loss += feature_decay(SMALL) / 2 * (features**2).sum() + 0.7 / 2 * (bias**2).sum()
    assert run.loss == pytest.approx(loss, rel=1e-5)
    means = np.stack([features[labels == k].mean(0) for k in range(10)])
    np.testing.assert_allclose(run.collapse.geometry.feature_gram, means @ means.T, rtol=1e-4, atol=1e-7)


def test_without_a_bias_the_head_has_no_such_parameter() -> None:
    run = trained(epochs=1, finish=2, bias_decay=math.inf)
    assert "head.bias" not in run.model.state_dict()
    assert run.settings.to_dict()["bias_decay"] == "inf"
    bias = run.collapse.geometry.bias
    assert bias is not None
    assert not bias.any()


def test_rectified_features_are_not_negative_and_meet_their_own_theory() -> None:
    run = trained(features="relu", bias_decay=0.0, finish=400)
    with torch.no_grad():
        assert float(run.model.features(torch.tensor(SMALL.train.inputs)).min()) >= 0
    assert run.prediction is not None
    assert run.prediction.problem.features == "relu"
    assert run.relative_excess is not None
    assert -1e-9 < run.relative_excess < 0.05


def test_a_minimum_that_many_geometries_share_is_compared_by_its_loss_alone() -> None:
    # One-hot in three dimensions: nine equal singular values, of which any three may be learned.
    run = trained(feature_dim=3, epochs=2, finish=5)
    assert run.comparison is None
    assert "several geometries" in run.missing["comparison"]
    assert run.relative_excess is not None


def test_convolutions_train_on_images_and_hold_out_is_scored() -> None:
    run = trained(ec.data.load("digits", counts=60, holdout=0.2), model="cnn", epochs=12, finish=5)
    assert run.test_accuracy is not None
    assert 0.85 < run.test_accuracy < 1
    assert "test_accuracy" not in run.missing
    assert "test_accuracy" in trained(epochs=1, finish=0).missing


def test_any_labeled_arrays_can_be_trained_on() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 4)
    inputs = rng.standard_normal((20, 7)) + 3 * np.eye(5, 7)[labels]
    run = trained(Dataset("mine", Split(inputs, labels)), ec.encodings.random(5, 3), epochs=3, finish=20)
    assert run.collapse.geometry.feature_gram.shape == (5, 5)
    constant = Dataset("constant", Split(np.zeros((20, 7)), labels))
    assert math.isfinite(trained(constant, "one-hot", epochs=1, finish=3).loss)


def test_divergence_is_an_error_that_names_the_learning_rate() -> None:
    with pytest.raises(TrainingError, match="learning_rate=1e\\+12"):
        trained(learning_rate=1e12, epochs=3, finish=0)


class Broken(torch.nn.Module):
    """A layer that fails in one of several ways."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = torch.nn.Linear(7, 11), kind

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.layer(inputs)
        broken = {
            "nan": h * math.nan,
            "inf": h * math.inf,
            "one sample": torch.where(torch.arange(len(h))[:, None] == 17, math.nan, h),
            "in training": h * math.nan if self.training else h,
            "gradient": h + (h * 0).square().sum(1, keepdim=True).sqrt(),
            "huge": h * 1e30,
            "rows": h[:23],
            "float64": h.double(),
        }
        return broken[self.kind]


def spread(scale: float = 1.0, shift: float = 0.0) -> Dataset:
    labels = np.repeat(np.arange(5), 7)
    inputs = np.random.default_rng(0).standard_normal((35, 7)) + labels[:, None]
    return Dataset("spread", Split(scale * inputs + shift, labels))


@pytest.mark.parametrize("decay", ["ufm", "plain"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("nan", r"model: 35 of 35 samples .* before any training \(the first is sample 0: nan"),
        ("inf", "model: 35 of 35 samples .* before any training"),
        ("one sample", r"model: 1 of 35 samples .*the first is sample 17: nan"),
        ("in training", "model: .* in training mode"),
        ("gradient", r"model: the gradient of parameter .*layer\.weight"),
        ("huge", "model: features as large as .*e\\+3"),
        ("rows", "model: Broken gave 23 rows for 35 inputs"),
        ("float64", "model: Broken gave features of type float64"),
    ],
)
def test_a_broken_network_is_named_and_not_the_learning_rate(kind: str, text: str, decay: str) -> None:
    options: dict[str, Any] = {"feature_decay": 1e-3} if decay == "ufm" else {"decay": "plain"}
    with pytest.raises((TrainingError, ArgumentError), match=text):
        fit(spread(), "one-hot", weight_decay=5e-3, model=Broken(kind), epochs=1, finish=1, **options)


@pytest.mark.parametrize("scale", [1e-40, 1e36])
def test_inputs_beyond_the_range_of_float32_are_named(scale: float) -> None:
    with pytest.raises(ArgumentError, match=r"inputs: a mean of .* and a standard deviation of"):
        trained(spread(scale), epochs=1, finish=0)


@pytest.mark.parametrize(("scale", "shift"), [(1e-300, 0.0), (1.0, 1e12)])
def test_inputs_that_differ_only_beyond_float32_are_refused(scale: float, shift: float) -> None:
    with pytest.raises(ArgumentError, match="inputs: the samples differ, but are all the same in float32"):
        spread(scale, shift)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "feature_decay", "bias_decay"])
@pytest.mark.parametrize("value", [1e38, 1e300])
def test_numbers_that_no_step_in_float32_can_use_are_refused(name: str, value: float) -> None:
    options: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3, "epochs": 1, "finish": 0}
    with pytest.raises(ArgumentError, match=f"{name}: training takes numbers up to"):
        fit(spread(), "one-hot", **options | {name: value})


def test_saving_keeps_the_network_and_the_record(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = trained(epochs=2, finish=2)
    target = run.save(tmp_path / "run")
    written = ["encoding.npz", "geometry.safetensors", "model.safetensors", "run.json"]
    assert sorted(path.name for path in target.iterdir()) == written
    state = load_file(target / "model.safetensors")
    assert all(torch.equal(state[name], value) for name, value in run.model.state_dict().items())
    record = json.loads((target / "run.json").read_text())
    assert record["settings"]["weight_decay"] == WEIGHT_DECAY
    assert record["loss"] == run.loss
    assert record["comparison"]["gram_error"] == errors(run)[0]


GOOD: dict[str, Any] = {"weight_decay": 1e-2, "feature_decay": 1e-3}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", 0.0),
        ("weight_decay", -1.0),
        ("weight_decay", math.nan),
        ("weight_decay", math.inf),
        ("feature_decay", 0.0),
        ("feature_decay", math.nan),
        ("bias_decay", -0.1),
        ("bias_decay", math.nan),
        ("model", "resnet"),
        ("feature_dim", 0),
        ("features", "tanh"),
        ("epochs", -1),
        ("finish", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("batch_size", 0),
        ("tolerance", -1e-3),
        ("tolerance", math.nan),
        ("seed", -1),
        ("seed", 2**63),
        ("device", "abacus"),
        ("history_every", 0),
        ("encoding", "two-hot"),
        ("encoding", ec.encodings.one_hot(3)),
        ("dataset", "cifar"),
    ],
)
def test_arguments_out_of_range_are_named(name: str, value: Any) -> None:
    arguments = {"dataset": SMALL, "encoding": "one-hot", **GOOD, name: value}
    with pytest.raises(ArgumentError, match="name" if name == "dataset" else name):
        fit(**arguments)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"feature_decay": None}, "feature_decay: missing"),
        ({"decay": "plain"}, "feature_decay: decay='plain'"),
        ({"decay": "lasso"}, "decay: expected one of"),
        ({"loss": "hinge"}, "loss: expected one of"),
        ({"optimizer": "adamw"}, "optimizer: 'adamw' is Adam with decoupled decay"),
        ({"decay": "decoupled", "feature_decay": None, "optimizer": "adam"}, "optimizer: decay='decoupled'"),
        ({"decay": "decoupled", "feature_decay": None, "finish": 3}, "finish: L-BFGS minimizes a loss"),
        ({"optimizer": "lbfgs", "epochs": 3}, "epochs: optimizer='lbfgs'"),
        ({"nesterov": True}, "nesterov: needs optimizer='sgd'"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum: expected a number below 1"),
        ({"warm_up": 1.5}, "warm_up: expected a number below 1"),
        ({"schedule": "zigzag"}, "schedule: expected one of"),
        ({"precision": "8-bit"}, "precision: expected one of"),
        ({"devices": 0}, "devices: expected at least 1"),
        ({"classifier": "random"}, "classifier: expected one of"),
        ({"classifier": np.ones((10, 3))}, "classifier: has 3 columns for feature_dim=64"),
        ({"history_every": "often"}, "history_every: expected one of 'log'"),
        ({"history_every": [3, -1]}, r"history_every\[1\]: expected at least 0"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds: expected a number"),
    ],
)
def test_settings_that_exclude_each_other_say_so(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        fit(SMALL, "one-hot", **GOOD | options)


def test_the_options_are_known_without_loading_torch() -> None:
    probe = "import encollapse.train.settings, sys; print([m for m in ('torch', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", np.ones((3, 3))),
        ("encoding", np.eye(10)),
        ("weight_decay", "small"),
        ("epochs", 2.5),
        ("batch_size", True),
        ("seed", "0"),
        ("progress", "yes"),
        ("keep_frames", 1),
        ("model_options", "wide"),
        ("checkpoint", 7),
    ],
)
def test_arguments_of_the_wrong_type_are_named(name: str, value: Any) -> None:
    arguments = {"dataset": SMALL, "encoding": "one-hot", **GOOD, name: value}
    with pytest.raises(ArgumentTypeError, match=name):
        fit(**arguments)


def test_images_are_needed_for_convolutions() -> None:
    flat = Dataset("flat", Split(np.ones((4, 6)) * np.arange(4)[:, None], np.array([0, 1, 0, 1])))
    with pytest.raises(ArgumentError, match="model: 'cnn' needs"):
        fit(flat, "one-hot", model="cnn", **GOOD)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ArgumentError, match="device: 'cuda' is not available"):
        fit(SMALL, "one-hot", device="cuda", **GOOD)


def test_the_earlier_name_of_the_status_is_read_with_a_warning() -> None:
    with pytest.warns(EncollapseWarning, match=r"encollapse\.train\.Status is now called TrainingStatus"):
        assert ec.train.Status is TrainingStatus
