"""``encollapse train``: every group of options arrives where it should, and help says what there is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import encollapse as ec
from encollapse import cli
from encollapse.train.options import CLASSIFIERS, DECAYS, LOSSES, OPTIMIZERS, PRECISIONS, SCHEDULES

TRAIN = ["train", "digits", "-e", "one-hot", "--weight-decay", "5e-3"]
UFM = [*TRAIN, "--feature-decay", "1e-3"]
SHORT = ["--epochs", "1", "--finish", "0"]
FEW = ["--data-option", "per_class=5"]

Capture = pytest.CaptureFixture[str]
Answer = Callable[..., Any]


def test_help_names_all_that_the_catalogs_know(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.run(["train", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    known = [*ec.data.names(), *ec.train.names(), *LOSSES, *DECAYS, *OPTIMIZERS, *SCHEDULES, *PRECISIONS]
    for name in [*known, *CLASSIFIERS]:
        assert name in printed, name


def test_options_of_the_data(answer: Answer) -> None:
    tail = answer(*UFM, *SHORT, "--imbalance", "exponential:first=40,ratio=8", "--label-noise", "0.2")
    counts = ec.data.class_counts({"kind": "exponential", "first": 40, "ratio": 8}, np.full(10, 170))
    assert tail["data"]["counts"] == counts.tolist()
    assert (counts[0], counts[-1]) == (40, 5)
    assert tail["data"]["label_noise"]["fraction"] == 0.2
    assert tail["data"]["label_noise"]["changed"] > 0
    few = answer(*UFM, *SHORT, *FEW, "--data-option", "seed=3", "--label-noise", "pairwise:fraction=0.4")
    assert few["data"]["counts"] == [5] * 10
    assert few["data"]["seed"] == 3
    assert few["data"]["label_noise"] == {"kind": "pairwise", "fraction": 0.4, "changed": 20}
    held = answer(*UFM, *SHORT, "--holdout", "0.5", "--imbalance", "explicit:counts=" + str([7] * 10))
    assert held["data"]["counts"] == [7] * 10
    assert 0 <= held["test_accuracy"] <= 1


def test_options_of_the_network(answer: Answer, tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", np.eye(10, 12))
    found = answer(
        *UFM, *SHORT, *FEW, "--model-option", "width=17", "--model-option", "activation=gelu",
        "--feature-dim", "12", "--classifier", str(tmp_path / "frame.npy"),
    )  # fmt: skip
    settings = found["settings"]
    assert settings["model_options"]["width"] == 17
    assert settings["model_options"]["activation"] == "gelu"
    assert (settings["feature_dim"], settings["classifier"]) == (12, "given")
    assert found["prediction_kind"] == "fixed_classifier"
    assert answer(*UFM, *SHORT, *FEW, "--classifier", "fixed")["settings"]["classifier"] == "fixed"


def test_options_of_the_training(answer: Answer, tmp_path: Path) -> None:
    found = answer(
        *TRAIN, *FEW, "--decay", "plain", "--optimizer", "sgd", "--schedule", "cosine",
        "--learning-rate", "0.03", "--momentum", "0.7", "--batch-size", "13", "--precision", "bf16-mixed",
        "--epochs", "3", "--finish", "2", "--history-every", "1,2", "--checkpoint", str(tmp_path / "state"),
        "--nesterov", "--warm-up", "0.25", "--checkpoint-seconds", "3.5", "--keep-checkpoint", "--devices", "1",
        "--frames", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    wanted = {
        "decay": "plain", "feature_decay": None, "optimizer": "sgd", "schedule": "cosine",
        "learning_rate": 0.03, "momentum": 0.7, "batch_size": 13, "precision": "bf16-mixed",
        "history_every": [1, 2], "checkpoint": str(tmp_path / "state"), "nesterov": True, "warm_up": 0.25,
        "checkpoint_seconds": 3.5, "keep_checkpoint": True, "keep_frames": True, "devices": 1,
    }  # fmt: skip
    assert {name: found["settings"][name] for name in wanted} == wanted
    assert [row["epoch"] for row in found["history"]] == [0, 1, 2, 5]
    assert found["prediction_kind"] == "given activations"
    frames = load_file(tmp_path / "out" / "frames.safetensors")
    assert frames["epoch"].tolist() == [0, 1, 2, 5]
    assert {name: frames[name].shape for name in ("class_means", "weight", "bias")} == {
        "class_means": (4, 64, 10), "weight": (4, 10, 64), "bias": (4, 10),
    }  # fmt: skip
    entropy = answer(*UFM, *SHORT, *FEW, "--loss", "cross_entropy", "--history-every", "log")
    assert entropy["settings"]["loss"] == "cross_entropy"
    adjusted = answer(*UFM, *SHORT, *FEW, "--loss", "cross_entropy", "--logit-adjustment", "0.5")
    assert adjusted["settings"]["logit_adjustment"] == 0.5
    for text, weights in (("balanced", "balanced"), ("1,2,3,4,5,6,7,8,9,.5", [*range(1, 10), 0.5])):
        weighted = answer(*UFM, *SHORT, *FEW, "--class-weights", text)
        assert weighted["settings"]["class_weights"] == weights
    assert answer(*UFM, *SHORT, *FEW, "--history-every", "7")["settings"]["history_every"] == 7
    decoupled = answer(*TRAIN, *FEW, "--decay", "decoupled", "--epochs", "2")
    assert decoupled["settings"]["optimizer"] == "adamw"
    assert decoupled["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (TRAIN, "feature_decay: missing"),
        ([*UFM, "--decay", "plain"], "feature_decay: --decay plain"),
        ([*UFM, "--optimizer", "lion"], "optimizer: expected one of"),
        ([*UFM, "--history-every", "often"], "history_every: expected a whole number, log"),
        ([*UFM, "--model-option", "width"], "model-option: expected NAME=VALUE"),
        ([*UFM, "--model-option", "girth=3"], "girth"),
        ([*UFM, "--data-option", "folder=x"], "folder: 'digits' has no such option"),
        ([*UFM, "--counts", "5,5", "--data-option", "counts=5"], "data-option: counts is given by a flag"),
        ([*UFM, "--imbalance", "steep:ratio=3"], "imbalance.kind: expected one of"),
        ([*UFM, "--imbalance", "exponential:3"], "imbalance: expected NAME=VALUE"),
        ([*UFM, "--label-noise", "1.5"], "label_noise.fraction"),
        ([*UFM, "--frames"], "--frames: needs a folder"),
    ],
)
def test_bad_options_are_named(capsys: Capture, arguments: list[str], message: str) -> None:
    assert cli.run(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_training_says_what_came_of_it_and_is_measured_and_diagnosed_from_its_folder(
    answer: Answer, capsys: Capture, tmp_path: Path
) -> None:
    assert cli.run([*UFM, *SHORT, *FEW, "--bias-decay", "0.1", "--out", str(tmp_path / "run")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    run = ec.train.load(tmp_path / "run")
    assert run.prediction is not None
    assert run.excess is not None
    assert f"accuracy {100 * (run.collapse.accuracy or 0.0):.2f} %" in printed
    assert f"λ_b* {run.prediction.problem.critical_bias_decay():.4g}, trained at λ_b = 0.1" in printed
    assert "tr Σ_W / tr Σ_B" in printed
    assert "mean cosine " in printed
    assert f"folder{tmp_path / 'run'}" in printed.replace(" ", "")
    measured = answer("measure", str(tmp_path / "run"))
    assert measured["nc1_trace_ratio"] == run.collapse.nc1_trace_ratio
    assert cli.run(["measure", str(tmp_path / "run")]) == 0
    assert "per_class()" not in capsys.readouterr().out  # which is no word of the terminal
    diagnosed = answer("diagnose", str(tmp_path / "run"))
    assert diagnosed["law"] == "explicit_feature_decay"
    assert diagnosed["excess"]["total"] == run.excess.total
    assert cli.run(["diagnose", str(tmp_path / "run"), "--data", "digits"]) == 2
    assert "leave --model and --data out" in capsys.readouterr().err


def test_a_training_that_can_learn_nothing_says_why(capsys: Capture) -> None:
    strong = ["train", "digits", "-e", "one-hot", "--weight-decay", "5", "--feature-decay", "5"]
    assert cli.run([*strong, *SHORT, *FEW]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nothing is learned and all class means are zero. Lower weight_decay" in printed
