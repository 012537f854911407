"""The command line: what it prints, its exit codes, and its manners."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from reference.study_folder import study_of, write_folder

PREDICT = ["predict", "-e", "one-hot", "--classes", "4", "--samples-per-class", "5"]
DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *arguments: str) -> Any:
    code = cli.run([*arguments, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_predict_gives_the_ground_truth(capsys: Capture) -> None:
    found = answer(capsys, *PREDICT, *DECAYS, "--bias-decay", "0.06")
    assert found["critical_bias_decay"] == pytest.approx(0.0291076, abs=1e-6)
    assert found["mean_cosine"] == pytest.approx(-0.1380208, abs=1e-6)
    assert found["bias"] == pytest.approx([0.1178511] * 4, abs=1e-6)
    assert found["loss"] == pytest.approx(0.0262176, abs=1e-6)
    assert found["certificate"]["holds"] is True


def test_predict_takes_infinity_counts_and_options(capsys: Capture) -> None:
    arguments = ["predict", "-e", "label_smoothing", "-O", "smoothing=0.2", "--counts", "100,50,20"]
    found = answer(capsys, *arguments, *DECAYS, "--bias-decay", "inf")
    problem = ec.ufm.Problem(
        ec.encodings.label_smoothing(3, 0.2),
        [100, 50, 20],
        weight_decay=5e-3,
        feature_decay=2e-3,
        bias_decay=math.inf,
    )
    solution = ec.ufm.solve(problem)
    assert found["bias_decay"] == "inf"
    assert found["loss"] == solution.loss
    np.testing.assert_array_equal(found["feature_gram"], solution.geometry.feature_gram)


def test_predict_takes_loss_depth_and_sign_of_the_features(capsys: Capture) -> None:
    kinds: list[tuple[list[str], dict[str, Any]]] = [
        (["--loss", "cross_entropy"], {"loss": "cross_entropy"}),
        (["--depth", "3"], {"depth": 3}),
        (["--features", "relu"], {"features": "relu"}),
    ]
    small = ["--weight-decay", "5e-3", "--feature-decay", "1e-4"]
    for flags, options in kinds:
        found = answer(capsys, *PREDICT, *small, *flags)
        problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=1e-4, **options)
        assert found["loss"] == pytest.approx(ec.ufm.solve(problem).loss, rel=1e-9)
    assert cli.run([*PREDICT, *small, "--loss", "hinge"]) == 2
    assert "loss" in capsys.readouterr().err


def test_predict_reads_an_encoding_file(capsys: Capture, tmp_path: Path) -> None:
    path = ec.encodings.random(5, 3, seed=7).save(tmp_path / "code.json")
    found = answer(capsys, "predict", "--encoding", str(path), "--samples-per-class", "11", *DECAYS)
    assert found["num_classes"] == 5


def test_predict_path_shows_the_transition(capsys: Capture) -> None:
    found = answer(capsys, *PREDICT, *DECAYS, "--path")
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


def test_one_encoding_is_shown(capsys: Capture, tmp_path: Path) -> None:
    found = answer(capsys, "encodings", "simplex", "--classes", "5")
    assert (found["num_classes"], found["code_dim"], found["rank"], found["rank_centered"]) == (5, 4, 4, 4)
    assert found["mean_norm"] == pytest.approx(0.0, abs=1e-12)
    assert np.array(found["cosines"])[0, 1:] == pytest.approx([-0.25] * 4)
    assert found["least_distance"] == pytest.approx(math.sqrt(2.5))
    path = ec.encodings.Encoding([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]]).save(tmp_path / "own.json")
    own = answer(capsys, "encodings", str(path))
    assert own["closest"] == [0, 2]
    assert own["least_distance"] == 3.0
    assert own["cosines"][0][2] is None  # the third codeword is zero
    assert cli.run(["encodings", "circular", "--classes", "7"]) == 0
    printed = capsys.readouterr().out
    assert "7 codewords of length 2" in printed
    assert cli.run(["encodings", "circle"]) == 2


def test_tables_of_predictions(capsys: Capture) -> None:
    assert cli.run([*PREDICT, *DECAYS]) == 0
    printed = capsys.readouterr().out
    for part in ("certificate", "loss", "threshold c", "critical λ_b", "singular values", "cosines of means"):
        assert part in printed
    assert "−0.333333 for every pair" in printed
    assert cli.run([*PREDICT, *DECAYS, "--path"]) == 0
    assert "critical" in capsys.readouterr().out


def test_encodings_are_listed_with_what_they_need(capsys: Capture) -> None:
    found = {entry["name"]: entry for entry in answer(capsys, "encodings")}
    assert tuple(found) == ec.encodings.names()
    assert found["random"]["needs"] == ["code_dim"]
    for name, entry in found.items():
        example = entry["example"]
        made = ec.encodings.by_name(name, example["num_classes"], **example["options"])
        assert made.num_classes == example["num_classes"]
    assert cli.run(["encodings"]) == 0
    assert "--option code_dim=6" in capsys.readouterr().out


def test_options_may_be_lists(capsys: Capture) -> None:
    tree = '[["0","1"],["2","3"]]'
    found = answer(
        capsys, "predict", "-e", "hierarchical", "-O", f"tree={tree}", "--counts", "7,7,7,7", *DECAYS
    )
    cosines = np.array(found["cosines"])
    assert cosines[0, 1] > cosines[0, 2] + 0.1


def test_measure_finds_the_exact_minimiser(capsys: Capture, tmp_path: Path) -> None:
    problem = ec.ufm.Problem(
        ec.encodings.one_hot(5), 13, weight_decay=5e-3, feature_decay=2e-3, bias_decay=0.1
    )
    weight, means, bias = ec.ufm.solve(problem).parameters(7)
    labels = np.repeat(np.arange(5), 13)
    for name, value in (("h", means.T[labels]), ("y", labels), ("w", weight), ("b", bias)):
        np.save(tmp_path / f"{name}.npy", value)
    files = [str(tmp_path / f"{name}.npy") for name in "hywb"]
    command = [
        "measure",
        files[0],
        "--labels",
        files[1],
        "--weight",
        files[2],
        "--bias",
        files[3],
        "-e",
        "one-hot",
    ]
    found = answer(capsys, *command)
    assert found["nc1_trace_ratio"] == pytest.approx(0.0, abs=1e-20)
    assert found["accuracy"] == 1.0
    assert cli.run(command) == 0
    assert "nc2_etf" in capsys.readouterr().out


def shards(folder: Path) -> tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Three shards with their labels inside; class 2 is noisier than the others, 0 and 1 are neighbours."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 41)
    means = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
    features = means[labels] + np.array([0.01, 0.01, 4.0])[labels][:, None] * random.standard_normal((41, 2))
    folder.mkdir()
    for number, (x, y) in enumerate(zip(np.array_split(features, 3), np.array_split(labels, 3), strict=True)):
        np.savez(folder / f"{number}.npz", features=x, labels=y)
    return folder, features, labels


def test_measure_reads_a_folder_of_shards(capsys: Capture, tmp_path: Path) -> None:
    folder, features, labels = shards(tmp_path / "shards")
    found = answer(capsys, "measure", str(folder), "--per-class")
    wanted = ec.measure.collapse(features, labels)
    assert found["cdnv"] == pytest.approx(wanted.cdnv, rel=1e-9)
    assert [entry["class"] for entry in found["classes"]] == [0, 1, 2]
    for k, entry in enumerate(found["classes"]):
        own = features[labels == k]
        spread = np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=1).mean())
        assert entry["spread"] == pytest.approx(spread, rel=1e-6)
        assert entry["norm"] == pytest.approx(
            np.linalg.norm(own.mean(axis=0) - features.mean(axis=0)), rel=1e-6
        )
    assert [entry["nearest"] for entry in found["classes"]][:2] == [1, 0]
    assert found["closest_pairs"][0]["classes"] == [0, 1]
    gap = np.linalg.norm(features[labels == 0].mean(axis=0) - features[labels == 1].mean(axis=0))
    assert found["closest_pairs"][0]["distance"] == pytest.approx(gap, rel=1e-6)
    other = answer(capsys, "measure", str(folder), "--convention", "class-averaged", "--classes", "4")
    assert other["convention"] == "class-averaged"
    assert other["counts"][3] == 0
    assert "classes" not in other


def test_measure_prints_a_table_and_writes_a_page(capsys: Capture, tmp_path: Path) -> None:
    folder, _, _ = shards(tmp_path / "shards")
    page = tmp_path / "page.html"
    assert cli.run(["measure", str(folder), "--per-class", "-e", "one-hot", "--html", str(page)]) == 0
    printed = capsys.readouterr()
    for part in ("41 samples", "Within-class spread", "closest pairs", "no weight was given"):
        assert part in printed.out
    assert str(page) in printed.err
    text = page.read_text()
    assert "The closest class means are those of 0 and 1" in text
    assert "The noisiest class is 2" in text
    assert text.count("<svg") == 2
    assert "http://" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "")
    assert cli.run(["measure", str(folder), "--html", "page.pdf"]) == 2
    assert "expected a file ending in .html" in capsys.readouterr().err


def test_measure_says_what_is_wrong(capsys: Capture, tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", np.zeros((3, 2)))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    for arguments, text in (
        (["nowhere"], "no file or folder 'nowhere'"),
        ([str(tmp_path / "h.npy")], "h.labels.npy"),
        ([str(tmp_path / "h.npy"), "--labels", str(tmp_path / "y.npy")], "2 labels for 3 rows"),
        ([str(tmp_path / "h.npy"), "--convention", "no"], "none is called 'no'"),
    ):
        assert cli.run(["measure", *arguments]) == 2
        assert text in capsys.readouterr().err


def test_train_study_and_report(capsys: Capture, tmp_path: Path) -> None:
    found = answer(
        capsys, "train", "digits", "-e", "one-hot", "--counts", ",".join(["5"] * 10), *DECAYS,
        "--bias-decay", "inf", "--epochs", "1", "--finish", "0", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert found["settings"]["bias_decay"] == "inf"
    assert found["comparison"]["gram_error"] > 0
    assert (tmp_path / "run" / "model.safetensors").is_file()

    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\ntitle = "Tiny"\n[[runs]]\ndataset = { name = "digits", counts = 9999 }\n'
        'encoding = "one-hot"\nweight_decay = 5e-3\nthreshold = 0.3\nbias_decay = 0\n[[runs]]\nepochs = 1\n'
        'train = { finish = 0 }\ndataset = { name = "digits", counts = 5 }\nencoding = "one-hot"\n'
        "weight_decay = 5e-3\nthreshold = 0.3\nbias_decay = 0\n"
    )
    out = tmp_path / "out"
    assert cli.run(["study", str(file), "--out", str(out), "--executor", "inline", "--json"]) == 1
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert (summary["done"], summary["failed"], summary["missing"]) == (1, 1, 0)
    assert "[2/2] done" in printed.err
    assert answer(capsys, "report", str(out)) == {"page": str(out / "report" / "index.html")}
    assert "fewer than 9999" in (out / "report" / "index.html").read_text()


def test_report_prints_where_the_page_is(capsys: Capture, tmp_path: Path) -> None:
    write_folder(tmp_path, study_of())
    assert cli.run(["report", str(tmp_path)]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert printed == str(tmp_path / "report" / "index.html")


def test_built_in_studies_are_listed(capsys: Capture) -> None:
    assert [entry["name"] for entry in answer(capsys, "study", "--list")] == list(ec.study.names())


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["predict"], 2, "Missing option", "encollapse predict --help"),
        (["nonsense"], 2, "No such command 'nonsense'", "encollapse --help"),
        ([*PREDICT, *DECAYS, "--bias-decay", "x"], 2, "--bias-decay", "encollapse predict --help"),
        ([*PREDICT, *DECAYS, "--bias-decay", "-1"], 2, "bias_decay: expected a number 0 or above", ""),
        ([*PREDICT, *DECAYS, "--bias-decay", "nan"], 2, "bias_decay: expected a number, got NaN", ""),
        ([*PREDICT, *DECAYS, "--counts", "1,2,3,4"], 2, "counts: give either", ""),
        (
            ["predict", "-e", "one-hot", "--samples-per-class", "3", *DECAYS],
            2,
            "classes: not known",
            "give --classes",
        ),
        (["predict", "-e", "one-hot", "--counts", "3,x", *DECAYS], 2, "counts: expected whole numbers", ""),
        (
            ["predict", "-e", "one-hot", "--counts", "3,0", *DECAYS],
            2,
            "counts: class 1 has 0 samples",
            "leave empty",
        ),
        (
            ["predict", "-e", "foo", "--counts", "3,4", *DECAYS],
            2,
            "no encoding is called 'foo'",
            "there are one-hot",
        ),
        (["predict", "-e", "no.json", "--counts", "3,4", *DECAYS], 2, "no.json", "check the path"),
        (
            ["predict", "-e", "one-hot", "-O", "x", "--counts", "3,4", *DECAYS],
            2,
            "option: expected NAME=VALUE",
            "",
        ),
        (
            ["predict", "-e", "one-hot", "-O", "x=1", "--counts", "3,4", *DECAYS],
            2,
            "has no such option",
            "it has",
        ),
        (["measure", "no.npy", "--labels", "no.npy"], 2, "there is no file or folder 'no.npy'", ""),
        (["study"], 2, "NAME: missing", "--list"),
        (["study", "nope"], 2, "no built-in study is called 'nope'", "digits-accuracy"),
        (["study", "no.toml"], 2, "no.toml: there is no such file", "check the path"),
        (["report", "no-folder"], 2, "holds no study results", "encollapse study"),
        (["train", "nope", "-e", "one-hot", *DECAYS], 2, "no data set is called 'nope'", "there are digits"),
    ],
)
def test_errors_are_one_line_and_a_hint(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert hint in printed.err
    assert all(line.startswith("hint: ") for line in lines[1:])


def test_an_executor_that_is_not_there_is_bad_usage(capsys: Capture, tmp_path: Path) -> None:
    assert cli.run(["study", "digits-transition", "--out", str(tmp_path), "--executor", "threads"]) == 2
    assert (
        "error: executor: expected one of 'process', 'inline', 'dask', 'submitit'" in capsys.readouterr().err
    )


def test_debug_anywhere_shows_the_traceback() -> None:
    with pytest.raises(ec.errors.ArgumentError, match="NAME: missing"):
        cli.run(["study", "--debug"])


def test_version_and_exit_code_of_a_real_process() -> None:
    command = [sys.executable, "-m", "encollapse.cli"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"encollapse {ec.__version__}\n")
    done = subprocess.run([*command, "study", "nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_no_help_loads_torch_or_what_draws() -> None:
    probe = (
        "import sys\nfrom encollapse import cli\n"
        "for c in ['encodings', 'predict', 'train', 'measure', 'study', 'report']:\n"
        "    assert cli.run([c, '--help']) == 0\n"
        "assert cli.run(['--help']) == 0\n"
        "print('loaded', [m for m in ('torch', 'matplotlib', 'pandas', 'sklearn', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "loaded []" in done.stdout
    assert done.stdout.count("$ encollapse ") >= 8  # examples


def test_a_study_is_shown_planned_run_for_a_time_and_exported(capsys: Capture, tmp_path: Path) -> None:
    text = study_of().source.replace('"digits"', '{ name = "digits", counts = 7 }') + 'model = "ufm"\n'
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(text)
    assert cli.run(["study", "--show", str(file)]) == 0
    assert capsys.readouterr().out == text
    command = ["study", str(file), "--out", str(out)]
    planned = answer(capsys, *command, "--dry-run")
    assert not out.exists()
    one_hot = planned["groups"][0]
    assert one_hot["critical_bias_decay"] == pytest.approx(3 / 7)
    assert [t["side"] for t in one_hot["trials"] if t["seed"] == 0] == [*["below"] * 2, "at", *["above"] * 3]
    assert cli.run([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "λ_b* = 0.4286: below 0, 0.1; at 0.4286; above 1, 10, ∞" in printed
    assert "rough count" in printed
    short = [*command, "--executor", "inline", "--max-seconds"]
    assert cli.run([*short, "0"]) == 0
    stopped = capsys.readouterr().err
    assert f"note: the time is over with {planned['trials']} trials not run" in stopped
    assert "hint: the same command goes on from there" in stopped
    file.write_text(text.replace("seeds = [0, 1]", 'model = "ufm"'))
    assert answer(capsys, *short, "1000")["done"] == planned["trials"] - 6
    files = answer(capsys, "report", str(out), "--export", "csv")["files"]
    assert [Path(path).name for path in files] == ["trials.csv", "history.csv"]
    assert len(Path(files[0]).read_text().splitlines()) == planned["trials"] - 6 + 1


def test_a_plan_that_cannot_run_fails(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(study_of().source.replace('"digits"', '{ name = "digits", counts = 9999 }'))
    assert cli.run(["study", str(file), "--dry-run"]) == 1
    assert "cannot run: counts: class 0 has 178 training samples" in " ".join(capsys.readouterr().out.split())
