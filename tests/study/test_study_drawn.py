"""Study files whose data are drawn anew for each seed, and whose codewords are designed for each trial."""

import math

import numpy as np
import pytest

import encollapse as ec
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError, FileFormatError, UnsupportedError
from encollapse.study.resolve import dataset_of, encoding_of, problem_of
from encollapse.study.study import Study, parse

HEAD = 'name = "a"\ntitle = "t"\n[[runs]]\nweight_decay = 5e-3\n'
STEP = '{ name = "digits", seed = "trial", imbalance = { kind = "step", majority = 29, minority = 3, shuffle = true } }'


def study(text: str) -> Study:
    return parse(HEAD + text, "a.toml", origin="a.toml")


def test_data_of_a_trial_follow_its_seed() -> None:
    made = study(
        f'dataset = {STEP}\nencoding = "one-hot"\nrelative_threshold = 0.3\nbias_decay = [0, inf]\nseeds = [3, 5]\n'
    )
    drawn: dict[int, list[FloatArray]] = {}
    for trial in made.trials:
        data = dataset_of(trial.settings)
        assert sorted(data.counts) == [3] * 5 + [29] * 5
        drawn.setdefault(trial.settings["seed"], []).append(data.train.inputs)
        alone = ec.data.load("digits", imbalance=trial.settings["dataset"]["imbalance"], seed=trial.settings["seed"])
        np.testing.assert_array_equal(data.train.inputs, alone.train.inputs)
    for first, second in drawn.values():
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(drawn[3][0], drawn[5][0])


@pytest.mark.parametrize("name", ["simplex", "orthogonal"])
def test_codewords_are_designed_for_the_counts_and_decays_of_each_trial(name: str) -> None:
    made = study(
        f'dataset = {STEP}\nencoding = {{ design = "{name}" }}\n'
        "relative_threshold = [0.1, 0.3]\nbias_decay = [2, inf]\n"
    )
    assert len(made.trials) == 4
    frame = {"simplex": "simplex_etf", "orthogonal": "orthogonal"}[name]
    for trial in made.trials:
        problem = problem_of(trial.settings, dataset_of(trial.settings).counts)
        assert problem.encoding.name == f"designed {name}"
        assert ec.ufm.solve(problem).geometry.distance(frame) < 1e-9


def test_a_design_that_does_not_exist_is_the_failure_of_its_trial_alone() -> None:
    made = study(f'dataset = {STEP}\nencoding = {{ design = "simplex" }}\nrelative_threshold = 0.3\nbias_decay = 0\n')
    counts = dataset_of(made.trials[0].settings).counts
    with pytest.raises(ArgumentError, match="bias_decay: at 0 the bias centers"):
        encoding_of(made.trials[0].settings, counts)
    (group,) = ec.study.plan(made).groups
    assert group.problem is not None
    assert "bias_decay" in group.problem
    plain = study(f'dataset = {STEP}\nencoding = {{ design = "simplex" }}\nbias_decay = inf\ntrain.decay = "plain"\n')
    with pytest.raises(UnsupportedError, match="plain"):
        encoding_of(plain.trials[0].settings, counts)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ('{ design = "simplicial" }', "design"),
        ('{ design = "simplex", name = "one-hot" }', "expected one of name, file and design"),
        ('{ design = "simplex", options = { smoothing = 0.1 } }', "only an encoding by name has options"),
    ],
)
def test_a_design_is_checked(entry: str, text: str) -> None:
    with pytest.raises(FileFormatError, match=text):
        study(f'dataset = "digits"\nencoding = {entry}\nrelative_threshold = 0.3\nbias_decay = inf\n')


@pytest.mark.parametrize("train", ['class_weights = "balanced"', 'loss = "cross_entropy", logit_adjustment = 1'])
def test_a_loss_that_treats_classes_differently_has_no_predicted_minimum(train: str) -> None:
    text = (
        f'dataset = {STEP}\nencoding = "one-hot"\nrelative_threshold = 0.3\nbias_decay = inf\ntrain = {{ {train} }}\n'
    )
    counts = np.full(10, 7)
    for model in ("mlp", "ufm"):
        (trial,) = study(text + f'model = "{model}"\n').trials
        with pytest.raises(UnsupportedError, match="no prediction"):
            problem_of(trial.settings, counts)
    neutral = text.replace('"balanced"', '"none"').replace("adjustment = 1", "adjustment = 0")
    (trial,) = study(neutral).trials
    assert problem_of(trial.settings, counts).threshold == pytest.approx(0.3 / math.sqrt(10))
