"""Premises that several laws share, and the problem that a law poses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.errors import ArgumentError
from reference.architectures import CLASSES, LanguageModel, Odd, batch, mlp
from reference.diagnosed import DECAY, diagnosed, normed, trained


def test_outputs_behind_a_temperature_have_no_law() -> None:
    torch.manual_seed(0)
    network = Odd("temperature")
    loader, optimizer = trained(network, torch.optim.SGD(network.parameters(), lr=1e-3, weight_decay=DECAY), 50)
    with pytest.raises(ArgumentError, match="head='head'"):
        ec.diagnose(network, loader, optimizer, progress=False)
    d = ec.diagnose(network, loader, optimizer, head="head", progress=False)
    assert d.law == "none"
    assert "temperature" in d.reason
    with torch.no_grad():
        network.extra.fill_(1.0)
    assert "'extra'" in ec.diagnose(network, loader, optimizer, head="head", progress=False).reason
    network.extra.requires_grad_(False)
    assert ec.diagnose(network, loader, optimizer, head="head", progress=False).law == "batch_norm"


def test_decoupled_decay_belongs_to_no_objective() -> None:
    network = normed()
    loader, optimizer = trained(network, torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=DECAY))
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == "none"
    assert "decoupled" in d.reason
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=DECAY)
    assert ec.diagnose(network, loader, adam, progress=False).law == "batch_norm"


def test_a_normalization_or_head_without_decay_has_no_minimum() -> None:
    network = normed()
    loader, _ = trained(network)
    names = dict(network.named_parameters())
    spared = [p for n, p in names.items() if n.startswith("4.")]
    rest = [p for n, p in names.items() if not n.startswith("4.")]
    groups = [{"params": rest, "weight_decay": DECAY}, {"params": spared, "weight_decay": 0.0}]
    d = ec.diagnose(network, loader, torch.optim.SGD(groups, lr=0.1), progress=False)
    assert d.law == "none"
    assert "no weight decay" in d.reason
    head = ec.diagnose(network, loader, weight_decay={"4": DECAY}, progress=False)
    assert head.law == "none"
    assert "head '5.weight' has no weight decay" in head.reason


def test_a_frozen_or_shared_head_is_told() -> None:
    network = normed()
    network[5].weight.requires_grad_(False)
    assert "not trained" in diagnosed(network).reason
    tied = LanguageModel(tied=True)
    x, y = batch(tied, 44)
    d = ec.diagnose(tied, [(x, torch.arange(44) % 11)], weight_decay=DECAY, progress=False)
    assert d.law == "none"
    assert "embed.weight" in d.reason
    assert len(y) == 44


@pytest.mark.parametrize("layer", ["batch norm", "linear"])
def test_offsets_that_stay_are_none_at_zero_and_given_elsewhere(layer: str) -> None:
    """The formula for no offset is not that of a fixed one."""
    torch.manual_seed(0)
    network = mlp(nn.BatchNorm1d(13)) if layer == "batch norm" else mlp()
    fixed: Any = network[-2].bias
    fixed.requires_grad_(False)
    nn.init.zeros_(fixed)
    loader, optimizer = trained(network)
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == ("batch_norm" if layer == "batch norm" else "linear_tail")
    assert math.isinf(d.problem.feature_mean_decay if layer == "batch norm" else d.problem.inner_bias_decay)
    nn.init.ones_(fixed)
    assert "are not 0, so they are given" in ec.diagnose(network, loader, optimizer, progress=False).reason


def test_scales_of_losses_are_applied() -> None:
    network = normed()
    loader, optimizer = trained(network)
    one_hot = [(x, torch.eye(CLASSES)[y]) for x, y in loader]
    d = ec.diagnose(network, one_hot, optimizer, loss=nn.MSELoss(), progress=False)
    assert d.problem.weight_decay == pytest.approx(DECAY * CLASSES / 2)
    assert d.problem.feature_decay == pytest.approx(DECAY * CLASSES / 2 / 60)
    np.testing.assert_allclose(np.sort(d.problem.encoding.codewords.sum(axis=0)), np.ones(CLASSES))
    smooth = ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(label_smoothing=0.1), progress=False)
    assert smooth.problem.weight_decay == DECAY
    assert smooth.problem.encoding.codewords[0, 0] == pytest.approx(0.9 + 0.1 / CLASSES)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5])
    weighted = ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(weight=weights), progress=False)
    assert weighted.problem.class_weights is not None
    assert weighted.prediction is not None
    assert ec.diagnose(network, loader, optimizer, loss=nn.BCEWithLogitsLoss(), progress=False).law == "none"
