"""The law of a batch normalization before the head: its price, its premises, and where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from reference.architectures import CLASSES, flattened, mlp
from reference.diagnosed import DECAY, diagnosed, normed, premise, trained


@pytest.mark.parametrize("make", [lambda: mlp(nn.BatchNorm1d(13)), flattened])
def test_the_price_of_the_features_is_the_decay_of_gains_and_offsets(make: Any) -> None:
    """With statistics of the whole set, every gain the spread over samples and positions that it serves."""
    torch.manual_seed(0)
    network = make()
    loader, optimizer = trained(network)
    (norm,) = [module for module in network if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    norm.momentum, norm.eps = 1.0, 1e-12
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    with torch.no_grad():
        norm.weight.copy_(1 + torch.rand(len(norm.weight)))
        norm.bias.copy_(torch.randn(len(norm.bias)))
        network.train()(x)
    d = ec.diagnose(network, [(x, y)], optimizer, progress=False)
    features = network.eval()[:-1](x)
    decay = 0.5 * DECAY * float((norm.weight.square().sum() + norm.bias.square().sum()).detach())
    # Running variances are those of a sample: n/(n - 1) times those of the set.
    assert 0.5 * d.problem.feature_decay * float(features.detach().square().sum()) == pytest.approx(decay, rel=0.02)


def test_different_decays_of_gains_and_offsets_have_no_law_behind_a_relu() -> None:
    network = mlp(nn.BatchNorm1d(13), nn.ReLU())
    loader, _ = trained(network)
    decays = dict.fromkeys((n for n, _ in network.named_parameters()), DECAY)
    assert ec.diagnose(network, loader, weight_decay=decays, progress=False).law == "batch_norm"
    d = ec.diagnose(network, loader, weight_decay=decays | {"4.bias": 0.0}, progress=False)
    assert d.law == "none"
    assert "give them the same decay" in d.verdict


def test_a_normalization_that_stands_still_in_training_has_no_law() -> None:
    network = normed()
    loader, optimizer = trained(network)
    network.train()
    network[4].eval()
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == "none"
    assert "evaluation mode while the network trains" in d.reason
    assert not network[4].training


@pytest.mark.parametrize(
    ("sizes", "status"),
    [([60], "holds"), ([20, 20, 20], "assumed"), ([19, 19, 22], "assumed"), ([29, 29, 2], "violated")],
)
def test_a_small_batch_that_is_normalized_by_itself_is_named(sizes: list[int], status: str) -> None:
    network = normed()
    loader, optimizer = trained(network)
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    ends = np.cumsum(sizes).tolist()
    batches = [(x[end - size : end], y[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    d = ec.diagnose(network, batches, optimizer, progress=False)
    found = premise(d, "mean and the variance of the training set")
    assert found.status == status
    assert ("drop_last=True" in d.verdict) is (status == "violated")
    assert "ReLU" not in found.detail


def test_what_batches_do_behind_a_relu_is_said() -> None:
    d = diagnosed(mlp(nn.BatchNorm1d(13), nn.ReLU()))
    assert "unless all classes are alike in every batch" in premise(d, "mean and the variance").detail


def test_what_epsilon_takes_from_the_features_is_said() -> None:
    """Beside ε the gains of the same features cost 1 + ε/v times as much, which the exact minimum knows too."""
    network = normed()
    loader, optimizer = trained(network)
    norm: Any = network[4]
    statistics = []
    for share in (1e-9, 9.0):
        norm.eps = share * float(norm.running_var.median())
        d = ec.diagnose(network, loader, optimizer, progress=False)
        statistics.append(premise(d, "mean 0 and variance 1").detail)
    assert statistics[0] == statistics[1]  # they are of the data, whatever ε makes of them
    norm.eps = 0.25 * float(norm.running_var.median())
    d = ec.diagnose(network, loader, optimizer, progress=False)
    found = premise(d, "far below the variances")
    assert found.status == "violated"
    decays: dict[str, Any] = {"weight_decay": 1e-8, "offset_decay": 1e-8, "bias_decay": 1e-8}
    short, whole = (
        ec.ufm.solve(ec.ufm.batch_norm_problem("one-hot", [12] * CLASSES, gain_decay=1e-8 * f, **decays))
        for f in (1.25, 1.0)
    )
    ratio = np.linalg.norm(short.geometry.feature_gram) / np.linalg.norm(whole.geometry.feature_gram)
    assert f"about {1 - ratio:.0%} short" in found.detail
    assert found.detail in d.verdict


def test_offsets_may_have_a_decay_of_their_own() -> None:
    network = normed()
    loader, _ = trained(network)
    decays = dict.fromkeys((n for n, _ in network.named_parameters()), DECAY) | {"4.bias": DECAY / 4}
    d = ec.diagnose(network, loader, weight_decay=decays, loss="mse", progress=False)
    assert d.problem.feature_mean_decay == pytest.approx(DECAY / 4 / 60)
    assert d.prediction is not None
    assert d.prediction.certificate.holds
