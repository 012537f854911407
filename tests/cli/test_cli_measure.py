"""``encollapse measure``: files and folders of features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from encollapse.report.figures.measured import cosine_figure
from encollapse.report.measurement_facts import class_details

Capture = pytest.CaptureFixture[str]
Answer = Callable[..., Any]


def test_measure_finds_the_exact_minimizer(answer: Answer, capsys: Capture, tmp_path: Path) -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), 13, weight_decay=5e-3, feature_decay=2e-3, bias_decay=0.1)
    weight, means, bias = ec.ufm.solve(problem).parameters(7)
    labels = np.repeat(np.arange(5), 13)
    for name, value in (("h", means.T[labels]), ("y", labels), ("w", weight), ("b", bias)):
        np.save(tmp_path / f"{name}.npy", value)
    files = [str(tmp_path / f"{name}.npy") for name in "hywb"]
    command = ["measure", files[0], "--labels", files[1], "--weight", files[2], "--bias", files[3], "-e", "one-hot"]
    found = answer(*command)
    assert found["nc1_trace_ratio"] == pytest.approx(0.0, abs=1e-20)
    assert found["accuracy"] == 1.0
    assert cli.run(command) == 0
    assert "nc2_etf" in capsys.readouterr().out


def shards(folder: Path) -> tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Three shards with their labels inside; class 2 is noisier than the others, 0 and 1 are neighbors."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 41)
    means = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
    features = means[labels] + np.array([0.01, 0.01, 4.0])[labels][:, None] * random.standard_normal((41, 2))
    folder.mkdir()
    for number, (x, y) in enumerate(zip(np.array_split(features, 3), np.array_split(labels, 3), strict=True)):
        np.savez(folder / f"{number}.npz", features=x, labels=y)
    return folder, features, labels


def test_measure_reads_a_folder_of_shards(answer: Answer, tmp_path: Path) -> None:
    folder, features, labels = shards(tmp_path / "shards")
    found = answer("measure", str(folder), "--per-class")
    wanted = ec.measure.collapse(features, labels)
    assert found["cdnv"] == pytest.approx(wanted.cdnv, rel=1e-9)
    assert [entry["class"] for entry in found["classes"]] == [0, 1, 2]
    for k, entry in enumerate(found["classes"]):
        own = features[labels == k]
        spread = np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=1).mean())
        assert entry["spread"] == pytest.approx(spread, rel=1e-6)
        assert entry["norm"] == pytest.approx(np.linalg.norm(own.mean(axis=0) - features.mean(axis=0)), rel=1e-6)
    assert [entry["nearest"] for entry in found["classes"]][:2] == [1, 0]
    assert found["closest_pairs"][0]["classes"] == [0, 1]
    gap = np.linalg.norm(features[labels == 0].mean(axis=0) - features[labels == 1].mean(axis=0))
    assert found["closest_pairs"][0]["distance"] == pytest.approx(gap, rel=1e-6)
    other = answer("measure", str(folder), "--convention", "class-averaged", "--classes", "4")
    assert other["convention"] == "class-averaged"
    assert other["counts"][3] == 0
    assert "classes" not in other
    without = answer("measure", str(folder), "--no-covariance")
    assert (found["route"], without["route"]) == ("one-pass covariance", "two-pass projected")
    assert without["vci"] is None
    assert without["nc1_pinv"] == pytest.approx(wanted.nc1_pinv, rel=1e-6)


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


def test_measure_takes_a_weight_alone(answer: Answer, capsys: Capture, tmp_path: Path) -> None:
    weight = np.random.default_rng(5).standard_normal((5, 7))
    path = str(tmp_path / "w.npy")
    np.save(path, weight)
    found = answer("measure", "--weight", path)
    lengths = np.linalg.norm(weight, axis=1)
    assert found["nc2_equinorm_weight"] == pytest.approx(lengths.std() / lengths.mean(), rel=1e-12)
    assert found["nc0_row_sum"] == pytest.approx(np.linalg.norm(weight.sum(axis=0)) / np.linalg.norm(weight), rel=1e-12)
    centered = answer("measure", "--weight", path, "--convention", "zhou2022")
    values, missing = ec.metrics.evaluate_weight(weight - weight.mean(axis=0))
    assert centered["nc2_etf_weight"] == pytest.approx(values["nc2_etf_weight"], rel=1e-12)
    assert missing == {} == centered["missing"]
    assert cli.run(["measure", "--weight", path]) == 0
    assert "nc2_max_angle_weight" in capsys.readouterr().out
    reasons = ec.metrics.evaluate_weight(np.diag([0.0, 1, 2]))[1]
    assert reasons["nc2_max_angle_weight"] == "row 0 of the classifier is zero"


def test_measure_says_what_is_wrong(capsys: Capture, tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", np.zeros((3, 2)))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    for arguments, text in (
        ([], "--weight alone"),
        (["nowhere"], "no file or folder 'nowhere'"),
        ([str(tmp_path / "h.npy")], "h.labels.npy"),
        ([str(tmp_path / "h.npy"), "--labels", str(tmp_path / "y.npy")], "2 labels for 3 rows"),
        ([str(tmp_path / "h.npy"), "--convention", "no"], "none is called 'no'"),
    ):
        assert cli.run(["measure", *arguments]) == 2
        assert text in capsys.readouterr().err


def test_details_keep_their_digits_far_from_the_origin(answer: Answer, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    labels = np.arange(63) % 7
    features = 1e4 + 1e-3 * (random.standard_normal((7, 5))[labels] + 0.01 * random.standard_normal((63, 5)))
    np.savez(tmp_path / "far.npz", features=features, labels=labels)
    found = answer("measure", str(tmp_path / "far.npz"), "--per-class")
    exact = features.astype(np.longdouble)
    means = np.array([exact[labels == k].mean(axis=0) for k in range(7)])
    centered = (means - means.mean(axis=0)).astype(float)
    for entry in found["classes"]:
        assert entry["norm"] == pytest.approx(np.linalg.norm(centered[entry["class"]]), rel=1e-7)
    for pair in found["closest_pairs"]:
        a, b = centered[pair["classes"]]
        assert pair["distance"] == pytest.approx(np.linalg.norm(a - b), rel=1e-7)
        assert pair["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-7)


def test_the_page_of_many_classes_shows_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encollapse.report.measurement_facts.MOST_COSINES", 7)
    labels = np.arange(66) % 22
    features = np.random.default_rng(1).standard_normal((66, 5))
    details = class_details(ec.measure.collapse(features, labels))
    assert details.shown.tolist() == [0, 4, 8, 12, 16, 20]
    assert details.cosines.shape == (6, 6)
    drawing = cosine_figure(details)
    assert drawing is not None
    assert "of 6 of the 22 classes" in drawing.caption


def test_a_file_of_several_tensors_is_asked_by_an_option_that_there_is(
    answer: Answer, capsys: Capture, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weight, bias, labels = rng.standard_normal((5, 7)), rng.standard_normal(5), np.arange(20) % 5
    save_file({"fc.weight": weight, "fc.bias": bias}, tmp_path / "model.safetensors")
    np.save(tmp_path / "h.npy", rng.standard_normal((20, 7)))
    np.save(tmp_path / "y.npy", labels)
    head, line = (
        str(tmp_path / "model.safetensors"),
        ["measure", str(tmp_path / "h.npy"), "--labels", str(tmp_path / "y.npy")],
    )
    assert cli.run([*line, "--weight", head]) == 2
    assert "choose by --weight-key one of 'fc.bias', 'fc.weight'" in capsys.readouterr().err
    keys = ["--weight-key", "fc.weight", "--bias", head, "--bias-key", "fc.bias"]
    found = answer(*line, "--weight", head, *keys)
    wanted = ec.measure.collapse(np.load(tmp_path / "h.npy"), labels, weight=weight, bias=bias)
    assert found["nc3_self_duality"] == pytest.approx(wanted.nc3_self_duality)
    assert found["accuracy"] == wanted.accuracy
    alone = answer("measure", "--weight", head, "--weight-key", "fc.weight")
    assert alone["nc2_etf_weight"] == pytest.approx(wanted.details["nc2_etf_weight"])
    assert cli.run([*line, "--weight-key", "fc.weight"]) == 2
    assert "weight_key: is the name of an array in a file" in capsys.readouterr().err


def test_files_of_other_kinds_say_how_to_turn_them_into_arrays(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    features, labels = np.random.default_rng(0).standard_normal((20, 7)), np.arange(20) % 5
    np.save("y.npy", labels)
    np.savetxt("h.csv", features, delimiter=",")
    assert cli.run(["measure", "h.csv", "--labels", "y.npy"]) == 2
    hint = capsys.readouterr().err.partition("np.save(")[2].strip()
    exec(f"np.save({hint}", {"np": np, "path": "h.csv"})
    assert np.allclose(np.load("name.npy"), features)
    torch.save({"fc.weight": torch.ones(5, 7)}, "w.pt")
    assert cli.run(["measure", "name.npy", "--labels", "y.npy", "--weight", "w.pt"]) == 2
    told = capsys.readouterr().err
    assert "torch.load(path, weights_only=True)" in told
    assert "safetensors.torch.save_file" in told
    assert cli.run(["measure", "name.npy", "--labels", "h.csv"]) == 2
    assert "labels: expected a file ending in" in capsys.readouterr().err
