"""Study files that are wrong: the error names file, line, block and key."""

from pathlib import Path

import pytest

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from reference.study_text import DEFAULTS, HEAD, RUN, study


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
        ("feature_decay = 1.0\nrelative_threshold = 1.0", r"block 1: relative_threshold: .*exclude each other"),
        ("seeds = [-1]", r"seeds\[0\]: expected .* got -1"),
        ("seeds = true", r"seeds: expected a whole number, got True"),
        ("train = { learning_rates = 1.0 }", r"train: .* no option 'learning_rates'; did you mean 'learning_rate'"),
        ("train = { seed = 3 }", r"train: seed has a key of its own; write seeds in the block"),
        ("train = { history_every = 3 }", r"write measure = \{ every = ... \} in the block"),
        ('train = { loss = "msr" }', r"block 1: train: loss: expected one of 'mse', 'cross_entropy', got 'msr'"),
        ("train = { learning_rate = [0.1, 0] }", r"train: learning_rate: expected a finite number above 0, got 0"),
        ('train = { decay = "decoupled", finish = 3 }', r"train: finish: .* give finish=0"),
        ('train = { optimizer = "lbfgs" }\nepochs = 3', r"train: epochs: optimizer='lbfgs' makes no passes"),
        ("train = { finish = [] }", r"train: expected at least one value"),
        (
            'measure = { every = [0, "x"] }',
            r"measure\.every: expected a whole number above 0, \"log\", or a list of whole numbers from 0, got \[0",
        ),
        ("measure = { every = 0 }", r"measure\.every: expected a whole number above 0, .* got 0"),
        ("measure = { evry = 3 }", r"measure\.evry: no such key; did you mean 'every'\?"),
        ('measure = { convention = "zhu" }', r"measure\.convention: no convention .* did you mean 'zhu2021'\?"),
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
        ('dataset = { name = "no.npz" }', r"dataset: there is no file 'no.npz'; paths start at the study file"),
        ('[[runs]]\nencoding = { file = "no.json" }', r"block 2: encoding: there is no file 'no.json'"),
        ('[[runs]]\nencoding = { file = "no.txt" }', r"block 2: encoding\.file: expected a file ending in"),
        (
            '[[runs]]\nencoding = { name = "one-hot", file = "a.json" }',
            r"block 2: encoding: expected one of name, file and design",
        ),
        ('dataset = { name = "digits", count = 3 }', r"dataset\.count: no such key; did you mean 'counts'\?"),
        ('dataset = { name = "digits", counts = [3, 0] }', r"dataset\.counts: expected a whole number above 0"),
        ('dataset = { name = "digits", label_noise = 2 }', r"label_noise.*expected a number below 1, got 2"),
        ('dataset = { name = "digits", label_noise = { fractions = 2 } }', r"label_noise: .* no option 'fractions'"),
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
        ('[[runs]]\nencoding = { name = "random", options = { dim = 3 } }', r"block 2: encoding\.options: .* 'dim'"),
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
{0}relative_threshold = 0.3
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "t"\n' + RUN, "name: missing"),
        ('name = "a b"\ntitle = "t"\n' + RUN, "name: expected letters"),
        (HEAD, "runs: missing"),
        (HEAD + RUN, "dataset: missing"),
        (
            HEAD + DEFAULTS.replace("relative_threshold = 0.3\n", "") + RUN,
            "feature_decay: missing; give it, or relative_threshold",
        ),
        (
            HEAD + DEFAULTS + "feature_decay = 1.0\n" + RUN,
            r"\[defaults\]: relative_threshold: relative_threshold \(t = c√K\) and feature_decay",
        ),
    ],
)
def test_incomplete_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        study(text)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (f"seeds = [0, {2**63}]", r":\d+: runs\.seeds: expected a whole number from -2\*\*63 to 2\*\*63 - 1"),
        (f"seeds = [0x{'f' * 5000}]", r":\d+: runs\.seeds: expected a whole number from -2\*\*63 to 2\*\*63 - 1"),
        (f"seeds = [{'9' * 5000}]", r"cannot be read: [^;]*digits; write less of it"),
        (f"seeds = {'[' * 5000}0{']' * 5000}", "cannot be read: .*recursion"),
        (f"seeds = {'[' * 150}0{']' * 150}", r":\d+: runs\.seeds: tables and lists inside each other"),
        (f"dataset = '{'a' * 300}'", "runs.* block 1: dataset: 'a+'... cannot be looked for: File name too long"),
        (f"{'.'.join('a' * 500)} = 0", "tables and lists inside each other, more than 100"),
    ],
    ids=["2**63", "5,000 digits in base 16", "5,000 digits", "5,000 lists", "150 lists", "300 letters", "500 tables"],
)
def test_numbers_and_depths_that_nothing_holds_are_refused_in_words(addition: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=rf"^a\.toml.*{message}") as refused:
        study(HEAD + DEFAULTS + RUN + addition + "\n")
    assert len(str(refused.value)) < 300


def test_a_file_that_begins_with_the_mark_of_other_editors_is_read(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_text("trial_seconds = 7.5\n" + HEAD + DEFAULTS + RUN, encoding="utf-8-sig")
    loaded = ec.study.load(file)
    assert loaded.trial_seconds == 7.5
    assert ec.study.Study.from_definition(loaded.definition()) == loaded
    assert [trial.id for trial in loaded.trials] == [trial.id for trial in study(HEAD + DEFAULTS + RUN).trials]


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
