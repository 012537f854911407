"""The cross-entropy that tells many classes apart before the squared loss, against a loop over samples and classes."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.data import Split
from encollapse.train import Settings
from encollapse.train.distributed.process_group import ProcessGroup
from encollapse.train.loop import separation
from encollapse.train.loop.separation import Separation
from encollapse.train.loop.task import Task, Work

WIDTH = 19


def task_of(labels: list[int], encoding: ec.encodings.Encoding, **options: Any) -> Task:
    """A training of a small mlp on random inputs."""
    inputs = np.random.default_rng(0).standard_normal((len(labels), 11)).astype(np.float32)
    given: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-5, "epochs": 9, "feature_dim": 13} | options
    model_options = {"width": WIDTH, "depth": 2} | given.pop("model_options", {})
    settings = Settings(**given, model_options=model_options).completed(
        num_samples=len(labels), code_dim=encoding.code_dim, num_classes=encoding.num_classes
    )
    work = Work("", Split(inputs, np.array(labels)), None, encoding, None)
    return Task(work, settings, ProcessGroup.alone(settings))


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "MANY_CLASSES", 2)


LABELS = [0, 1, 2, 3, 4, 0, 1, 1, 2, 3, 4, 4, 4, 0, 2, 3, 3]


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_the_loss_is_the_cross_entropy_of_distances_to_the_codewords(weights: torch.Tensor | None) -> None:
    codewords = np.random.default_rng(1).standard_normal((5, 3)) + 2.0
    found = Separation.of(task_of(LABELS, ec.encodings.Encoding(codewords.T)))
    assert found is not None
    size = math.sqrt(np.mean([np.sum(codewords[k] ** 2) for k in LABELS]))
    scaled = codewords / size
    pairs = [np.sum((a - b) ** 2) for a in scaled for b in scaled]
    sharpness = 20.0 / np.mean(pairs)
    rows = [4, 6, 16]
    outputs = scaled[:3] + 0.3 * np.random.default_rng(2).standard_normal((3, 3)) * scaled.std(0)
    expected = 0.0
    for i, row in enumerate(rows):
        chances = [math.exp(-0.5 * sharpness * np.sum((outputs[i] - e) ** 2)) for e in scaled]
        value = -math.log(chances[LABELS[row]] / sum(chances)) / sharpness
        expected += value * (1.0 if weights is None else float(weights[i]))
    got = found.loss(torch.tensor(outputs, dtype=torch.float32), torch.tensor(rows), weights)
    assert float(got) == pytest.approx(expected, rel=1e-3)


@pytest.mark.usefixtures("few_are_many")
def test_afterwards_outputs_are_the_least_squares_of_the_codewords() -> None:
    encoding = ec.encodings.Encoding(np.random.default_rng(3).standard_normal((3, 5)))
    task = task_of(LABELS * 7, encoding)
    found = Separation.of(task)
    assert found is not None
    found.end_(task)
    entering = task.classifier.backbone.activations(task.inputs).double().numpy()
    columns = np.column_stack([entering, np.ones(len(entering))])
    targets = encoding.encode(np.array(LABELS * 7)) / task.units.codeword
    fitted = columns @ np.linalg.lstsq(columns, targets, rcond=None)[0]
    outputs = task.classifier(task.inputs).detach().double().numpy()
    residual = np.sum((targets - fitted) ** 2)
    assert residual < 0.9 * np.sum((targets - targets.mean(0)) ** 2)
    assert np.sum((targets - outputs) ** 2) == pytest.approx(residual, rel=0.05)


@pytest.mark.usefixtures("few_are_many")
def test_passes_are_of_two_kinds_each_with_its_own_cycle() -> None:
    found = Separation.of(task_of(LABELS, ec.encodings.one_hot(5), epochs=9))
    assert found is not None
    assert found.epochs == 3
    assert [found.done(p) for p in (0.0, 1.5, 3.0, 6.0, 9.0)] == [0.0, 0.5, 0.0, 0.5, 1.0]
    shares = [found.share(p) for p in (0.0, 2.9, 3.0, 6.0, 7.2, 9.0)]
    assert shares == [1.0, 1.0, 1.0, 1.0, pytest.approx(0.5), 0.0]
    eased = [found.easing(d) for d in np.linspace(0, 1, 11)]
    assert eased == sorted(eased)
    assert (eased[0], eased[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "cross_entropy"},
        {"epochs": 1},
        {"feature_dim": 3},
        {"decay": "plain", "feature_decay": None},
        {"model_options": {"tail": "rms-norm"}},
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.usefixtures("few_are_many")
def test_trainings_of_another_kind_begin_as_ever(options: dict[str, Any]) -> None:
    assert Separation.of(task_of(LABELS, ec.encodings.one_hot(5), **options)) is None


@pytest.mark.usefixtures("few_are_many")
def test_codewords_that_features_cannot_copy_or_that_are_all_one_begin_as_ever() -> None:
    assert Separation.of(task_of(LABELS, ec.encodings.simplex(5), features="relu")) is None
    assert Separation.of(task_of(LABELS, ec.encodings.one_hot(5), features="relu")) is not None
    assert Separation.of(task_of(LABELS, ec.encodings.Encoding(np.ones((3, 5))))) is None


def test_few_classes_begin_as_ever() -> None:
    assert Separation.of(task_of(LABELS, ec.encodings.one_hot(5))) is None
