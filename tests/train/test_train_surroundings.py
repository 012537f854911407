"""What stands around the training: models, progress on a terminal, missing packages."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.errors import ArgumentError, MissingDependencyError
from encollapse.train import Backbone, Classifier, fit, models, names
from encollapse.train.progress import Progress


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5)])
def test_models_map_images_to_features_and_outputs(name: str, shape: tuple[int, ...]) -> None:
    inputs = torch.rand(11, *shape)
    classifier = models.build(name, inputs, feature_dim=13, code_dim=3, bias=True)
    outputs, features = classifier(inputs), classifier.features(inputs)
    assert (outputs.shape, features.shape) == ((11, 3), (11, 13))
    torch.testing.assert_close(outputs, features @ classifier.head.weight.T + classifier.head.bias)


def test_inputs_are_standardised_so_that_their_units_do_not_matter() -> None:
    inputs = torch.rand(11, 7)
    torch.manual_seed(0)
    plain = models.build("mlp", inputs, feature_dim=5, code_dim=3, bias=True)
    torch.manual_seed(0)
    scaled = models.build("mlp", 255 * inputs + 40, feature_dim=5, code_dim=3, bias=True)
    torch.testing.assert_close(plain(inputs), scaled(255 * inputs + 40), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", ["linear", "relu"])
def test_rescaling_multiplies_features_and_outputs(features: str) -> None:
    backbone = Backbone(torch.nn.Flatten(), 7, 5, features=features)
    classifier = Classifier(backbone, 5, 3)
    inputs = torch.rand(11, 7)
    with torch.no_grad():
        before, outputs = classifier.features(inputs), classifier(inputs) - classifier.head.bias
        bias = classifier.head.bias.clone()
        classifier.rescale_(features=2.0, weight=0.25, bias=3.0)
        torch.testing.assert_close(classifier.features(inputs), 2 * before)
        torch.testing.assert_close(classifier(inputs), 0.5 * outputs + 3 * bias)


def test_backbones_refuse_unknown_features() -> None:
    with pytest.raises(ArgumentError, match="features"):
        Backbone(torch.nn.Flatten(), 7, 5, features="tanh")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "enabled", "shown"),
    [
        (Terminal(), 0.0, True, True),
        (Terminal(), 60.0, True, False),
        (Terminal(), 0.0, False, False),
        (io.StringIO(), 0.0, True, False),
    ],
)
def test_progress_shows_only_long_work_on_a_terminal(
    stream: io.StringIO, patience: float, enabled: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("encollapse.train.progress.PATIENCE_SECONDS", patience)
    with Progress("training digits", 10, enabled=enabled) as bar:
        bar.update(3, "so far")
        bar.update(9, "nearly")
    assert ("training digits" in stream.getvalue()) is shown


def test_without_torch_the_package_says_what_to_install() -> None:
    probe = (
        "import sys; sys.modules['torch'] = None\n"
        "import encollapse as ec\n"
        "from encollapse.errors import MissingDependencyError\n"
        "import encollapse.train.settings\n"
        "try:\n    ec.train.fit\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "pip install 'encollapse[study]'" in done.stdout


def test_without_fabric_fit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    data = ec.data.Dataset("tiny", ec.data.Split(np.eye(4), np.array([0, 1, 0, 1])))
    with pytest.raises(MissingDependencyError, match=r"pip install 'encollapse\[study\]'"):
        fit(data, "one-hot", weight_decay=0.1, feature_decay=0.1)
