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


@pytest.mark.parametrize("bias_decay", [None, 0.0])
def test_weights_of_classes_are_part_of_the_problem(bias_decay: float | None) -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(4, 11), nn.ReLU(), nn.Linear(11, 7), nn.Linear(7, CLASSES)).double()
    x, y, decay = torch.randn(41, 4, dtype=torch.float64), torch.arange(41) ** 2 % CLASSES, 2e-2
    y[:CLASSES] = torch.arange(CLASSES)
    named = dict(network.named_parameters())
    bias = named.pop("3.bias")
    optimizer = torch.optim.SGD(list(named.values()), lr=0.1, weight_decay=decay)
    optimizer.add_param_group({"params": [bias], "weight_decay": decay if bias_decay is None else bias_decay})
    criterion = nn.CrossEntropyLoss(weight=torch.linspace(0.2, 3.0, CLASSES, dtype=torch.float64))
    found = ec.diagnose(network, [(x, y)], optimizer, loss=criterion, steps=10, progress=False)
    assert found.law == "linear_tail"
    assert found.problem is not None
    e = found.excess
    assert e is not None
    penalized = [named["2.weight"], named["2.bias"], named["3.weight"], *([bias] if bias_decay is None else [])]
    squares = sum(float(p.detach().square().sum()) for p in penalized)
    assert e.loss == pytest.approx(float(criterion(network(x), y).detach()) + 0.5 * decay * squares, rel=1e-9)
    assert e.distance is not None
    assert 0 < e.distance <= e.guarantee


def test_an_unsolved_problem_says_what_is_missing() -> None:
    network = mlp(nn.Linear(13, 13))
    d = diagnosed(network)
    assert (d.law, d.problem) == ("linear_tail", None)
    assert "inner_bias_decay" in d.missing["prediction"]
    assert "inner_bias_decay" in d.verdict
