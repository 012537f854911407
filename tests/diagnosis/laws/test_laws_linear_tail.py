"""The law of linear layers before the head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import encollapse as ec
from reference.architectures import CLASSES, mlp
from reference.diagnosed import diagnosed


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_linear_tail_has_its_excess_in_parts(bias: bool, loss: str) -> None:
    """The loss is the network's own: mean loss and half the decay times the squares of head and inner layer."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 11), nn.ReLU(), nn.Linear(11, 7, bias=bias), nn.Linear(7, CLASSES)).double()
    x, y, decay = torch.randn(37, 4, dtype=torch.float64), torch.arange(37) % CLASSES, 2e-2
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=decay)
    criterion = nn.CrossEntropyLoss() if loss == "cross_entropy" else nn.MSELoss()
    found = ec.diagnose(network, [(x, y)], optimizer, loss=criterion, encoding="one-hot", steps=10)
    assert found.law == "linear_tail"
    e = found.excess
    assert e is not None
    # Half the squared distance is CLASSES/2 times the mean over the entries that torch takes.
    scale = 1.0 if loss == "cross_entropy" else CLASSES / 2
    targets = y if loss == "cross_entropy" else nn.functional.one_hot(y, CLASSES).double()
    squares = sum(float(p.detach().square().sum()) for p in [*network[2].parameters(), *network[3].parameters()])
    explicit = scale * (float(criterion(network(x), targets).detach()) + 0.5 * decay * squares)
    assert e.loss == pytest.approx(explicit, rel=1e-9)
    assert abs(e.unbalanced + e.within + e.between - e.total) < 1e-9
    assert min(e.unbalanced, e.between) > -1e-9
    assert e.distance is not None
    assert e.distance <= e.guarantee + 1e-9


def test_an_unsolved_problem_says_what_is_missing() -> None:
    network = mlp(nn.Linear(13, 13))
    d = diagnosed(network)
    assert (d.law, d.problem) == ("linear_tail", None)
    assert "inner_bias_decay" in d.missing["prediction"]
    assert "inner_bias_decay" in d.verdict
