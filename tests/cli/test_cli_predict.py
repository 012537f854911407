"""``encollapse predict``: what it prints and draws, and that it is the library's answer."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli

PREDICT = ["predict", "-e", "one-hot", "--classes", "4", "--samples-per-class", "5"]
DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]

Capture = pytest.CaptureFixture[str]
Answer = Callable[..., Any]


def test_predict_gives_the_ground_truth(answer: Answer) -> None:
    found = answer(*PREDICT, *DECAYS, "--bias-decay", "0.06")
    assert found["critical_bias_decay"] == pytest.approx(0.0291076, abs=1e-6)
    assert found["mean_cosine"] == pytest.approx(-0.1380208, abs=1e-6)
    assert found["bias"] == pytest.approx([0.1178511] * 4, abs=1e-6)
    assert found["loss"] == pytest.approx(0.0262176, abs=1e-6)
    assert found["certificate"]["holds"] is True


def test_predict_takes_infinity_counts_and_options(answer: Answer) -> None:
    arguments = ["predict", "-e", "label_smoothing", "-O", "smoothing=0.2", "--counts", "100,50,20"]
    found = answer(*arguments, *DECAYS, "--bias-decay", "inf")
    problem = ec.ufm.Problem(
        ec.encodings.label_smoothing(3, 0.2), [100, 50, 20], weight_decay=5e-3, feature_decay=2e-3, bias_decay=math.inf
    )
    solution = ec.ufm.solve(problem)
    assert found["bias_decay"] == "inf"
    assert found["loss"] == solution.loss
    np.testing.assert_array_equal(found["feature_gram"], solution.geometry.feature_gram)


def test_predict_takes_loss_depth_and_sign_of_the_features(answer: Answer, capsys: Capture) -> None:
    kinds: list[tuple[list[str], dict[str, Any]]] = [
        (["--loss", "cross_entropy"], {"loss": "cross_entropy"}),
        (["--depth", "3"], {"depth": 3}),
        (["--features", "relu"], {"features": "relu"}),
    ]
    small = ["--weight-decay", "5e-3", "--feature-decay", "1e-4"]
    for flags, options in kinds:
        found = answer(*PREDICT, *small, *flags)
        problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=1e-4, **options)
        assert found["loss"] == pytest.approx(ec.ufm.solve(problem).loss, rel=1e-9)
    assert cli.run([*PREDICT, *small, "--loss", "hinge"]) == 2
    assert "loss" in capsys.readouterr().err


def test_predict_reads_an_encoding_file(answer: Answer, tmp_path: Path) -> None:
    path = ec.encodings.random(5, 3, seed=7).save(tmp_path / "code.json")
    found = answer("predict", "--encoding", str(path), "--samples-per-class", "11", *DECAYS)
    assert found["num_classes"] == 5


def test_predict_path_shows_the_transition(answer: Answer) -> None:
    found = answer(*PREDICT, *DECAYS, "--path")
    rows = found["path"]
    assert rows[0]["bias_decay"] == 0.0
    assert rows[0]["mean_cosine"] == pytest.approx(-1 / 3, abs=1e-12)
    assert rows[-1]["bias_decay"] == "inf"
    assert rows[-1]["mean_cosine"] == pytest.approx(0.0, abs=1e-12)
    assert found["critical_bias_decay"] in [row["bias_decay"] for row in rows]


def test_predict_draws_the_transition_with_its_data(capsys: Capture, tmp_path: Path) -> None:
    critical = 0.3 / 0.7  # t / (1 - t) at t = 0.3
    decays = ["--weight-decay", "5e-3", "--feature-decay", str(0.3**2 / (4 * 20 * 5e-3))]
    for suffix in ("svg", "png", "pdf"):
        assert cli.run([*PREDICT, *decays, "--path", "-o", str(tmp_path / f"turn.{suffix}")]) == 0
        assert (tmp_path / f"turn.{suffix}").stat().st_size > 5_000
        with (tmp_path / "turn.csv").open() as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        assert rows[0]["bias_decay"] == 0.0
        assert rows[0]["bias_norm"] == pytest.approx(0.5)  # the norm of the label mean
        assert math.isinf(rows[-1]["bias_decay"])
        for row in rows:
            turned = row["mean_cosine"] > -1 / 3 + 1e-9
            assert turned == (row["bias_decay"] > critical * (1 + 1e-9))
    capsys.readouterr()
    assert cli.run([*PREDICT, *decays, "-o", str(tmp_path / "turn.svg")]) == 2
    assert "--path" in capsys.readouterr().err
    assert cli.run([*PREDICT, *decays, "--path", "-o", str(tmp_path / "turn.gif")]) == 2
    assert ".svg or .png or .pdf" in capsys.readouterr().err


def test_tables_of_predictions(capsys: Capture) -> None:
    assert cli.run([*PREDICT, *DECAYS]) == 0
    printed = capsys.readouterr().out
    for part in ("certificate", "loss", "threshold c", "critical λ_b", "singular values", "cosines of means"):
        assert part in printed
    assert "−0.333333 for every pair" in printed
    assert cli.run([*PREDICT, *DECAYS, "--path"]) == 0
    assert "critical" in capsys.readouterr().out


def test_one_sample_a_class_is_one(capsys: Capture) -> None:
    one = ["predict", "-e", "one-hot", "--classes", "4", "--samples-per-class", "1", *DECAYS]
    assert cli.run(one) == 0
    assert "4 classes, 1 sample each" in capsys.readouterr().out


def test_a_dash_in_a_path_is_explained(capsys: Capture) -> None:
    """Without a bias the first class of a thermometer code, whose codeword is zero, has a zero class mean."""
    ordinal = ["predict", "-e", "ordinal", "--counts", "31,29,23", "--weight-decay", "5e-3", "--feature-decay", "2e-4"]
    assert cli.run([*ordinal, "--path"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "–: there a class mean is zero, which has no angle to the others." in printed
    assert cli.run([*PREDICT, *DECAYS, "--path"]) == 0
    assert "no angle" not in capsys.readouterr().out


def test_options_may_be_lists(answer: Answer) -> None:
    tree = '[["0","1"],["2","3"]]'
    found = answer("predict", "-e", "hierarchical", "-O", f"tree={tree}", "--counts", "7,7,7,7", *DECAYS)
    cosines = np.array(found["cosines"])
    assert cosines[0, 1] > cosines[0, 2] + 0.1


def test_a_million_classes(answer: Answer, capsys: Capture) -> None:
    large = ["predict", "-e", "one-hot", "--classes", "1000003", "--samples-per-class", "7"]
    large += ["--weight-decay", "1e-6", "--feature-decay", "1e-9"]
    assert cli.run(large) == 0
    assert "(1000002 times)" in capsys.readouterr().out
    assert cli.run([*large, "--path"]) == 0
    assert "critical" in capsys.readouterr().out


def test_numbers_for_each_pair_are_left_out_where_there_are_too_many(answer: Answer) -> None:
    found = answer("predict", "-e", "simplex", "--classes", "2003", "--samples-per-class", "7", *DECAYS)
    assert found["cosines"] is None
    assert "2000 classes" in found["left_out"]


def test_each_layer_may_have_its_own_decay(answer: Answer, refusal: Callable[..., tuple[str, str]]) -> None:
    line = ["predict", "-e", "one-hot", "--counts", "90,60,30", "--feature-decay", "1e-5", "--weight-decay"]
    found = answer(*line, "1e-3,5e-3", "--depth", "2")
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(3), [90, 60, 30], weight_decay=[1e-3, 5e-3], feature_decay=1e-5, depth=2
    )
    assert found["loss"] == ec.ufm.solve(problem).loss
    assert found["weight_decays"] == [1e-3, 5e-3]
    assert "got 2" in refusal(*line, "1e-3,5e-3")[0]
    assert "'x'" in refusal(*line, "x")[0]
