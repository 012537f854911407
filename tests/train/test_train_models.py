"""Networks: shapes, options, counted parameters and arithmetic, foreign modules, fixed heads."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning, MissingDependencyError
from encollapse.train import Backbone, Classifier, fit, models, names


def built(name: str, shape: tuple[int, ...] = (3, 7, 5), **options: Any) -> Classifier:
    torch.manual_seed(0)
    return models.build(name, torch.rand(11, *shape), feature_dim=13, code_dim=3, bias=True, options=options)


@pytest.mark.parametrize("name", [name for name in names() if name != "frozen"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5)])
def test_models_map_images_to_features_and_outputs(name: str, shape: tuple[int, ...]) -> None:
    inputs = torch.rand(11, *shape)
    classifier = models.build(name, inputs, feature_dim=13, code_dim=3, bias=True)
    outputs, features = classifier(inputs), classifier.features(inputs)
    assert (outputs.shape, features.shape) == ((11, 3), (11, 13))
    torch.testing.assert_close(outputs, features @ classifier.head.weight.T + classifier.head.bias)


def test_inputs_are_standardized_so_that_their_units_do_not_matter() -> None:
    inputs = torch.rand(11, 7)
    torch.manual_seed(0)
    plain = models.build("mlp", inputs, feature_dim=5, code_dim=3, bias=True)
    torch.manual_seed(0)
    scaled = models.build("mlp", 255 * inputs + 40, feature_dim=5, code_dim=3, bias=True)
    torch.testing.assert_close(plain(inputs), scaled(255 * inputs + 40), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("features", ["linear", "relu"])
@pytest.mark.parametrize("last_layer", [True, False])
def test_rescaling_multiplies_features_and_outputs(features: str, last_layer: bool) -> None:
    backbone = Backbone(torch.nn.Flatten(), 7, 7, features=features, last_layer=last_layer)
    classifier = Classifier(backbone, 7, 3)
    inputs = torch.rand(11, 7) - 0.5
    with torch.no_grad():
        before, outputs = classifier.features(inputs), classifier(inputs) - classifier.head.bias
        bias = classifier.head.bias.clone()
        classifier.rescale_(features=2.0, weight=0.25, bias=3.0)
        torch.testing.assert_close(classifier.features(inputs), 2 * before)
        torch.testing.assert_close(classifier(inputs), 0.5 * outputs + 3 * bias)


def test_backbones_refuse_unknown_features() -> None:
    with pytest.raises(ArgumentError, match="features"):
        Backbone(torch.nn.Flatten(), 7, 5, features="tanh")


def layer_sizes(classifier: Classifier) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in classifier.backbone.trunk.parameters() if p.ndim > 1]


def test_width_and_depth_are_those_of_the_hidden_layers() -> None:
    assert layer_sizes(built("mlp", width=17, depth=2)) == [(17, 105), (17, 17)]
    assert layer_sizes(built("mlp", depth=0)) == []
    assert layer_sizes(built("cnn", channels=[5, 7, 11], hidden=19)) == [
        (5, 3, 3, 3),
        (7, 5, 3, 3),
        (11, 7, 3, 3),
        (19, 11),
    ]


def test_a_vgg_has_two_convolutions_a_stage_and_halves_the_image_after_each() -> None:
    made: Any = built("vgg", width=5, stages=2)
    assert layer_sizes(made) == [(5, 3, 3, 3), (5, 5, 3, 3), (10, 5, 3, 3), (10, 10, 3, 3)]
    assert made.backbone.last.weight.shape == (13, 10 * 2 * 2)  # of 7 × 5 pixels 4 × 3 are left, and then 2 × 2


@pytest.mark.parametrize(("name", "convolutions"), [("resnet8", 7), ("resnet18", 17)])
def test_residual_networks_have_the_depth_in_their_name(name: str, convolutions: int) -> None:
    """The name counts 3 × 3 convolutions and one dense layer; widths double from stage to stage."""
    sizes = [s for s in layer_sizes(built(name, width=4)) if s[2:] == (3, 3)]
    assert len(sizes) == convolutions == int(name.removeprefix("resnet")) - 1
    assert sizes[-1][0] == 4 * 2 ** (2 if name == "resnet8" else 3)


@pytest.mark.parametrize("normalization", ["group", "batch", "none"])
def test_residual_blocks_start_as_what_they_carry(normalization: str) -> None:
    from encollapse.train.models.networks import ResidualBlock

    block = ResidualBlock(5, 5, 1, normalization)
    inputs = torch.rand(3, 5, 7, 11)
    torch.testing.assert_close(block(inputs), inputs)


def test_groups_divide_the_channels_and_hold_eight_or_more() -> None:
    from encollapse.train.models.networks import groups

    assert [groups(c) for c in (1, 7, 8, 16, 17, 20, 30, 64, 512)] == [1, 1, 1, 2, 1, 2, 3, 8, 64]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"normalization": "batch"}),
        ("cnn", {"normalization": "batch"}),
        ("vgg", {"width": 5}),
        ("resnet8", {"normalization": "batch", "width": 5}),
    ],
)
def test_batch_statistics_stand_still_in_evaluation_and_one_sample_is_a_batch(
    name: str, options: dict[str, Any]
) -> None:
    classifier = built(name, **options)
    inputs = torch.rand(11, 3, 7, 5)
    classifier(inputs)
    alone = classifier(inputs[:1])
    classifier.eval()
    state = {key: value.clone() for key, value in classifier.state_dict().items()}
    torch.testing.assert_close(classifier(inputs)[:1], classifier(inputs[:1]))
    torch.testing.assert_close(classifier(inputs[:1]), alone)
    assert all(torch.equal(state[key], value) for key, value in classifier.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options"),
    [("mlp", {"normalization": "layer"}), ("cnn", {"normalization": "group"}), ("resnet8", {"width": 16})],
)
def test_other_normalizations_see_one_sample_at_a_time(name: str, options: dict[str, Any]) -> None:
    classifier = built(name, **options)
    inputs = torch.rand(11, 3, 7, 5)
    torch.testing.assert_close(classifier(inputs)[3:5], classifier(inputs[3:5]))


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("gelu", nn.GELU), ("tanh", nn.Tanh)])
def test_activations_are_those_named(activation: str, kind: type[nn.Module]) -> None:
    for name in ("mlp", "cnn"):
        assert any(isinstance(m, kind) for m in built(name, activation=activation).modules())


def test_cost_counts_parameters_and_arithmetic() -> None:
    found = models.cost(built("mlp", (7,), width=5, depth=1), (7,))
    assert found.parameters == (7 * 5 + 5) + (5 * 13 + 13) + (13 * 3 + 3)
    assert found.flops == 2 * (7 * 5 + 5 * 13 + 13 * 3)
    assert found.seconds_per_epoch(100, 1e3) == pytest.approx(3 * found.flops * 100 / 1e3)
    images = models.cost(built("cnn", (3, 8, 8), channels=[5], hidden=7), (3, 8, 8))
    assert images.flops == 2 * (4 * 4 * 5 * 3 * 9 + 80 * 7 + 7 * 13 + 13 * 3)


def test_a_fixed_weight_is_not_trained_nor_changed_at_the_start() -> None:
    weight = torch.arange(39.0).reshape(3, 13)
    inputs = torch.rand(11, 7)
    free = models.build("mlp", inputs, feature_dim=13, code_dim=3, bias=False)
    fixed = models.build("mlp", inputs, feature_dim=13, code_dim=3, bias=False, fixed_weight=weight)
    assert (free.has_fixed_weight, fixed.has_fixed_weight) == (False, True)
    for classifier in (free, fixed):
        classifier.initialize_(inputs, 0.3)
        size = classifier.features(inputs).detach().square().sum(1).mean().sqrt()
        assert float(size) == pytest.approx(0.3)
    assert torch.equal(fixed.head.weight, weight)
    assert float(free.head.weight.detach().norm()) == pytest.approx(0.3)
    fixed(inputs).sum().backward()
    assert fixed.head.weight.grad is None
    assert models.cost(free, (7,)).parameters - models.cost(fixed, (7,)).parameters == 39


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet", {}, "model: expected one of 'mlp', 'cnn'"),
        ("resnet8", {"widht": 3}, "model_options: 'resnet8' has no option 'widht'; it has width"),
        ("mlp", {"width": 0}, r"model_options\.width"),
        ("mlp", {"normalization": "group"}, r"model_options\.normalization"),
        ("cnn", {"channels": [3, 0]}, r"model_options\.channels"),
        ("resnet8", {"normalization": "layer"}, r"model_options\.normalization"),
        ("no.such.module:Net", {}, "model: there is no module 'no.such.module'"),
        ("math:Net", {}, "model: 'math' has no 'Net'"),
        ("math:pi", {}, "model: 'math:pi' is 3.14"),
        ("math:floor", {"a": 1}, "model: 'math:floor' cannot be called with a "),
        ("builtins:dict", {}, "model: 'builtins:dict' made a dict; expected a torch.nn.Module"),
        ("torch.nn:Conv2d", {"in_channels": 2, "out_channels": 2, "kernel_size": 1}, "model: Conv2d cannot"),
        ("torch.nn:Identity", {}, r"model: Identity gave \(4, 3, 7, 5\) for 4 inputs"),
        ("torch.nn:Flatten", {"features_method": "embed"}, r"model_options\.features_method: Flatten has no"),
        ("torch.nn:Flatten", {"last_layer": False}, "feature_dim: .* have 105 entries, got 13"),
    ],
)
def test_models_that_cannot_be_made_are_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        built(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [("mlp", {"width": 2.5}, "width"), ("cnn", {"channels": 3}, "channels"), ("cnn", {"channels": []}, "channels")],
)
def test_options_of_the_wrong_type_are_named(name: str, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentTypeError, match=rf"model_options\.{word}"):
        built(name, **options)


@pytest.mark.parametrize("name", ["cnn", "vgg", "resnet8", "resnet18"])
def test_convolutions_refuse_what_is_no_image(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"model: '{name}' needs inputs of shape"):
        built(name, (6,))


@pytest.mark.parametrize(
    ("samples", "lengths"), [(60_000, (30, 10)), (2500, (30, 20)), (800, (63, 63)), (190, (100, 264)), (7, (100, 300))]
)
def test_passes_over_small_sets_are_more(samples: int, lengths: tuple[int, int]) -> None:
    for name in ("cnn", "vgg", "resnet8", "resnet18", "package.module:Class"):
        assert models.lengths(name, samples) == lengths
    assert models.lengths("mlp", samples) == models.lengths("mlp", 60_000)


def test_each_of_many_classes_gets_some_steps() -> None:
    for samples, batch in [(2525, 64), (20_200, 64), (20_200, 512), (1010, 2000)]:
        epochs, finish = models.lengths("mlp", samples, rank=505, batch_size=batch)
        steps = math.ceil(samples / batch)
        assert epochs * steps >= 16 * 505
        assert epochs == 64 or (epochs - 1) * steps < 16 * 505
        assert epochs >= 64
        assert finish == 700
    assert models.lengths("mlp", 2525, rank=256) == (20, 700)


def test_convolutions_reach_the_minimum_on_a_small_imbalanced_set_by_default() -> None:
    counts = [37, 31, 23, 19, 13, 11, 7, 5, 5, 5]
    dataset = ec.data.load("digits", counts=counts, seed=11)
    decay = 0.2**2 / (10 * sum(counts) * 5e-3)
    decays: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": decay, "bias_decay": 0.4}
    run = fit(dataset, "simplex", model="cnn", seed=12, **decays)
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    assert run.comparison.gram_error < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options", "lengths"),
    [
        ("mlp", {"normalization": "batch"}, (20, 60)),
        ("mlp", {"normalization": "layer", "activation": "gelu"}, (20, 60)),
        ("cnn", {"normalization": "group"}, (30, 10)),
        ("resnet8", {"width": 8}, (30, 20)),
        ("resnet8", {"width": 8, "normalization": "batch"}, (30, 20)),
    ],
)
def test_each_kind_of_network_reaches_the_minimum(
    model: str, options: dict[str, Any], lengths: tuple[int, int]
) -> None:
    dataset = ec.data.load("digits", counts=20, seed=7)
    run = fit(
        dataset,
        "one-hot",
        model=model,
        model_options=options,
        weight_decay=5e-3,
        feature_decay=0.3**2 / (10 * 200 * 5e-3),
        bias_decay=1.0,
        batch_size=20,
        epochs=lengths[0],
        finish=lengths[1],
    )
    assert run.comparison is not None
    assert run.comparison.gram_error is not None
    assert run.comparison.gram_error < 0.03
    # The network that is returned is the one that was measured: nothing depends on who shares a batch.
    inputs, labels = torch.tensor(dataset.train.inputs), dataset.train.labels
    with torch.no_grad():
        features = torch.cat([run.model.features(inputs[i : i + 7]) for i in range(0, 200, 7)]).double().numpy()
    means = np.stack([features[labels == k].mean(0) for k in range(10)])
    np.testing.assert_allclose(run.collapse.geometry.feature_gram, means @ means.T, rtol=1e-3, atol=1e-5)


FOREIGN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.body = nn.Linear(105, width)
        self.classify = nn.Linear(width, 2)

    def features(self, inputs):
        return self.body(inputs.flatten(1)).tanh()

    def squares(self, inputs):
        return self.features(inputs) ** 2

    def forward(self, inputs):
        return self.classify(self.features(inputs))


def plain(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(105, width))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "foreign_networks.py").write_text(FOREIGN)
    (tmp_path / "broken_network.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def trunk_output(classifier: Classifier, inputs: Tensor) -> Tensor:
    backbone = classifier.backbone
    output: Tensor = backbone.trunk((inputs - backbone.shift) * backbone.gain)
    return output


@pytest.mark.parametrize("where", ["foreign_networks", "foreign_networks.py"])
def test_foreign_modules_give_their_features_or_their_output(where: str, folder: Path) -> None:
    inputs = torch.rand(11, 3, 7, 5)
    network = built(f"{where}:Net", width=7)
    assert network(inputs).shape == (11, 3)
    seen = trunk_output(network, inputs)
    assert seen.shape == (11, 7)
    squares = trunk_output(built(f"{where}:Net", width=7, features_method="squares"), inputs)
    torch.testing.assert_close(squares, seen**2)
    assert trunk_output(built(f"{where}:plain", width=17), inputs).shape == (11, 17)
    own = built(f"{where}:Net", width=13, last_layer=False)
    torch.testing.assert_close(own.features(inputs), trunk_output(own, inputs))
    assert own.backbone.last is None


def test_a_module_itself_is_copied() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(105, 7))
    inputs = torch.rand(11, 3, 7, 5)
    network = models.build(module, inputs, feature_dim=7, code_dim=3, bias=True, options={"last_layer": False})
    before = module(inputs)
    with torch.no_grad():
        network.backbone.trunk.get_submodule("module.1").get_parameter("weight").zero_()
    assert torch.equal(module(inputs), before)
    assert models.lengths(module, 70) == models.lengths("package.module:Class", 70)
    with pytest.raises(ArgumentError, match="Sequential has no option 'width'"):
        models.check_options(module, {"width": 3})
    with pytest.raises(ArgumentTypeError, match="last_layer"):
        models.check_options(module, {"last_layer": "no"})
    with pytest.raises(ArgumentTypeError, match="features_method"):
        models.check_options(module, {"features_method": 3})


def test_what_a_foreign_module_lacks_is_named(folder: Path) -> None:
    with pytest.raises(MissingDependencyError, match="needs a_package_that_is_not_there"):
        built("broken_network:Net")
    with pytest.raises(ArgumentError, match=r"model: 'absent\.py:Net' names the file absent\.py, which is not there"):
        built("absent.py:Net")


def test_names_and_options_are_known_without_torch() -> None:
    probe = (
        "import sys; sys.modules['encollapse.train'] = type(sys)('encollapse.train')\n"
        "import encollapse; sys.modules['encollapse.train'].__path__ = [encollapse.__path__[0] + '/train']\n"
        "from encollapse.train import models\n"
        "print(models.names(), models.lengths('mlp', 70), models.check_options('mlp', {'width': 3})['width'])\n"
        "print(models.recognized('resnet8'), models.recognized('a.b:C'), models.recognized('resnet'))\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "('mlp', 'cnn', 'vgg', 'resnet8', 'resnet18', 'frozen') (20, 700) 3",
        "True True False",
        "False",
    ]


def test_a_new_head_on_the_outputs_of_a_network_is_said() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
    with pytest.warns(EncollapseWarning, match="were put on the 3 outputs of Sequential, which may have a head"):
        models.build(network, torch.randn(5, 2, 3), feature_dim=7, code_dim=3, bias=True)
    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 10))
    decays: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}
    with pytest.warns(EncollapseWarning, match="were put on") as said:
        run = ec.train.fit("gaussian-mixture", "one-hot", model=own, epochs=1, finish=1, **decays)
    assert {warning.filename for warning in said} == {__file__}  # the reader's own line, and none of the package
    assert "network          Sequential on gaussian-mixture" in str(run)
    assert "model='Sequential'" in repr(run)
    assert "Linear(" not in f"{run} {run!r} {run._repr_html_()}"
    models.build(network, torch.randn(5, 2, 3), feature_dim=7, code_dim=5, bias=True)  # which can be no head
