"""What a study file expands to: products, axes that advance together, defaults, values that are lists."""

import inspect
import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import FileFormatError
from encollapse.study.resolve import dataset_of, feature_decay_of, problem_of
from encollapse.study.spec.train_options import ELSEWHERE, OF_THE_ENGINE, OPTIONS
from encollapse.study.trials import canonical_json
from reference.study_text import DEFAULTS, HEAD, RUN, study


def test_lists_expand_as_a_product_with_seeds_innermost() -> None:
    made = study(
        HEAD + DEFAULTS + '[[runs]]\nencoding = ["one-hot", "simplex"]\nbias_decay = [0, 0.5, inf]\nseeds = [3, 5]\n'
    )
    keys = [(t.settings["encoding"]["name"], t.settings["bias_decay"], t.settings["seed"]) for t in made.trials]
    assert keys == [(e, b, s) for e in ("one-hot", "simplex") for b in (0.0, 0.5, math.inf) for s in (3, 5)]


def test_blocks_override_defaults_and_equal_trials_are_one() -> None:
    made = study(HEAD + DEFAULTS + RUN + RUN + "feature_decay = 2e-3\n" + RUN + "bias_decay = 0.0\nseeds = 0\n")
    first, second = (trial.settings for trial in made.trials)
    assert "feature_decay" not in first
    assert first["relative_threshold"] == 0.3
    assert "relative_threshold" not in second
    assert second["feature_decay"] == 2e-3


def test_training_options_of_block_and_defaults_are_joined() -> None:
    made = study(HEAD + DEFAULTS + "train = { finish = 3, tolerance = 0.1 }\n" + RUN + "train = { finish = 7 }\n")
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
    settings = {"relative_threshold": 0.3, "weight_decay": 5e-3}
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
    two = settings_of(f"encoding = {{ name = 'hierarchical', options = {{ tree = {{ grid = [{deep}, {flat}] }} }} }}\n")
    assert [s["encoding"]["options"]["tree"] for s in two] == [[["0", "1"], ["2", "3"]], ["0", "1", "2", "3"]]
    said = settings_of('encoding = "one-hot"\nmodel = { name = "cnn", options = { channels = { value = [3, 5] } } }\n')
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
    bare = DEFAULTS.replace("relative_threshold = 0.3\n", "")
    made = study(HEAD + bare + RUN + 'train = { decay = ["plain", "decoupled"] }\n')
    assert [s.settings["train"]["decay"] for s in made.trials] == ["plain", "decoupled"]
    with pytest.raises(FileFormatError, match="feature_decay: missing"):
        study(HEAD + bare + RUN + 'train = { decay = ["plain", "ufm"] }\n')
    both = settings_of("encoding = 'one-hot'\nrelative_threshold = [0.2, 0.3]\ntrain = { decay = ['ufm', 'plain'] }\n")
    found = [(s["train"]["decay"], s.get("relative_threshold")) for s in both]
    assert found == [("ufm", 0.2), ("plain", None), ("ufm", 0.3)]


def test_every_keyword_of_fit_has_one_place() -> None:
    from encollapse.train import fit

    places = [*OPTIONS, *ELSEWHERE, *OF_THE_ENGINE]
    assert len(places) == len(set(places))
    assert set(places) == set(inspect.signature(fit).parameters) - {"dataset", "encoding"}
