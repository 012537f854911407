"""Options of a training stand in one place; what editors, the command, study files and the docs say follows it."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main

import encollapse as ec
from encollapse.cli.app import app
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.train import Settings
from encollapse.train.settings import DEFAULTS, OPTIONS, SYNONYMS, Options, decay_of
from encollapse.train.usual import RECIPES

DOCS = Path(__file__).parents[2] / "docs"
BASE: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}


def test_what_editors_are_told_is_what_there_is() -> None:
    assert set(get_type_hints(Options)) == set(OPTIONS) | set(SYNONYMS)
    assert [field.name for field in dataclasses.fields(Settings)] == list(OPTIONS)
    parameters = inspect.signature(ec.train.fit).parameters
    assert [*parameters] == ["dataset", "encoding", *OPTIONS]
    for name, default in DEFAULTS.items():
        expected = inspect.Parameter.empty if default is dataclasses.MISSING else default
        assert parameters[name].default is expected
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("described", [ec.train.fit, Settings])
def test_every_option_is_described_once(described: Any) -> None:
    for name, about in OPTIONS.items():
        assert len(re.findall(rf"^    {name} : ", described.__doc__, re.M)) == 1
        assert about.help[0].isupper() or about.help.startswith(("λ", *about.choices, "mlp")), name


def test_the_command_has_an_option_for_each_and_help_from_the_same_line() -> None:
    group: Any = typer.main.get_command(app)
    command = group.commands["train"]
    known = {option: parameter for parameter in command.params for option in parameter.opts}
    for name, about in OPTIONS.items():
        flag = about.flag or "--" + name.replace("_", "-")
        if flag == "-":
            continue
        said = known[flag].help.removeprefix("Do not ").lower()
        assert said.startswith(about.help.lower()), name
        for word in about.choices:
            assert word in f"{known[flag].help} {known[flag].metavar}".lower(), name


def test_the_page_lists_every_option_with_its_default() -> None:
    table = (DOCS / "training.md").read_text().partition("## Every option")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.M)
    listed = dict(rows)
    assert len(rows) == len(listed)
    for name, about in OPTIONS.items():
        default = DEFAULTS[name]
        expected = about.usual or ("required" if default is dataclasses.MISSING else f"`{default!r}`")
        assert listed[name].strip() == " ".join(expected.split()), name


def test_a_recipe_gives_way_to_what_is_given() -> None:
    for name, values in RECIPES.items():
        made = Settings(weight_decay=3e-4, recipe=name)
        for option, value in values.items():
            assert getattr(made, option) == (3e-4 if value == "weight_decay" else value)
        assert decay_of({"recipe": name}) == made.decay
        assert made.completed(num_samples=101, code_dim=7, num_classes=5).epochs == 200
    own = Settings(weight_decay=3e-4, recipe="sgd-cosine", bias_decay=0.5, momentum=0.7, schedule="constant")
    assert (own.bias_decay, own.momentum, own.schedule, own.optimizer) == (0.5, 0.7, "constant", "sgd")
    with pytest.raises(ArgumentError, match="recipe: expected one of"):
        Settings(weight_decay=1e-3, recipe="secret")


def test_synonyms_and_unknown_options_are_named() -> None:
    assert Settings(**BASE, lbfgs_iterations=7).finish == 7
    with pytest.raises(ArgumentError, match="lbfgs_iterations: is another name of finish"):
        Settings(**BASE, finish=5, lbfgs_iterations=7)
    with pytest.raises(ArgumentTypeError, match=r"learning_rat: .* did you mean 'learning_rate'"):
        Settings(**BASE, learning_rat=1.0)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="weight_decay: missing"):
        Settings(feature_decay=1e-3)  # type: ignore[call-arg]


def test_replacing_and_completing_keep_what_was_given() -> None:
    first = Settings(**BASE, model="cnn", epochs=3)
    done = first.completed(num_samples=1000, code_dim=101, num_classes=211)
    assert (done.epochs, done.finish, done.feature_dim, done.optimizer) == (3, 50, 101, "adam")
    assert done.completed(num_samples=7, code_dim=3, num_classes=3).to_dict() == done.to_dict()
    assert dataclasses.replace(done, finish=5).finish == 5
