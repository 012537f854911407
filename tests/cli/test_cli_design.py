"""``encollapse design``: an encoding in a file, and the proof that it does what was asked."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from encollapse.errors import EncollapseWarning

COUNTS = [11, 7, 5, 3, 2]
DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 2e-3}
GIVEN = ["--counts", "11,7,5,3,2", "--weight-decay", "5e-3", "--feature-decay", "2e-3"]

Capture = pytest.CaptureFixture[str]
Refusal = Callable[..., tuple[str, str]]


def minimizer(path: Path, bias_decay: float) -> ec.ClassGeometry:
    encoding = ec.encodings.Encoding.load(path)
    return ec.ufm.solve(ec.ufm.Problem(encoding, COUNTS, bias_decay=bias_decay, **DECAYS)).geometry


@pytest.mark.parametrize(("name", "cosine"), [("simplex", -0.25), ("orthogonal", 0.0)])
def test_frames_by_name(capsys: Capture, tmp_path: Path, name: str, cosine: float) -> None:
    path = tmp_path / "code.json"
    assert cli.run(["design", "--target", name, *GIVEN, "-o", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(path)
    assert found["code_dim"] == 5
    assert found["rank"] == (4 if name == "simplex" else 5)
    assert found["bias_length"] == 0.0
    assert found["gram_error"] < 1e-9
    assert found["solution"]["certificate"]["holds"] is True
    np.testing.assert_array_equal(found["codewords"], ec.encodings.Encoding.load(path).codewords)
    assert minimizer(path, math.inf).cosine(1, 4) == pytest.approx(cosine, abs=1e-12)


def test_gram_matrix_from_a_file(capsys: Capture, tmp_path: Path) -> None:
    means = np.random.default_rng(0).standard_normal((3, 5))
    np.save(tmp_path / "gram.npy", means.T @ means)
    out = tmp_path / "code.npz"
    arguments = ["design", "--target", str(tmp_path / "gram.npy"), *GIVEN, "--out", str(out)]
    assert cli.run([*arguments, "--bias-decay", "0.3", "--code-dim", "3"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for part in ("3 outputs for 5 classes", "rank of target 3", "codeword lengths", "|b|", "round trip", "proved"):
        assert part in printed
    np.testing.assert_allclose(minimizer(out, 0.3).feature_gram, means.T @ means, atol=1e-11)

    assert cli.run([*arguments, "--like", "unit_outputs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert np.sum(np.square(found["solution"]["singular_values"])) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (["--target", "hexagon"], "target_gram: expected one of 'simplex'", ""),
        (["--target", "no.npy"], "there is no file 'no.npy'", ""),
        (["--target", "text.npy"], "text.npy", ""),
        (["--target", "skew.npy"], "target_gram: expected a symmetric matrix", "(G + G.T) / 2"),
        (["--target", "negative.npy"], "smallest eigenvalue is -1", "from_similarity"),
        (["--bias-decay", "0"], "bias_decay: at 0 the bias centers", "--bias-decay inf"),
        (["--code-dim", "3"], "code_dim: the target has rank 4", "at least 4"),
        (["--counts", "11,7,x"], "counts: expected whole numbers", ""),
        (["--counts", "11,7,5,3,0"], "counts: class 4 has 0 samples", "leave empty"),
        (["--like", "big"], "like: expected one of 'one_hot'", ""),
        (["--weight-decay", "0"], "weight_decay: expected a finite number above 0", ""),
        (["-o", "code.txt"], "expected a file ending in .json or .npz", ""),
    ],
)
def test_errors_are_one_line_and_a_hint(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: list[str], message: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("skew.npy", np.triu(np.ones((5, 5))))
    np.save("negative.npy", np.diag([1.0, 2.0, -1.0, 1.0, 1.0]))
    Path("text.npy").write_text("not an array")
    # A repeated option takes its last value.
    error, advice = refusal("design", "--target", "simplex", *GIVEN, "-o", "code.json", *change)
    assert message in error
    assert hint in advice
    assert not Path("code.json").exists()


def test_warnings_are_one_line_and_a_hint(capsys: Capture, tmp_path: Path) -> None:
    arguments = ["design", "--target", "orthogonal", *GIVEN, "-o", str(tmp_path / "code.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("default", None, EncollapseWarning, None, 0)])
        assert cli.run([*arguments, "--bias-decay", "1e-5"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["warning", "hint"]
    assert "needs a bias of length" in lines[0]


def test_predict_says_where_a_design_meets_another_setting(capsys: Capture, tmp_path: Path) -> None:
    path = str(tmp_path / "code.json")
    assert cli.run(["design", "--target", "orthogonal", *GIVEN, "-o", path]) == 0
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("always", None, EncollapseWarning, None, 0)])
        assert cli.run(["predict", "-e", path, *GIVEN, "--bias-decay", "inf", "--json"]) == 0
        assert capsys.readouterr().err == ""
        assert cli.run(["predict", "-e", path, *GIVEN, "--json"]) == 0
    warning, hint = capsys.readouterr().err.splitlines()
    assert warning == "warning: encoding: 'designed' was designed for --bias-decay inf and here --bias-decay 0"
    assert hint.startswith("hint: only in its own setting does")


def test_help_has_examples_that_run(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("gram.npy", np.eye(3) + 1.0)
    assert cli.run(["design", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for target in ("simplex", "gram.npy"):
        start = shown.index(f"design --target {target}")
        stop = shown.index("code.json", start)
        assert cli.run([*shown[start:stop].split(), "code.json"]) == 0
