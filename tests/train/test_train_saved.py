"""A run that was saved comes back, and no network is lost for want of a prediction."""

import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.data import Dataset, Split
from encollapse.errors import ArgumentError, EncollapseWarning, FileFormatError
from encollapse.train import Run, fit, load
from encollapse.train.options import DECAYS
from encollapse.train.theory import laws


def clusters(counts: tuple[int, ...] = (7, 5, 11, 3, 5)) -> Dataset:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(len(counts)), counts)
    inputs = rng.standard_normal((len(labels), 7)) + 3 * np.eye(len(counts), 7)[labels]
    return Dataset("clusters", Split(inputs, labels))


DATA = clusters()
SHORT: dict[str, Any] = {"weight_decay": 1e-2, "epochs": 1, "finish": 0, "model_options": {"width": 13, "depth": 1}}
UFM: dict[str, Any] = SHORT | {"feature_decay": 1e-3}

SAVED: list[dict[str, Any]] = [
    UFM | {"bias_decay": 0.3, "keep_frames": True},
    UFM | {"bias_decay": math.inf, "loss": "cross_entropy"},
    SHORT | {"decay": "plain", "features": "relu"},
    SHORT | {"decay": "plain", "bias_decay": 0.3},
    SHORT | {"decay": "plain", "model_options": {"width": 13, "depth": 1, "tail": "batch-norm"}},
    SHORT | {"decay": "plain", "loss": "cross_entropy", "bias_decay": 0.3},
    SHORT | {"decay": "plain", "model_options": {"width": 13, "depth": 1, "tail": "linear", "tail_depth": 3}},
    UFM | {"classifier": np.random.default_rng(3).standard_normal((5, 17)), "feature_dim": 17},
    UFM | {"class_weights": "balanced", "model": "mlp"},
    UFM | {"feature_dim": 3},
]


@pytest.mark.parametrize("options", SAVED)
def test_a_saved_run_comes_back(options: dict[str, Any], tmp_path: Path) -> None:
    run = fit(DATA, "one-hot", **options)
    again = load(run.save(tmp_path / "run"))
    assert json.dumps(again.to_dict()) == json.dumps(run.to_dict())
    inputs = torch.tensor(DATA.train.inputs)
    assert torch.equal(again.model(inputs), run.model(inputs))
    np.testing.assert_array_equal(again.collapse.geometry.feature_gram, run.collapse.geometry.feature_gram)
    assert (again.prediction is None) == (run.prediction is None)
    assert type(again.theory.problem) is type(run.theory.problem)
    assert again.guarantee == run.guarantee
    if run.prediction is not None and again.prediction is not None:
        assert again.prediction.certificate.kind == run.prediction.certificate.kind
        assert again.prediction.loss == pytest.approx(run.prediction.loss, rel=1e-12)
    if run.predicted is not None and again.predicted is not None:
        np.testing.assert_allclose(again.predicted.feature_gram, run.predicted.feature_gram, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(again.frames, run.frames, strict=True):
        np.testing.assert_array_equal(ours.class_means, theirs.class_means)
        np.testing.assert_array_equal(ours.samples, theirs.samples)


def test_a_saved_run_of_a_normalization_of_each_sample_has_its_prediction_again(tmp_path: Path) -> None:
    model_options = {"width": 13, "depth": 1, "tail": "rms-norm"}
    options = SHORT | {"decay": "plain", "bias_decay": math.inf, "feature_dim": 11, "model_options": model_options}
    run = fit(clusters((7,) * 5), "one-hot", **options)
    again = load(run.save(tmp_path))
    assert run.prediction is not None, run.prediction_note
    assert again.prediction is not None
    assert again.theory.problem.settings == run.theory.problem.settings
    assert again.prediction.loss == pytest.approx(run.prediction.loss, rel=1e-12)
    assert again.prediction.certificate.kind == "theorem"


def test_a_module_that_was_given_itself_is_given_again(tmp_path: Path) -> None:
    run = fit(DATA, "one-hot", **UFM | {"model": torch.nn.Linear(7, 11), "model_options": {}})
    folder = run.save(tmp_path)
    with pytest.raises(ArgumentError, match="model: expected one of"):
        load(folder)
    again = load(folder, model=torch.nn.Linear(7, 11))
    inputs = torch.tensor(DATA.train.inputs)
    assert torch.equal(again.model(inputs), run.model(inputs))


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path)
    fit(DATA, "one-hot", **UFM).save(tmp_path)
    (tmp_path / "geometry.safetensors").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="no run that can be read"):
        load(tmp_path)


def combinations() -> list[dict[str, Any]]:
    losses, kinds = ("mse", "cross_entropy"), ("linear", "relu")
    found = []
    for decay, loss, features, bias_decay in itertools.product(DECAYS, losses, kinds, (0.0, math.inf)):
        options = SHORT | {"decay": decay, "loss": loss, "features": features, "bias_decay": bias_decay}
        options |= {"feature_decay": 1e-3} if decay == "ufm" else {}
        found += [options, options | {"feature_dim": 3}, options | {"classifier": "fixed"}]
    return found


@pytest.mark.parametrize("options", combinations(), ids=str)
def test_every_training_that_is_not_refused_ends_with_a_measured_network(options: dict[str, Any]) -> None:
    def at_pass(_done: int, _total: int, _note: str) -> None:
        started.append(True)

    from encollapse.train.loop.progress import listening

    started: list[bool] = []
    with listening(at_pass), warnings.catch_warnings():
        warnings.simplefilter("error", EncollapseWarning)
        try:
            run = fit(DATA, "one-hot", **options)
        except ArgumentError:
            assert not started
            return
    assert run.collapse.accuracy is not None
    assert run.prediction_kind in ("minimum", "given activations", "effective", "fixed_classifier", "none")
    if run.prediction_kind == "none":
        assert run.prediction_note == run.missing["prediction"]
    assert (run.comparison is None) == ("comparison" in run.missing)
    json.dumps(run.to_dict(), allow_nan=False)


def test_where_the_theory_has_no_method_the_reason_stands_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ec.errors.UnsupportedError("features: not solved in this release")

    def break_down(*_: Any, **__: Any) -> Any:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(laws, "Problem", refuse)
    run = fit(DATA, "one-hot", **UFM)
    assert (run.prediction_kind, run.prediction_note) == ("none", "features: not solved in this release")
    monkeypatch.setattr(laws, "Problem", break_down)
    with pytest.warns(EncollapseWarning, match="LinAlgError: SVD did not converge; the network is measured"):
        broken: Run = fit(DATA, "one-hot", **UFM)
    assert broken.prediction_kind == "none"
    assert broken.loss == run.loss
