"""The law of a loss that prices the features itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import encollapse as ec
from reference.architectures import Vgg, mlp
from reference.diagnosed import DECAY, diagnosed, normed, premise, trained


def test_decays_by_hand_and_an_explicit_price_of_features() -> None:
    network = normed()
    assert diagnosed(network, optimizer=None, weight_decay=DECAY).law == "batch_norm"
    d = diagnosed(mlp(nn.ReLU()), optimizer=None, weight_decay=DECAY, feature_decay=1e-4, loss="mse")
    assert d.law == "explicit_feature_decay"
    assert d.problem.feature_decay == 1e-4
    assert d.problem.features == "relu"
    assert "steps=" not in d.verdict
    assert (
        diagnosed(network, optimizer=None).reason == "no weight decay is known; give the optimizer, or weight_decay=..."
    )


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ([nn.GELU()], "cannot take every value"),
        ([nn.LayerNorm(13)], "fixes the size of its features"),
        ([nn.BatchNorm1d(13, affine=False)], "has no gains"),
        ([nn.ReLU(), nn.Dropout(0.3)], "dropout"),
    ],
    ids=["gelu", "layer norm", "no gains", "dropout"],
)
def test_an_explicit_price_needs_free_features(tail: list[nn.Module], reason: str) -> None:
    head = {"5" if len(tail) == 1 else "6": DECAY}
    d = diagnosed(mlp(*tail), optimizer=None, weight_decay=head, feature_decay=1e-4)
    assert d.law == "none"
    assert reason in d.reason


def test_an_explicit_price_beside_others_is_told() -> None:
    network = mlp(nn.ReLU())
    loader, adamw = trained(network, torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=DECAY))
    d = ec.diagnose(network, loader, adamw, feature_decay=1e-4, progress=False)
    assert d.law == "none"
    assert "decoupled" in d.reason
    whole = ec.diagnose(network, loader, weight_decay=DECAY, feature_decay=1e-4, progress=False)
    assert premise(whole, "nothing else prices").status == "violated"
    alone = ec.diagnose(network, loader, weight_decay={"5": DECAY}, feature_decay=1e-4, progress=False)
    assert premise(alone, "nothing else prices").status == "holds"


def test_features_that_are_never_negative_are_taken_as_such() -> None:
    """Behind a maximum over positions the graph does not show the ReLU below it."""
    network = Vgg(pool=nn.AdaptiveMaxPool2d)
    d = diagnosed(network, optimizer=None, weight_decay={"classifier": DECAY}, feature_decay=1e-4)
    assert (d.law, d.problem.features) == ("explicit_feature_decay", "relu")
