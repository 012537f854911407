"""Study files: what they expand to, and what they refuse."""

import inspect
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
from encollapse.study.resolve import dataset_of, encoding_of, feature_decay_of, problem_of
from encollapse.study.study import Study, parse
from encollapse.study.train_options import ELSEWHERE, FIT_DEFAULTS, OF_THE_ENGINE, OPTIONS
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


@pytest.mark.parametrize("name", ["digits-accuracy", "digits-transition", "mnist5k-accuracy", "transition"])
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


def test_imbalance_and_label_noise_reach_the_data() -> None:
    noisy = settings_of(
        "encoding = 'one-hot'\n"
        "dataset = { name = 'digits', imbalance = { kind = 'geometric', first = 64, last = 8 }, "
        "label_noise = [0.25, { kind = 'pairwise', fraction = 0.5 }] }\n"
    )
    for settings, kind in zip(noisy, ("symmetric", "pairwise"), strict=True):
        train = dataset_of(settings).train
        assert train.clean_labels is not None
        clean = np.bincount(train.clean_labels)
        assert (clean[0], clean[-1]) == (64, 8)
        changed = np.asarray(train.clean_labels != train.labels)
        assert settings["dataset"]["label_noise"]["kind"] == kind
        assert changed[train.clean_labels == 0].sum() == 64 * (0.25 if kind == "symmetric" else 0.5)


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
        ("feature_decay = 1.0\nthreshold = 1.0", r"block 1: threshold: .*exclude each other"),
        ("seeds = [-1]", r"seeds\[0\]: expected .* got -1"),
        ("seeds = true", r"seeds: expected a whole number, got True"),
        (
            "train = { learning_rates = 1.0 }",
            r"train: .* no option 'learning_rates'; did you mean 'learning_rate'",
        ),
        ("train = { seed = 3 }", r"train: seed has a key of its own; write seeds in the block"),
        ("train = { history_every = 3 }", r"write measure = \{ every = ... \} in the block"),
        (
            'train = { loss = "msr" }',
            r"block 1: train: loss: expected one of 'mse', 'cross_entropy', got 'msr'",
        ),
        (
            "train = { learning_rate = [0.1, 0] }",
            r"train: learning_rate: expected a finite number above 0, got 0",
        ),
        ('train = { decay = "decoupled", finish = 3 }', r"train: finish: .* give finish=0"),
        ('train = { optimizer = "lbfgs" }\nepochs = 3', r"train: epochs: optimizer='lbfgs' makes no passes"),
        ("train = { finish = [] }", r"train: expected at least one value"),
        ("measure = { evry = 3 }", r"measure\.evry: no such key; did you mean 'every'\?"),
        (
            'measure = { convention = "zhu" }',
            r"measure\.convention: no convention .* did you mean 'zhu2021'\?",
        ),
        ('zip = ["bias_decay"]', r"zip: expected at least two axes"),
        ('zip = ["bias_decay", "nothing"]', r"zip: the block has no axis 'nothing'; it has: dataset, model"),
        (
            'bias_decay = [0, 1]\nseeds = [1, 2, 3]\nzip = ["bias_decay", "seeds"]',
            r"zip: bias_decay has 2 values and seeds has 3; axes that advance together need as many",
        ),
        ('zip = [["bias_decay", "seeds"], ["encoding", "seeds"]]', r"zip: seeds is named twice"),
        ('model = "mpl"', r"model: no model is called 'mpl'; did you mean 'mlp'\?"),
        (
            'model = { name = "mlp", options = { depths = 3 } }',
            r"model\.options: model_options: 'mlp' has no option 'depths'",
        ),
        ('model = { name = "ufm", options = { depth = 3 } }', r"'ufm' is no network and has no options"),
        ('model = { name = "mlp", option = 3 }', r"model\.option: no such key; did you mean 'options'\?"),
        (
            'dataset = { name = "no.npz" }',
            r"dataset: there is no file 'no.npz'; paths start at the study file",
        ),
        ('[[runs]]\nencoding = { file = "no.json" }', r"block 2: encoding: there is no file 'no.json'"),
        ('[[runs]]\nencoding = { file = "no.txt" }', r"block 2: encoding\.file: expected a file ending in"),
        (
            '[[runs]]\nencoding = { name = "one-hot", file = "a.json" }',
            r"block 2: encoding: expected one of name, file and design",
        ),
        ('dataset = { name = "digits", count = 3 }', r"dataset\.count: no such key; did you mean 'counts'\?"),
        (
            'dataset = { name = "digits", counts = [3, 0] }',
            r"dataset\.counts: expected a whole number above 0",
        ),
        (
            'dataset = { name = "digits", label_noise = 2 }',
            r"label_noise.*expected a share in \[0, 1\), got 2",
        ),
        (
            'dataset = { name = "digits", label_noise = { fractions = 2 } }',
            r"label_noise: .* no option 'fractions'",
        ),
        ('dataset = { name = "digits", options = { dims = 2 } }', r"no option 'dims'; it has none"),
        (
            'dataset = { name = "gaussian-mixture", options = { dims = 2 } }',
            r"dataset\.options: the data set has no option 'dims'; did you mean 'dim'\?",
        ),
        ('dataset = "digit"', r"dataset: no data set is called 'digit'; did you mean 'digits'\?"),
        (
            'dataset = { name = "digits", counts = 3, imbalance = { kind = "geometric", first = 3, last = 1 } }',
            r"counts and imbalance exclude each other",
        ),
        (
            'dataset = { name = "digits", imbalance = { kind = "geo", first = 3, last = 1 } }',
            r"dataset\.imbalance: imbalance\.kind: expected one of 'step', 'exponential', 'geometric'",
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
    with pytest.raises(FileFormatError, match=rf"^a\.toml(:\d+)?: .*{message}"):
        study(HEAD + DEFAULTS + RUN + addition + "\n")


LINES = '''name = "a"
title = "t"
description = """
bias_decay = -3 is no key here
"""
[defaults]
dataset = "digits"
weight_decay = 1e-3
{0}threshold = 0.3
[[runs]]
encoding = "one-hot" # bias_decay = -1
bias_decay = 0
[[runs]]
encoding = [
  "one-hot",
  {{ name = "random", options = {{ {1} = 3 }} }},
]
bias_decay = [
  0,
  {2},
]
{3}
[runs.dataset]
name = "digits"
{4} = 3
'''
RIGHT = ["", "code_dim", "1", "", "counts"]


@pytest.mark.parametrize(
    ("position", "wrong", "line", "key"),
    [
        (0, "epochs = -1\n", 9, r"epochs: expected"),
        (1, "dim", 16, r"\[\[runs\]\] block 2: encoding"),
        (2, "-2", 18, r"\[\[runs\]\] block 2: bias_decay\[1\]: expected"),
        (3, "zip = ['bias_decay', 'seeds']", 22, r"zip: bias_decay has 2 values and seeds has 1"),
        (4, "count", 25, r"dataset\.count: no such key"),
    ],
)
def test_errors_name_the_line(position: int, wrong: str, line: int, key: str) -> None:
    assert len(study(LINES.format(*RIGHT)).trials) == 5
    written = list(RIGHT)
    written[position] = wrong
    with pytest.raises(FileFormatError, match=rf"^a\.toml:{line}: .*{key}"):
        study(LINES.format(*written))


def settings_of(block: str) -> list[Any]:
    return [trial.settings for trial in study(HEAD + DEFAULTS + "[[runs]]\n" + block).trials]


def test_any_key_may_be_an_axis() -> None:
    found = settings_of(
        'encoding = { name = "label-smoothing", options = { smoothing = [0.1, 0.2, 0.3] } }\n'
        "train = { learning_rate = [1e-2, 1e-3], finish = 7 }\n"
        'dataset = { name = "digits", counts = { grid = [5, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] } }\n'
        'model = [{ name = "mlp", options = { width = [32, 64] } }, "cnn"]\n'
    )
    assert len(found) == 3 * 2 * 2 * 3
    assert {s["encoding"]["options"]["smoothing"] for s in found} == {0.1, 0.2, 0.3}
    assert {s["train"]["learning_rate"] for s in found} == {1e-2, 1e-3}
    assert {s["train"]["finish"] for s in found} == {7}
    assert {str(s["dataset"]["counts"]) for s in found} == {"5", str(list(range(1, 11)))}
    assert {(s["model"], s.get("model_options", {}).get("width")) for s in found} == {
        ("mlp", 32),
        ("mlp", 64),
        ("cnn", None),
    }


def test_lists_that_options_take_are_values_and_can_be_axes_when_said() -> None:
    deep, flat = "[['0', '1'], ['2', '3']]", "['0', '1', '2', '3']"
    one = settings_of(f"encoding = {{ name = 'hierarchical', options = {{ tree = {deep} }} }}\n")
    assert [s["encoding"]["options"]["tree"] for s in one] == [[["0", "1"], ["2", "3"]]]
    two = settings_of(
        f"encoding = {{ name = 'hierarchical', options = {{ tree = {{ grid = [{deep}, {flat}] }} }} }}\n"
    )
    assert [s["encoding"]["options"]["tree"] for s in two] == [[["0", "1"], ["2", "3"]], ["0", "1", "2", "3"]]
    said = settings_of(
        'encoding = "one-hot"\nmodel = { name = "cnn", options = { channels = { value = [3, 5] } } }\n'
    )
    assert [s["model_options"] for s in said] == [{"channels": [3, 5]}]


def test_zipped_axes_advance_together_and_the_others_multiply() -> None:
    found = settings_of(
        "encoding = 'one-hot'\n"
        "zip = [['bias_decay', 'train.learning_rate'], ['weight_decay', 'seeds']]\n"
        "bias_decay = [0, 1, inf]\ntrain = { learning_rate = [1e-1, 1e-2, 1e-3] }\n"
        "weight_decay = [1e-3, 2e-3]\nseeds = [5, 7]\nepochs = [1, 2]\n"
    )
    assert len(found) == 3 * 2 * 2
    pairs = {(s["bias_decay"], s["train"]["learning_rate"]) for s in found}
    assert pairs == {(0.0, 1e-1), (1.0, 1e-2), (math.inf, 1e-3)}
    assert {(s["weight_decay"], s["seed"]) for s in found} == {(1e-3, 5), (2e-3, 7)}


def test_what_only_trainings_have_does_not_multiply_the_theory() -> None:
    found = settings_of(
        "encoding = 'one-hot'\nmodel = ['ufm', 'mlp']\nseeds = [0, 1, 2]\nepochs = [1, 2]\n"
        "measure = { every = 3, frames = true }\n"
    )
    assert [s["model"] for s in found].count("ufm") == 1
    assert [s["model"] for s in found].count("mlp") == 6
    assert {canonical_json(s.get("measure")) for s in found} == {"null", '{"every":3,"frames":true}'}


def test_decay_of_parameters_needs_no_feature_decay_and_ignores_it() -> None:
    bare = DEFAULTS.replace("threshold = 0.3\n", "")
    made = study(HEAD + bare + RUN + 'train = { decay = ["plain", "decoupled"] }\n')
    assert [s.settings["train"]["decay"] for s in made.trials] == ["plain", "decoupled"]
    with pytest.raises(FileFormatError, match="feature_decay: missing"):
        study(HEAD + bare + RUN + 'train = { decay = ["plain", "ufm"] }\n')
    both = settings_of("encoding = 'one-hot'\nthreshold = [0.2, 0.3]\ntrain = { decay = ['ufm', 'plain'] }\n")
    assert [(s["train"]["decay"], s.get("threshold")) for s in both] == [
        ("ufm", 0.2),
        ("plain", None),
        ("ufm", 0.3),
    ]


def test_every_keyword_of_fit_has_one_place() -> None:
    from encollapse.train import fit

    places = [*OPTIONS, *ELSEWHERE, *OF_THE_ENGINE]
    assert len(places) == len(set(places))
    assert set(places) == set(inspect.signature(fit).parameters) - {"dataset", "encoding"}


def test_defaults_that_checks_rely_on_are_those_of_fit() -> None:
    from encollapse.train import fit

    parameters = inspect.signature(fit).parameters
    assert {name: parameters[name].default for name in FIT_DEFAULTS} == FIT_DEFAULTS


def test_an_encoding_file_is_known_by_its_content(tmp_path: Path) -> None:
    def ids() -> list[str]:
        return [trial.id for trial in ec.study.load(tmp_path / "a.toml").trials]

    (tmp_path / "a.toml").write_text(HEAD + DEFAULTS + '[[runs]]\nencoding = { file = "my.json" }\n')
    code = ec.encodings.random(10, 7, seed=3)
    code.save(tmp_path / "my.json")
    (first,) = ids()
    settings = ec.study.load(tmp_path / "a.toml").trials[0].settings
    np.testing.assert_array_equal(encoding_of(settings, np.full(10, 7)).codewords, code.codewords)
    (tmp_path / "deeper").mkdir()
    for name in ("a.toml", "my.json"):
        (tmp_path / "deeper" / name).write_bytes((tmp_path / name).read_bytes())
    assert ec.study.load(tmp_path / "deeper" / "a.toml").trials[0].id == first
    ec.encodings.random(10, 7, seed=4).save(tmp_path / "my.json")
    assert ids() != [first]
    with pytest.raises(FileFormatError, match=r"my\.json: changed while the study was running"):
        encoding_of(settings, np.full(10, 7))


def test_a_data_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        HEAD + DEFAULTS.replace('"digits"', '"mine.npz"') + '[[runs]]\nencoding = "one-hot"\n'
    )
    ids = []
    for shift in (0.0, 1.0):
        np.savez(tmp_path / "mine.npz", inputs=np.eye(6) + shift, labels=np.arange(6) % 3)
        trial = ec.study.load(tmp_path / "a.toml").trials[0]
        assert dataset_of(trial.settings).counts.tolist() == [2, 2, 2]
        ids.append(trial.id)
    assert ids[0] != ids[1]


def test_a_folder_of_data_may_lie_beside_the_study_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    np.savez(folder / "data.npz", inputs=np.eye(6), labels=np.arange(6) % 3)
    (tmp_path / "a.toml").write_text(
        HEAD + DEFAULTS.replace('"digits"', '"mine"') + '[[runs]]\nencoding = "one-hot"\n'
    )
    settings = ec.study.load(tmp_path / "a.toml").trials[0].settings
    assert settings["dataset"]["file"] == str(folder)


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
        (
            HEAD + DEFAULTS + "feature_decay = 1.0\n" + RUN,
            r"\[defaults\]: threshold: threshold and feature_decay",
        ),
    ],
)
def test_incomplete_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        study(text)


def test_load_refuses_what_is_not_a_study(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no built-in study is called 'nope'; there are decay-kinds"):
        ec.study.load("nope")
    with pytest.raises(ArgumentTypeError, match="path_or_name"):
        ec.study.load(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        ec.study.load(tmp_path / "x.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="UTF-8"):
        ec.study.load(binary)
