"""The law of a training, on small networks of the kinds that people have: the right one, or a refusal and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.errors import ArgumentError
from reference.architectures import ARCHITECTURES, Cosine
from reference.diagnosed import diagnosed, normed, trained


def snapshot(network: nn.Module) -> list[Any]:
    state = [value.clone() for value in network.state_dict().values()]
    modes = [module.training for module in network.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    return [state, modes, hooks, [p.requires_grad for p in network.parameters()]]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_law_is_right_or_refused_with_its_reason(name: str) -> None:
    torch.manual_seed(0)
    make, law = ARCHITECTURES[name]
    network = make()
    loader, optimizer = trained(network)
    before = snapshot(network)
    d = ec.diagnose(network, loader, optimizer, steps=20, progress=False)
    assert d.law == law, d.reason
    assert d.reason
    assert d.verdict.endswith((".", ")."))
    after = snapshot(network)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]
    if law == "none":
        assert any(c.status == "violated" for c in d.conditions)
    assert d.collapse.num_samples == 60
    if d.prediction is not None and d.excess is not None:
        e = d.excess
        assert e.unbalanced + e.within + e.between == pytest.approx(e.total, rel=1e-9)
        assert min(e.unbalanced, e.within, e.between) >= -1e-9
        assert e.distance is None or e.distance <= e.guarantee + 1e-9
    assert isinstance(d.to_dict()["verdict"], str)


def test_logarithms_of_probabilities_are_the_cross_entropy_of_the_scores() -> None:
    network = nn.Sequential(*normed(), nn.LogSoftmax(1))
    loader, optimizer = trained(network)
    d = ec.diagnose(network, loader, optimizer, loss=nn.NLLLoss(), progress=False)
    assert (d.law, d.loss) == ("batch_norm", "NLLLoss")
    bare = ec.diagnose(network[:-1], loader, optimizer, loss=nn.NLLLoss(), progress=False)
    assert "does not return the log_softmax" in bare.reason


def test_a_head_that_ignores_the_scale_of_features_has_no_law() -> None:
    torch.manual_seed(0)
    try:
        d = diagnosed(Cosine())
    except ArgumentError as error:
        assert "head=" in str(error)  # noqa: PT017
    else:
        assert d.law == "none"
