"""Errors, hints and tables of a command name what one types there, and not keywords of Python."""

import re
import shlex
from collections.abc import Callable

import numpy as np
import pytest

from encollapse import cli

DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]
TRAIN = ["train", "digits", "-e", "one-hot", "--weight-decay", "5e-3"]
DESIGN = ["design", "--target", "simplex", "--counts", "9,4,4", "-o", "x.json"]

Refusal = Callable[..., tuple[str, str]]


@pytest.mark.parametrize("name", ["random", "hierarchical", "multi-label", "spherical"])
def test_an_option_in_a_hint_can_be_typed_as_it_stands(name: str, refusal: Refusal) -> None:
    command = ["predict", "-e", name, "--classes", "4", "--samples-per-class", "5", *DECAYS]
    _, hint = refusal(*command)
    typed = shlex.split(hint.partition("for example ")[2])
    assert typed[0] == "-O"
    assert cli.run([*command, *typed]) == 0


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ([*TRAIN, "--feature-decay", "1e-3", "--decay", "plain"], "--decay plain regularizes", "use --decay ufm"),
        ([*TRAIN, "--decay", "plain", "--nesterov", "--optimizer", "adam"], "needs --optimizer sgd", "leave it out"),
        ([*DESIGN, "--weight-decay", "5", "--feature-decay", "1"], "", "lower --weight-decay or --feature-decay,"),
        ([*DESIGN, "--weight-decay", "5", "--feature-decay", "1"], "", "or --like unit_outputs"),
        ([*TRAIN, "--feature-decay", "1e-3", "--data-option", "seed"], "expected NAME=VALUE", "for example 'seed=3'"),
    ],
)
def test_keywords_are_options_of_the_command(command: list[str], message: str, hint: str, refusal: Refusal) -> None:
    error, advice = refusal(*command)
    assert message in error
    assert hint in advice
    assert not re.search(r"\b(decay|optimizer|like)=", error + advice)


def test_what_a_file_is_called_stays_as_it_is(refusal: Refusal) -> None:
    assert "bias_decay=inf.json" in refusal("predict", "-e", "bias_decay=inf.json", "--counts", "3,4", *DECAYS)[0]


def test_a_missing_metric_names_the_flag_that_it_needs(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(f"{tmp_path}/x.npz", features=np.eye(3, 7)[np.arange(9) % 3], labels=np.arange(9) % 3)
    file = f"{tmp_path}/x.npz"
    assert cli.run(["measure", file, "--key", "features", "--label-key", "labels", "--no-covariance"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "use --covariance" in printed
    assert "covariance=True" not in printed


@pytest.mark.parametrize("value", ["true", "True"])
def test_yes_and_no_are_read_in_both_spellings(value: str, refusal: Refusal) -> None:
    options = ("--feature-decay", "1e-3", "--data-option", f"standardize={value}", "--holdout", "2")
    assert refusal(*TRAIN, *options)[0].startswith("error: holdout")
