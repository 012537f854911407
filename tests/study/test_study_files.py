"""Study files: what they expand to, and what they refuse."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.study.resolve import feature_decay_of, geometric_counts, problem_of
from encollapse.study.study import Study, parse
from encollapse.study.trials import Trial, canonical_json, parse_settings

HEAD = 'name = "a"\ntitle = "t"\n'
DEFAULTS = '[defaults]\ndataset = "digits"\nweight_decay = 1e-3\nthreshold = 0.3\nbias_decay = 0\n'
RUN = '[[runs]]\nencoding = "one-hot"\n'


def study(text: str) -> Study:
    return parse(text, "a.toml", origin="a.toml")


def test_lists_expand_as_a_product_with_seeds_innermost() -> None:
    made = study(
        HEAD
        + DEFAULTS
        + '[[runs]]\nencoding = ["one-hot", "simplex"]\nbias_decay = [0, 0.5, inf]\nseeds = [3, 5]\n'
    )
    keys = [
        (t.settings["encoding"]["name"], t.settings["bias_decay"], t.settings["seed"]) for t in made.trials
    ]
    assert keys == [(e, b, s) for e in ("one-hot", "simplex") for b in (0.0, 0.5, math.inf) for s in (3, 5)]


def test_blocks_override_defaults_and_equal_trials_are_one() -> None:
    made = study(
        HEAD + DEFAULTS + RUN + RUN + "feature_decay = 2e-3\n" + RUN + "bias_decay = 0.0\nseeds = 0\n"
    )
    first, second = (trial.settings for trial in made.trials)
    assert "feature_decay" not in first
    assert first["threshold"] == 0.3
    assert "threshold" not in second
    assert second["feature_decay"] == 2e-3


def test_training_options_of_block_and_defaults_are_joined() -> None:
    made = study(
        HEAD + DEFAULTS + "train = { finish = 3, tolerance = 0.1 }\n" + RUN + "train = { finish = 7 }\n"
    )
    assert made.trials[0].settings["train"] == {"finish": 7, "tolerance": 0.1}


@pytest.mark.parametrize("name", ["digits-accuracy", "digits-transition", "mnist5k-accuracy"])
def test_built_in_studies_load_and_hold_the_critical_point(name: str) -> None:
    made = ec.study.load(name)
    assert name in ec.study.names()
    assert made.origin == name
    decays = {t.settings["bias_decay"] for t in made.trials if t.settings["encoding"]["name"] == "one-hot"}
    assert {0.0, 3 / 7, math.inf} <= decays


def test_transition_study_is_balanced_so_that_its_critical_point_is_the_closed_form() -> None:
    settings = ec.study.load("digits-transition").trials[0].settings
    problem = problem_of(settings, np.full(10, settings["dataset"]["counts"]))
    assert problem.threshold * math.sqrt(10) == pytest.approx(0.3, rel=1e-12)
    assert problem.critical_bias_decay() == pytest.approx(3 / 7, rel=1e-9)


def test_feature_decay_follows_from_the_threshold() -> None:
    settings = {"threshold": 0.3, "weight_decay": 5e-3}
    decay = feature_decay_of(settings, 7, 101)
    assert math.sqrt(101 * 5e-3 * decay) * math.sqrt(7) == pytest.approx(0.3, rel=1e-14)
    assert feature_decay_of({"feature_decay": 0.25, "weight_decay": 1}, 7, 101) == 0.25


def test_geometric_counts_have_the_ends_asked_for_and_a_constant_ratio() -> None:
    counts = geometric_counts(10, 170, 5)
    assert (counts[0], counts[-1]) == (170, 5)
    exact = 170 * (5 / 170) ** (np.arange(10) / 9)
    assert np.abs(counts - exact).max() <= 0.5


def shuffled(value: Any, generator: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        generator.shuffle(items)
        return {k: shuffled(v, generator) for k, v in items}
    return value


@given(st.randoms(use_true_random=False))
def test_identity_does_not_depend_on_the_order_of_keys(generator: random.Random) -> None:
    settings = ec.study.load("digits-accuracy").trials[-1].settings
    assert Trial(shuffled(settings, generator)).id == Trial(settings).id


def test_identity_tells_every_trial_apart_and_survives_storage() -> None:
    trials = ec.study.load("digits-accuracy").trials
    assert len({trial.id for trial in trials}) == len(trials)
    for trial in trials:
        assert Trial(parse_settings(canonical_json(trial.settings))).id == trial.id
        assert parse_settings(canonical_json(trial.settings)) == trial.settings


def test_writing_a_number_in_another_way_is_the_same_trial() -> None:
    one = study(HEAD + DEFAULTS + RUN + "bias_decay = 1\n").trials[0]
    two = study(HEAD + DEFAULTS + RUN + "bias_decay = [1.0e0]\nmodel = 'mlp'\n").trials[0]
    assert one.id == two.id


def test_definition_round_trip() -> None:
    made = ec.study.load("digits-transition")
    again = Study.from_definition(made.definition())
    assert again == made
    with pytest.raises(FileFormatError, match="run it again"):
        Study.from_definition({"name": "a"})


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("bias_decay = -1", r"block 1: bias_decay: expected a number of 0 or above, got -1"),
        ('bias_decay = [0, "x"]', r"block 1: bias_decay\[1\]: expected a number, got 'x'"),
        ("bias_decay = nan", r"bias_decay: expected .* got nan"),
        ("bias_decay = []", r"bias_decay: expected at least one value"),
        ("bias_deca = 1", r"bias_deca: no such key; did you mean 'bias_decay'\?"),
        ("weight_decay = 0", r"weight_decay: expected a number above 0, got 0"),
        ("weight_decay = inf", r"weight_decay: expected a finite number above 0"),
        ("feature_decay = 1.0\nthreshold = 1.0", r"block 1: threshold and feature_decay exclude each other"),
        ("seeds = [-1]", r"seeds\[0\]: expected .* got -1"),
        ("seeds = true", r"seeds: expected a whole number, got True"),
        ('dataset = { name = "digits", count = 3 }', r"dataset\.count: no such key; did you mean 'counts'\?"),
        (
            'dataset = { name = "digits", counts = [3, 0] }',
            r"dataset\.counts: expected a whole number above 0",
        ),
        ('dataset = "digit"', r"dataset: no data set is called 'digit'; did you mean 'digits'\?"),
        (
            'dataset = { name = "digits", counts = 3, imbalance = { kind = "geometric", first = 3, last = 1 } }',
            r"counts and imbalance exclude each other",
        ),
        (
            'dataset = { name = "digits", imbalance = { kind = "geo", first = 3, last = 1 } }',
            "expected 'geometric'",
        ),
        ('features = "rel"', r"features: expected 'linear' or 'relu', got 'rel'"),
        ("epochs = 1.5", r"epochs: expected a whole number, got 1\.5"),
        ('[[runs]]\nencoding = "random"', r"block 2: encoding: .* needs the option 'code_dim'"),
        (
            '[[runs]]\nencoding = { name = "random", options = { dim = 3 } }',
            r"block 2: encoding\.options: .* 'dim'",
        ),
        ('[[runs]]\nencoding = "onehot"', r"block 2: encoding: .* did you mean 'one-hot'\?"),
        ("[[runs]]\nencoding = 3", r"block 2: encoding: expected a name or a table, got 3"),
        ("[[runs]]\nseeds = 0", r"block 2: encoding: missing; give it here or in \[defaults\]"),
        ("[other]", r"other: no such key"),
        ("x", r"not valid TOML: .*"),
    ],
)
def test_bad_keys_are_named_with_file_and_block(addition: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=f"^a.toml: .*{message}"):
        study(HEAD + DEFAULTS + RUN + addition + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "t"\n' + RUN, "name: missing"),
        ('name = "a b"\ntitle = "t"\n' + RUN, "name: expected letters"),
        (HEAD, "runs: missing"),
        (HEAD + RUN, "dataset: missing"),
        (
            HEAD + DEFAULTS.replace("threshold = 0.3\n", "") + RUN,
            "feature_decay: missing; give it, or threshold",
        ),
        (HEAD + DEFAULTS + "feature_decay = 1.0\n" + RUN, r"\[defaults\]: threshold and feature_decay"),
    ],
)
def test_incomplete_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        study(text)


def test_load_refuses_what_is_not_a_study(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no built-in study is called 'nope'; there are digits-accuracy"):
        ec.study.load("nope")
    with pytest.raises(ArgumentTypeError, match="path_or_name"):
        ec.study.load(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        ec.study.load(tmp_path / "x.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="UTF-8"):
        ec.study.load(binary)
