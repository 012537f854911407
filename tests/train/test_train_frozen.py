"""Frozen extractors: features computed once, by a module or from a file, row by row the right ones."""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.train import fit, models
from encollapse.train.models import frozen

EXTRACTOR = """
import torch
from torch import nn

CALLS = []


class Random(nn.Module):
    def __init__(self, width=17):
        super().__init__()
        self.layer = nn.Linear(64, width)
        self.noise = nn.Dropout(0.5)

    def features(self, inputs):
        CALLS.append(len(inputs))
        return self.noise(self.layer(inputs.flatten(1)).relu())
"""
DATA = ec.data.load("digits", counts=23, holdout=0.1, seed=3)


@pytest.fixture
def extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_extractor.py").write_text(EXTRACTOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frozen, "_memory", OrderedDict())
    return "my_extractor.py:Random"


def standard(train: Any, test: Any) -> tuple[Any, Any]:
    spread = train.std(0)
    gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    return (train - train.mean(0)) * gain, (test - train.mean(0)) * gain


def test_features_of_a_module_take_the_place_of_the_inputs(extractor: str, tmp_path: Path) -> None:
    layer = torch.nn.Linear(64, 17)
    save_file({"layer.weight": layer.weight, "layer.bias": layer.bias}, tmp_path / "weights.safetensors")
    options = {"extractor": extractor, "weights": str(tmp_path / "weights.safetensors")}
    found = models.prepared("frozen", options, DATA)
    assert DATA.test is not None
    assert found.test is not None
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    raw = [np.maximum(x.reshape(len(x), 64) @ weight.T + bias, 0) for x in (DATA.train.inputs, DATA.test.inputs)]
    train, test = standard(*raw)
    np.testing.assert_allclose(found.train.inputs, train, atol=1e-3)
    np.testing.assert_allclose(found.test.inputs, test, atol=1e-3)
    assert np.array_equal(found.train.labels, DATA.train.labels)
    assert np.array_equal(found.train.rows, DATA.train.rows)
    assert extractor in found.provenance["inputs"]


def test_features_are_computed_once_and_kept_on_disk_if_asked(
    extractor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    compute = frozen._Extractor._compute

    def counted(self: Any, inputs: Any) -> Any:
        computed.append(len(inputs))
        return compute(self, inputs)

    monkeypatch.setattr(frozen._Extractor, "_compute", counted)
    options = {"extractor": extractor, "cache": str(tmp_path / "cache")}
    sizes = [len(DATA.train), 0 if DATA.test is None else len(DATA.test)]
    first = models.prepared("frozen", options, DATA)
    models.prepared("frozen", options, DATA)
    assert computed == sizes
    frozen._memory.clear()
    again = models.prepared("frozen", options, DATA)
    assert computed == sizes
    assert np.array_equal(first.train.inputs, again.train.inputs)
    # Other arguments, and other code, are other features.
    models.prepared("frozen", {**options, "arguments": {"width": 5}}, DATA)
    assert computed == sizes * 2
    (tmp_path / "my_extractor.py").write_text(EXTRACTOR.replace("relu", "tanh"))
    models.prepared("frozen", options, DATA)
    assert computed == sizes * 3


def test_features_from_a_file_go_by_the_rows_of_the_source(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).standard_normal((1797, 7))
    np.save(tmp_path / "features.npy", whole)
    found = models.prepared("frozen", {"extractor": str(tmp_path / "features.npy")}, DATA)
    assert DATA.test is not None
    assert found.test is not None
    train, test = standard(whole[DATA.train.rows], whole[DATA.test.rows])
    np.testing.assert_allclose(found.train.inputs, train, atol=1e-4)
    np.testing.assert_allclose(found.test.inputs, test, atol=1e-4)


def test_a_test_set_of_its_own_needs_features_of_its_own(tmp_path: Path) -> None:
    data = ec.data.gaussian_mixture(3, 2, 5, test_samples_per_class=4)
    features = np.random.default_rng(1).standard_normal((15, 7))
    np.save(tmp_path / "features.npy", features)
    with pytest.raises(ArgumentError, match="has no array 'test_features'"):
        models.prepared("frozen", {"extractor": str(tmp_path / "features.npy")}, data)
    np.savez(tmp_path / "both.npz", features=features, test_features=features[:12] + 1)
    found = models.prepared("frozen", {"extractor": str(tmp_path / "both.npz")}, data)
    assert found.test is not None
    np.testing.assert_allclose(found.test.inputs, standard(features, features[:12] + 1)[1], atol=1e-5)


def test_a_head_on_frozen_features_is_trained(extractor: str) -> None:
    run = fit(
        DATA,
        "one-hot",
        model="frozen",
        model_options={"extractor": extractor, "arguments": {"width": 101}, "width": 64, "depth": 2},
        weight_decay=5e-3,
        feature_decay=0.09 / (10 * len(DATA.train) * 5e-3),
        bias_decay=math.inf,
        epochs=20,
        finish=60,
        progress=False,
    )
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    assert run.comparison.gram_error < 0.02
    assert run.test_accuracy is not None
    assert run.test_accuracy > 0.8
    assert not any("extractor" in name for name in run.model.state_dict())


def test_other_models_train_on_the_data_themselves() -> None:
    assert models.prepared("mlp", {}, DATA) is DATA


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "model_options: 'frozen' needs 'extractor'"),
        ({"extractor": "my_extractor.py:Random", "arguments": {"depth": 3}}, "model_options.extractor: .*depth"),
        ({"extractor": "torch.nn:Identity"}, "Identity gave"),
        ({"extractor": "few.npy"}, "features of 5 samples, and the data go up to sample"),
    ],
)
def test_extractors_that_cannot_be_used_are_refused(extractor: str, options: dict[str, Any], words: str) -> None:
    np.save("few.npy", np.ones((5, 3)))
    with pytest.raises(ArgumentError, match=words):
        models.prepared("frozen", options, DATA)


def test_files_that_cannot_be_used_are_refused(extractor: str) -> None:
    for options in ({"extractor": "absent.npy"}, {"extractor": extractor, "weights": "absent.safetensors"}):
        with pytest.raises(FileNotFoundError, match="absent"):
            models.prepared("frozen", options, DATA)
    save_file({"other": torch.ones(3)}, "other.safetensors")
    with pytest.raises(FileFormatError, match="not the weights of Random"):
        models.prepared("frozen", {"extractor": extractor, "weights": "other.safetensors"}, DATA)
    with pytest.raises(ArgumentTypeError, match=r"model_options\.arguments"):
        models.prepared("frozen", {"extractor": extractor, "arguments": 3}, DATA)
