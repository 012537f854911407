"""The command line: errors, exit codes and help of all commands."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from encollapse.cli.console import explain
from encollapse.cli.networks import network_and_loader

PREDICT = ["predict", "-e", "one-hot", "--classes", "4", "--samples-per-class", "5"]
DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]
DIAGNOSE = ["diagnose", "--model", "net.py:Net", "--data", "digits"]

Capture = pytest.CaptureFixture[str]
Refusal = Callable[..., tuple[str, str]]


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["predict"], 2, "Missing option", "encollapse predict --help"),
        (["nonsense"], 2, "No such command 'nonsense'", "encollapse --help"),
        ([*PREDICT, *DECAYS, "--bias-decay", "none"], 2, "--bias-decay", "no bias at all is --bias-decay inf"),
        ([*PREDICT, *DECAYS, "--depth", "x"], 2, "--depth", "encollapse predict --help"),
        (["encodings", "one-hot", "--json", "x.json"], 2, "unexpected extra argument", "--json takes no value"),
        (
            ["encodings", "random", "--classes", "30000"],
            1,
            "cosines: the dense 30000 × 30000 matrix",
            "fewer --classes",
        ),
        (["diagnose"], 2, "model: give the network and its data", ""),
        ([*DIAGNOSE, "--learning-rate", "-1"], 2, "learning_rate: expected a finite number above 0", ""),
        ([*DIAGNOSE, "--weight-decay", "-1"], 2, "weight_decay: expected a number finite and 0", ""),
        ([*DIAGNOSE, "--momentum", "1"], 2, "momentum: expected a number below 1, got 1", ""),
        (
            [*DIAGNOSE, "--loss", "mse", "--label-smoothing", "0.1"],
            2,
            "label_smoothing: is for cross-entropy",
            "for mse",
        ),
        ([*PREDICT, *DECAYS, "--bias-decay", "-1"], 2, "bias_decay: expected a number 0 or above", ""),
        ([*PREDICT, *DECAYS, "--bias-decay", "nan"], 2, "bias_decay: expected a number, got NaN", ""),
        ([*PREDICT, *DECAYS, "--counts", "1,2,3,4"], 2, "counts: give either", ""),
        (["predict", "-e", "one-hot", "--samples-per-class", "3", *DECAYS], 2, "classes: not known", "give --classes"),
        (["predict", "-e", "one-hot", "--counts", "3,x", *DECAYS], 2, "counts: expected whole numbers", ""),
        (["predict", "-e", "one-hot", "--counts", "3,0", *DECAYS], 2, "counts: class 1 has 0 samples", "leave empty"),
        (["predict", "-e", "foo", "--counts", "3,4", *DECAYS], 2, "no encoding is called 'foo'", "there are one-hot"),
        (["predict", "-e", "no.json", "--counts", "3,4", *DECAYS], 2, "no.json", "check the path"),
        (["predict", "-e", "one-hot", "-O", "x", "--counts", "3,4", *DECAYS], 2, "option: expected NAME=VALUE", ""),
        (["predict", "-e", "one-hot", "-O", "x=1", "--counts", "3,4", *DECAYS], 2, "has no such option", "it has"),
        (["measure", "no.npy", "--labels", "no.npy"], 2, "there is no file or folder 'no.npy'", ""),
        (["study"], 2, "NAME: missing", "--list"),
        (["study", "nope"], 2, "no built-in study is called 'nope'", "digits-accuracy"),
        (["study", "no.toml"], 2, "no.toml: there is no such file", "check the path"),
        (["report", "no-folder"], 2, "holds no study results", "encollapse study"),
        (["train", "nope", "-e", "one-hot", *DECAYS], 2, "no data set is called 'nope'", "there are digits"),
        (["predict", "-e", "one-hut", "--counts", "3,4", *DECAYS], 2, "'one-hut'", "did you mean 'one-hot'?"),
        (["encodings", "circlar"], 2, "'circlar'", "did you mean 'circular'?"),
        (["study", "digits-transitoin"], 2, "'digits-transitoin'", "did you mean 'digits-transition'?"),
        (["train", "digitz", "-e", "one-hot", *DECAYS], 2, "'digitz'", "did you mean 'digits'?"),
        ([*PREDICT, *DECAYS, "--features", "rely"], 2, "got 'rely'", "did you mean 'relu'?"),
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


@pytest.mark.parametrize("said", ["", "Unable to allocate 2.29 MiB"])
def test_memory_that_runs_out_is_said_with_what_to_do(capsys: Capture, said: str) -> None:
    assert explain(MemoryError(said)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: memory ran out")
    assert said in error
    assert "hint: free memory" in error


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
        (["train", "digits", "-e", "one-hot", "--weight-decay", "1"], "encollapse.data.load", "--checkpoint FILE"),
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


def test_without_a_command_the_help_is_shown_and_nothing_else(capsys: Capture) -> None:
    assert cli.run([]) == 2
    printed = capsys.readouterr()
    assert "explore" in printed.out
    assert printed.err == ""


def in_columns(width: int, *arguments: str) -> str:
    """What a real process prints on a terminal of so many columns."""
    done = subprocess.run(
        [sys.executable, "-m", "encollapse", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": str(width)},
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= width
    return done.stdout


@pytest.mark.parametrize("width", [50, 120])
def test_options_keep_their_names_in_any_terminal(width: int) -> None:
    text = in_columns(width, "predict", "--help")
    for option in ("--weight-decay", "--feature-decay", "--samples-per-class", "--feature-dim"):
        assert f"{option} " in text
    assert "[bold]" not in text
    assert "…" not in text


@pytest.mark.parametrize("width", [40, 50, 120])
def test_numbers_of_a_transition_stay_whole_in_any_terminal(width: int) -> None:
    """Four classes of five at λ_W = 5e-3, λ_H = 2e-3 turn at 0.0291076 (closed form); below it cos = −1/3."""
    text = in_columns(width, *PREDICT, *DECAYS, "--path")
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "−0.333333"] in [row[:2] for row in rows]
    assert "0.02911" in [row[0] for row in rows if row]
    assert "critical" in text


@pytest.mark.parametrize(
    ("command", "names"), [(("study", "--list"), "designed-encoding"), (("encodings",), "error-correcting")]
)
def test_names_in_lists_stay_whole_in_a_narrow_terminal(command: tuple[str, ...], names: str) -> None:
    assert names in [line.split()[0] for line in in_columns(40, *command).splitlines() if line.strip()]


@pytest.mark.parametrize("width", [40, 50, 120])
def test_a_measurement_keeps_names_and_numbers_in_any_terminal(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    labels = np.repeat(np.arange(5), 3)
    np.save(tmp_path / "features.npy", np.eye(5, 7)[labels])
    np.save(tmp_path / "labels.npy", labels)
    files = (str(tmp_path / "features.npy"), "--labels", str(tmp_path / "labels.npy"))
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.run(["measure", *files, "--per-class"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"nc2_etf_uncentered +0\.4595\b", text)  # |I/√5 − (I − J/5)/2|² = 2 − 4/√5
    assert "…" not in text


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("encollapse pred", ["predict"]),
        ("encollapse predict --feature-de", ["--feature-decay"]),
        ("encollapse predict -e sim", ["simplex"]),
        ("encollapse study digits", ["digits-accuracy", "digits-transition"]),
        ("encollapse train mnist5", ["mnist5k"]),
    ],
)
def test_the_tab_key_completes_commands_options_and_names(typed: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "encollapse"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | words | {"_ENCOLLAPSE_COMPLETE": "complete_bash"},
    )
    assert done.stdout.split() == offered


def test_help_in_a_narrow_terminal_cuts_no_word() -> None:
    """40 columns: every word of the wide help is there whole, in lines that fit."""

    def words(columns: int) -> list[str]:
        environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
        done = subprocess.run(
            [sys.executable, "-m", "encollapse", "predict", "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert max(map(len, done.stdout.splitlines())) <= columns
        return done.stdout.split()

    assert words(40) == words(63)
    assert {"regularization", "label-smoothing", "cross_entropy"} <= set(words(40))


def test_a_narrow_list_of_commands_has_whole_sentences() -> None:
    """40 columns: below each name stands the first sentence of its help, as in the wide list."""
    text = " ".join(in_columns(40, "--help").split())
    for sentence in (
        "compare it with the prediction.",
        "how far the network is.",
        "with a certificate.",
        "data as CSV.",
    ):
        assert sentence in text
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("width", [64, 80])
@pytest.mark.parametrize("command", ["train", "measure", "predict"])
def test_no_help_cuts_the_name_of_an_option(width: int, command: str) -> None:
    text = in_columns(width, command, "--help")
    assert "…" not in text
    assert "--lbfgs-iterations" in text or command != "train"


def test_sentences_of_a_help_fill_the_lines_of_the_terminal() -> None:
    lines = [line.strip() for line in in_columns(80, "measure", "--help").splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("Files are read in blocks"))
    paragraph = lines[start : lines.index("", start)]
    assert all(len(f"{a} {b.split()[0]}") > 78 for a, b in itertools.pairwise(paragraph))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_help_shows_a_flag_by_its_name_and_an_option_with_its_value(width: int) -> None:
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "dumb"}
    command = [sys.executable, "-m", "encollapse", "encodings", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert re.search(r"--classes\s+(<int>|INTEGER)", text)
    assert re.search(r"--json\s+Print JSON", text)
    assert re.search(r"-h,?\s+(--help\s+)?Show this message", text)


def test_a_gram_matrix_in_a_pipe_is_in_digits(capsys: Capture) -> None:
    assert cli.run(["encodings", "simplex", "--classes", "5"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    start = lines.index("Gram matrix") + 1
    shown = np.array([[float(cell) for cell in line.split()] for line in lines[start : start + 5]])
    np.testing.assert_allclose(shown, ec.simplex_etf_gram(5))


def test_nothing_learned_at_a_million_classes_is_said_without_nan(capsys: Capture) -> None:
    many = ["--classes", "1000000", "--samples-per-class", "3", "--weight-decay", "0.5", "--feature-decay", "0.1"]
    assert cli.run(["predict", "-e", "one-hot", *many]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nan" not in printed
    assert "undefined: every class mean is zero" in printed


INTERRUPTED_IMPORT = """
import os, signal, sys, weakref

class Thing: pass

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "encollapse.cli.app":
            sys.meta_path.remove(self)
            thing = Thing()
            # Exceptions in the callback of a weak reference are swallowed, as in those of the locks of modules.
            self.reference = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.SIGINT), sum(range(9))])

sys.meta_path.insert(0, Finder())
from encollapse.cli import main
main(["encodings"])
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_that_an_import_would_swallow_ends_the_command() -> None:
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + INTERRUPTED_IMPORT
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_a_network_runs_without_a_small_batch_that_its_training_may_not_have_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("from torch import nn\n\n\ndef net():\n    return nn.Linear(64, 10)\n")
    _, loader, _ = network_and_loader("net.py:net", "digits", None)
    sizes = [len(labels) for _, labels in loader]
    assert len(sizes) > 1
    assert max(sizes) - min(sizes) < len(sizes)
    _, asked, _ = network_and_loader("net.py:net", "digits", 100)
    assert max(len(labels) for _, labels in asked) == 100
