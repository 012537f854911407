"""Tails between backbone and head: what stands there, and that evaluation is what was trained on the whole set."""

import math
from typing import Any

import pytest
import torch

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.train import fit, load
from encollapse.train.models import build, check_options
from encollapse.train.models.catalog import TAILS

SMALL = ec.data.load("digits", counts=13, seed=7)
SHORT: dict[str, Any] = {"weight_decay": 5e-3, "feature_dim": 23, "epochs": 2, "finish": 3}


@pytest.mark.parametrize("decay", ["ufm", "plain"])
@pytest.mark.parametrize("tail", TAILS)
def test_a_tail_is_trained_saved_and_evaluated_as_it_was_trained(tail: str, decay: str, tmp_path: Any) -> None:
    options = SHORT | {"decay": decay, "model_options": {"width": 17, "depth": 1, "tail": tail, "tail_depth": 3}}
    run = fit(SMALL, "one-hot", **options | ({"feature_decay": 1e-3} if decay == "ufm" else {}))
    inputs = torch.tensor(SMALL.train.inputs)
    with torch.no_grad():
        features = run.model.features(inputs).double()
    means = torch.stack([features[torch.tensor(SMALL.train.labels) == k].mean(0) for k in range(10)])
    torch.testing.assert_close(
        means @ means.T,
        torch.tensor(run.collapse.geometry.feature_gram),
        rtol=1e-3,
        atol=1e-4 * float(means.norm()) ** 2,
    )
    assert run.settings.features == ("relu" if tail == "batch-norm-relu" else "linear")
    assert (float(features.min()) >= 0) == (tail == "batch-norm-relu")
    kinds = {type(module).__name__ for module in run.model.backbone.modules()}
    expected = {
        "batch-norm": "BatchNorm",
        "batch-norm-relu": "BatchNorm",
        "layer-norm": "LayerNorm",
        "rms-norm": "RMSNorm",
    }
    assert expected.get(tail, "Linear") in kinds
    again = load(run.save(tmp_path))
    assert torch.equal(again.model(inputs), run.model(inputs))


def test_the_features_of_a_batch_normalization_have_the_moments_of_the_whole_set() -> None:
    run = fit(SMALL, "one-hot", **SHORT, decay="plain", model_options={"tail": "batch-norm"})
    with torch.no_grad():
        features = run.model.features(torch.tensor(SMALL.train.inputs)).double()
    tail: Any = run.model.backbone.tail
    entering = run.model.backbone.before_tail(torch.tensor(SMALL.train.inputs)).detach().double()
    spread = entering.var(0, correction=0)
    torch.testing.assert_close(features.mean(0), tail.bias.detach().double(), rtol=1e-3, atol=1e-5)
    wanted = tail.weight.detach().double().square() * spread / (spread + tail.eps)
    torch.testing.assert_close(features.var(0, correction=0), wanted, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("activation", "layers"), [("relu", 3), ("tanh", 1)])
def test_a_last_batch_normalization_undoes_the_scale_of_what_is_homogeneous_below_it(
    activation: str, layers: int
) -> None:
    inputs = torch.randn(31, 7, generator=torch.Generator().manual_seed(0))
    options = {"width": 17, "depth": 2, "activation": activation, "tail": "batch-norm"}
    backbone = build("mlp", inputs, feature_dim=5, code_dim=3, bias=True, options=options).backbone
    entering = backbone.before_tail(inputs).detach()
    features = backbone.whole_set(entering, len(inputs)).detach()
    free = backbone.scale_free()
    assert sum(parameter.ndim == 2 for parameter, _ in free) == layers
    with torch.no_grad():
        for parameter, power in free:
            parameter.mul_(0.25**power)
    smaller = backbone.before_tail(inputs).detach()
    torch.testing.assert_close(smaller, entering * 0.25**layers)
    torch.testing.assert_close(backbone.whole_set(smaller, len(inputs)).detach(), features, rtol=1e-4, atol=1e-5)
    assert not build("mlp", inputs, feature_dim=5, code_dim=3, bias=True).backbone.scale_free()


def test_a_linear_tail_counts_head_and_last_layer() -> None:
    inputs = torch.randn(11, 7, generator=torch.Generator().manual_seed(0))
    for depth, layers in ((2, 0), (3, 1), (5, 3)):
        options = {"depth": 0, "tail": "linear", "tail_depth": depth}
        made = build("mlp", inputs, feature_dim=5, code_dim=3, bias=True, options=options)
        assert sum(isinstance(module, torch.nn.Linear) for module in made.modules()) == 2 + layers
        size = float(made.features(inputs).detach().norm())
        made.rescale_(features=3.0, weight=1.0, bias=1.0)
        # Biases of the layers before the last scale along with what the last one makes of them.
        assert math.isclose(float(made.features(inputs).detach().norm()), 3 * size, rel_tol=1e-5)


def test_wrong_tails_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"model_options.tail: expected one of 'none', 'batch-norm'"):
        check_options("cnn", {"tail": "spline"})
    with pytest.raises(ArgumentError, match=r"model_options.tail_depth: expected at least 2"):
        check_options("resnet8", {"tail_depth": 1})
