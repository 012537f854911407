"""The command line: errors, exit codes and help of all commands."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import encollapse as ec
from encollapse import cli

PREDICT = ["predict", "-e", "one-hot", "--classes", "4", "--samples-per-class", "5"]
DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]

Capture = pytest.CaptureFixture[str]
Refusal = Callable[..., tuple[str, str]]


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
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    error, advice = refusal(*arguments, code=code)
    assert message in error
    assert hint in advice


def test_debug_anywhere_shows_the_traceback() -> None:
    with pytest.raises(ec.errors.ArgumentError, match="NAME: missing"):
        cli.run(["study", "--debug"])


@pytest.mark.parametrize("module", ["encollapse", "encollapse.cli"])
def test_version_and_exit_code_of_a_real_process(module: str) -> None:
    command = [sys.executable, "-m", module]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"encollapse {ec.__version__}\n")
    done = subprocess.run([*command, "study", "nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_of_every_command_has_examples(capsys: Capture) -> None:
    for command in ("encodings", "predict", "design", "train", "measure", "study", "report", "explore"):
        assert cli.run([command, "--help"]) == 0
        assert f"$ encollapse {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "target", "hint"),
    [
        (
            ["train", "digits", "-e", "one-hot", "--weight-decay", "1"],
            "encollapse.data.load",
            "--checkpoint FILE",
        ),
        (["study", "digits-transition"], "encollapse.study.load", "finished trials are stored"),
        ([*PREDICT, *DECAYS], "encollapse.ufm.solve", ""),
    ],
)
def test_interrupted_each_command_says_what_is_left_of_its_work(
    command: list[str], target: str, hint: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_given: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, interrupt)
    assert cli.run(command) == 130
    first, *more = capsys.readouterr().err.strip().splitlines()
    assert first == "error: interrupted"
    assert len(more) == (1 if hint else 0)
    assert hint in "".join(more)


def test_without_typer_the_command_says_what_to_install() -> None:
    probe = "import sys; sys.modules['typer'] = None\nfrom encollapse.cli import main\nmain(['--help'])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: the command line needs typer, which is not installed",
        "hint: pip install 'encollapse[study]'",
    ]
