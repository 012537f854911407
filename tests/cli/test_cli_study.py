"""``encollapse study``: networks trained, planned, stored and reported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import encollapse as ec
from encollapse import cli
from reference.study_folder import study_of, write_folder

DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]

Capture = pytest.CaptureFixture[str]
Answer = Callable[..., Any]


def test_train_study_and_report(answer: Answer, capsys: Capture, tmp_path: Path) -> None:
    found = answer(
        "train", "digits", "-e", "one-hot", "--counts", ",".join(["5"] * 10), *DECAYS,
        "--bias-decay", "inf", "--epochs", "1", "--finish", "0", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert found["settings"]["bias_decay"] == "inf"
    assert found["comparison"]["gram_error"] > 0
    assert (tmp_path / "run" / "model.safetensors").is_file()

    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\ntitle = "Tiny"\n[[runs]]\ndataset = { name = "digits", counts = 9999 }\n'
        'encoding = "one-hot"\nweight_decay = 5e-3\nrelative_threshold = 0.3\nbias_decay = 0\n[[runs]]\nepochs = 1\n'
        'train = { finish = 0 }\ndataset = { name = "digits", counts = 5 }\nencoding = "one-hot"\n'
        "weight_decay = 5e-3\nrelative_threshold = 0.3\nbias_decay = 0\n"
    )
    out = tmp_path / "out"
    assert cli.run(["study", str(file), "--out", str(out), "--executor", "inline", "--json"]) == 1
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert (summary["done"], summary["failed"], summary["missing"]) == (1, 1, 0)
    assert "[2/2] done" in printed.err
    assert answer("report", str(out)) == {"page": str(out / "report" / "index.html")}
    assert "fewer than 9999" in (out / "report" / "index.html").read_text()


def test_report_prints_where_the_page_is(capsys: Capture, tmp_path: Path) -> None:
    write_folder(tmp_path, study_of())
    assert cli.run(["report", str(tmp_path)]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert printed == str(tmp_path / "report" / "index.html")


def test_built_in_studies_are_listed(answer: Answer) -> None:
    assert [entry["name"] for entry in answer("study", "--list")] == list(ec.study.names())


def test_an_executor_that_is_not_there_is_bad_usage(capsys: Capture, tmp_path: Path) -> None:
    assert cli.run(["study", "digits-transition", "--out", str(tmp_path), "--executor", "threads"]) == 2
    assert "error: executor: expected one of 'process', 'inline', 'dask', 'submitit'" in capsys.readouterr().err


def test_a_study_is_shown_planned_run_for_a_time_and_exported(answer: Answer, capsys: Capture, tmp_path: Path) -> None:
    text = study_of().source.replace('"digits"', '{ name = "digits", counts = 7 }') + 'model = "ufm"\n'
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(text)
    assert cli.run(["study", "--show", str(file)]) == 0
    assert capsys.readouterr().out == text
    command = ["study", str(file), "--out", str(out)]
    planned = answer(*command, "--dry-run")
    assert not out.exists()
    one_hot = planned["groups"][0]
    assert one_hot["critical_bias_decay"] == pytest.approx(3 / 7)
    assert [t["side"] for t in one_hot["trials"] if t["seed"] == 0] == [*["below"] * 2, "at", *["above"] * 3]
    assert cli.run([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "λ_b* = 0.4286: below it 0, 0.1; at it 0.4286; above it 1, 10, ∞" in printed
    assert "rough count" in printed
    short = [*command, "--executor", "inline", "--max-seconds"]
    assert cli.run([*short, "0"]) == 0
    stopped = capsys.readouterr().err
    assert f"note: the time is over with {planned['trials']} trials not run" in stopped
    assert "hint: the same command goes on from there" in stopped
    file.write_text(text.replace("seeds = [0, 1]", 'model = "ufm"'))
    assert answer(*short, "1000")["done"] == planned["trials"] - 6
    files = answer("report", str(out), "--export", "csv")["files"]
    assert [Path(path).name for path in files] == ["trials.csv", "history.csv"]
    assert len(Path(files[0]).read_text().splitlines()) == planned["trials"] - 6 + 1


def test_a_plan_says_in_whole_sentences_why_there_is_no_critical_value(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "x"\ntitle = "X"\n[defaults]\ndataset = { name = "digits", per_class = 3 }\nencoding = "one-hot"\n'
        'model = { name = "mlp", options = { tail = "batch-norm-relu" } }\nweight_decay = 5e-3\nbias_decay = 5e-3\n'
        'features = "relu"\ntrain = { decay = "plain", loss = "cross_entropy" }\n[[runs]]\nseeds = [0]\n'
    )
    assert cli.run(["study", str(file), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "λ_b = 0.005: Under another loss than MSE" in printed
    assert "several bias decays shows what happens. in all" in printed


def test_a_plan_that_cannot_run_fails(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(study_of().source.replace('"digits"', '{ name = "digits", counts = 9999 }'))
    assert cli.run(["study", str(file), "--dry-run"]) == 1
    assert "cannot run: counts: class 0 has 178 training samples" in " ".join(capsys.readouterr().out.split())
