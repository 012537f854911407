"""Plans of studies: groups, sides of the critical bias decay, time; and what trials are called."""

import math
from pathlib import Path

import pytest

import encollapse as ec
from encollapse.study.labels import labels_of
from encollapse.study.plan import rough_seconds
from encollapse.study.study import Study, parse
from reference.fresh_interpreter import loaded
from reference.study_folder import study_of, write_folder

TOML = """
name = "plan"
title = "A plan"
[defaults]
dataset = { name = "digits", counts = 11 }
weight_decay = 5e-3
relative_threshold = 0.3
[[runs]]
encoding = ["one-hot", "simplex"]
bias_decay = [0, 0.1, 0.42857142857142855, 1, inf]
seeds = [0, 1]
[[runs]]
encoding = "one-hot"
bias_decay = [0, 1]
train = { decay = "plain" }
"""


def study(text: str = TOML) -> Study:
    return parse(text, "plan.toml", origin="plan.toml")


def test_groups_say_on_which_side_of_the_closed_form_a_trial_lies() -> None:
    one_hot, simplex, plain = ec.study.plan(study()).groups
    assert one_hot.threshold_t == pytest.approx(0.3, rel=1e-12)
    assert one_hot.threshold_c == pytest.approx(0.3 / math.sqrt(10), rel=1e-12)
    assert one_hot.critical == pytest.approx(0.3 / 0.7, rel=1e-9)
    assert [one_hot.side(b) for b in one_hot.bias_decays] == ["below", "below", "at", "above", "above"]
    assert len(one_hot.trials) == 10
    assert simplex.critical == math.inf  # centered: the bias has nothing to do
    assert {simplex.side(b) for b in simplex.bias_decays} == {"below"}
    assert plain.threshold_t is plain.critical is None
    assert plain.side(0.0) == ""
    assert plain.num_samples == 110


def test_what_cannot_run_is_said_and_not_counted() -> None:
    text = TOML + '[[runs]]\nencoding = "one-hot"\nbias_decay = 0\ndataset = { name = "digits", counts = 9999 }\n'
    plan = ec.study.plan(study(text))
    assert plan.groups[-1].problem is not None
    assert "fewer than 9999" in plan.groups[-1].problem
    assert plan.seconds == pytest.approx(ec.study.plan(study()).seconds)


def test_time_comes_from_stored_trials_where_there_are_some(tmp_path: Path) -> None:
    made = study_of()
    assert ec.study.plan(made, out=tmp_path).sources == ["rough count"]
    store = write_folder(tmp_path, made)  # 1.5 seconds each
    everything = ec.study.plan(made, out=tmp_path, workers=2)
    assert (everything.stored, everything.seconds) == (len(made.trials), 0.0)
    for trial in made.trials[:4]:
        store.arrays_path(trial.id).unlink()
    left = ec.study.plan(made, out=tmp_path, workers=2)
    assert left.stored == len(made.trials) - 4
    assert left.seconds == pytest.approx(4 * 1.5 / 2)
    assert left.sources == ["stored trials"]


def test_rough_time_counts_the_multiplications_of_a_network() -> None:
    settings = {"model": "mlp", "epochs": 10, "train": {"finish": 0, "feature_dim": 7, "batch_size": 1000}}
    settings["model_options"] = {"width": 11, "depth": 2}
    weights = 13 * 11 + 11 * 11 + 11 * 7
    first, second = (rough_seconds(settings, n, (13,)) for n in (10**9, 2 * 10**9))
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx(10 * 10**9 * (3 * weights / 1e10 + 1e-3 / 1000), rel=1e-9)
    assert rough_seconds({"model": "my.module:Net"}, 10, (13,)) is None


def test_rough_time_is_that_of_the_widths_that_a_training_takes() -> None:
    """Default widths follow the classes, and so must the estimate: that of the network which is built for them."""
    import torch

    from encollapse.study.plan import _multiplications
    from encollapse.train import models

    options = {"rank": 211}
    completed = models.check_options("mlp", {}, **options)
    network = models.build("mlp", torch.zeros(2, 13), feature_dim=211, code_dim=211, bias=True, options=completed)
    weights = sum(p.numel() for n, p in network.backbone.named_parameters() if p.ndim > 1)
    assert _multiplications({"model": "mlp"}, (13,), **options) == weights


@pytest.mark.parametrize("model", ["cnn", "vgg", "resnet8", "resnet18"])
def test_rough_count_of_convolutions_agrees_with_the_network_itself(model: str) -> None:
    import torch

    from encollapse.study.plan import _multiplications
    from encollapse.train import models

    shape = (1, 16, 16)
    network = models.build(model, torch.zeros(2, *shape), feature_dim=64, code_dim=10, bias=True)
    flops = models.cost(network, shape).flops
    rough = _multiplications({"model": model}, shape)
    assert rough is not None
    assert 0.5 < 2 * rough / flops < 2


def test_labels_name_what_differs_and_are_distinct() -> None:
    made = study()
    labels = labels_of(made.trials)
    assert len(set(labels.values())) == len(made.trials)
    assert labels[made.trials[0].id] == "one-hot · λ_b = 0 · seed 0"
    assert labels[made.trials[-1].id] == "one-hot · decay plain · λ_b = 1 · seed 0"


def test_loading_and_planning_need_no_torch() -> None:
    code = (
        "import encollapse as ec\n"
        "ec.study.plan(ec.study.load('digits-transition'))\n"
        "from encollapse import cli\n"
        "assert cli.run(['study', '--dry-run', 'digits-transition', '--json']) == 0"
    )
    assert loaded(code, "torch", "lightning_fabric", "distributed") == []
