"""Built-in studies: each asks the question that its title says."""

import math

import pytest

import encollapse as ec
from encollapse.study.resolve import dataset_of, problem_of
from encollapse.study.trials import Trial


def of_step(name: str) -> list[Trial]:
    """Trials of `name` with one-hot or designed codewords and two class sizes."""
    trials = ec.study.load(name).trials
    return [t for t in trials if t.settings["dataset"]["imbalance"]["kind"] == "step"]


def problem(trial: Trial) -> ec.ufm.Problem:
    counts = dataset_of(trial.settings).counts
    assert counts.tolist() == [120] * 5 + [12] * 5
    return problem_of(trial.settings, counts)


def test_every_encoding_of_the_catalog_is_in_the_study_that_says_so() -> None:
    asked = {t.settings["encoding"]["name"] for t in ec.study.load("every-encoding").trials}
    assert asked == set(ec.encodings.names())


def test_each_kind_of_decay_meets_linear_and_rectified_features() -> None:
    trials = ec.study.load("decay-kinds").trials
    pairs = {(t.settings.get("train", {}).get("decay", "ufm"), t.settings["features"]) for t in trials}
    assert pairs == {(d, f) for d in ("ufm", "plain", "decoupled") for f in ("linear", "relu")}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_imbalance_is_studied_on_both_sides_of_the_threshold_at_which_rare_classes_merge(loss: str) -> None:
    sides = set()
    for trial in of_step("imbalance"):
        settings = trial.settings
        if settings["encoding"]["name"] != "one-hot" or settings.get("train", {}).get("loss", "mse") != loss:
            continue
        made = problem(trial)
        beyond = made.threshold > math.sqrt(12 / 660)
        sides.add((beyond, settings["bias_decay"]))
        means = ec.ufm.solve(made).geometry.feature_gram
        apart = means[8, 8] + means[9, 9] - 2 * means[8, 9]
        assert (apart < 1e-9 * means[0, 0]) == beyond
    assert sides == {(beyond, decay) for beyond in (False, True) for decay in (0.0, math.inf)}


def test_designed_codewords_of_the_imbalance_study_have_a_simplex_frame() -> None:
    designed = [t for t in of_step("imbalance") if t.settings["encoding"]["name"] == "designed simplex"]
    assert len({t.settings["relative_threshold"] for t in designed}) == 2
    for trial in designed:
        assert ec.ufm.solve(problem(trial)).geometry.distance("simplex_etf") < 1e-9


def test_dynamics_are_seen_after_every_early_pass_with_frames() -> None:
    for trial in ec.study.load("dynamics").trials:
        measure = trial.settings["measure"]
        assert measure["frames"]
        assert set(range(1, 21)) <= set(measure["every"])
