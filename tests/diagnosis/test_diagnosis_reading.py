"""What is read off optimizers, losses and schedules, against what they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.diagnosis.decay_time import decay_time
from encollapse.diagnosis.objective import read_loss
from encollapse.diagnosis.optimizer import is_coupled, read_decays
from encollapse.errors import ArgumentError, ArgumentTypeError

K, D = 5, 7


class Lion(torch.optim.Optimizer):
    """An optimizer that the package has never heard of, with decoupled decay :cite:p:`chen2023`."""

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(p.grad.sign(), alpha=-group["lr"])


class OwnSgd(Lion):
    """Another one, whose decay is part of the gradient."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad + group["weight_decay"] * p, alpha=-group["lr"])


@pytest.mark.parametrize(
    ("make", "coupled"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4), True),
        (lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=5e-4, decoupled_weight_decay=True), False),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=5e-4), False),
        (lambda p: Lion(p, lr=0.1, weight_decay=5e-4), False),
        (lambda p: OwnSgd(p, lr=0.1, weight_decay=5e-4), True),
        (lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.01), True),
        (lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.003, maximize=True), True),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.003, maximize=True), False),
    ],
    ids=[
        "sgd",
        "nesterov",
        "adam",
        "rmsprop",
        "adagrad",
        "nadam",
        "nadam decoupled",
        "adamw",
        "lion",
        "own sgd",
        "adagrad 0.01",
        "sgd maximize",
        "adamw maximize",
    ],
)
def test_coupled_decay_is_told_by_what_the_optimizer_does(make: Any, coupled: bool) -> None:
    network = nn.Linear(D, K)
    optimizer = make(network.parameters())
    before, state = [p.clone() for p in network.parameters()], len(optimizer.state)
    assert is_coupled(optimizer, optimizer.param_groups[0]) is coupled
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert len(optimizer.state) == state


def test_decays_come_from_the_parameter_groups() -> None:
    network = nn.Sequential(nn.Linear(D, 3), nn.BatchNorm1d(3), nn.Linear(3, K))
    network[0].bias.requires_grad_(False)
    rest: Any = [p for n, p in network.named_parameters() if n != "1.weight"]
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": 0.25}, {"params": [network[1].weight]}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    decays = read_decays(network, optimizer, None)
    assert decays.of("0.weight") == 0.25
    assert decays.of("1.weight") == 0.0
    assert decays.of("0.bias") is None
    assert decays.of("nothing") is None


def test_an_optimizer_of_another_network_is_refused() -> None:
    network, other = nn.Linear(D, K), nn.Linear(D, K)
    with pytest.raises(ArgumentError, match="optimizer: none of its 2 parameters belongs to the network"):
        read_decays(network, torch.optim.SGD(other.parameters(), lr=0.1), None)
    with pytest.raises(ArgumentTypeError, match="optimizer: expected a torch optimizer, got str"):
        read_decays(network, "sgd", None)  # type: ignore[arg-type]


def test_decays_by_hand() -> None:
    network = nn.Sequential(nn.Linear(D, 3), nn.BatchNorm1d(3))
    assert read_decays(network, None, 0.5).by_parameter == dict.fromkeys(dict(network.named_parameters()), 0.5)
    named = read_decays(network, None, {"0": 0.5, "1.weight": 0.25})
    assert named.by_parameter == {"0.weight": 0.5, "0.bias": 0.5, "1.weight": 0.25, "1.bias": 0.0}
    with pytest.raises(ArgumentError, match="weight_decay: 'fc' names no trained parameter"):
        read_decays(network, None, {"fc": 0.5})
    with pytest.raises(ArgumentError, match="weight_decay"):
        read_decays(network, None, -1.0)
    for given in (0.5, {"0": 0.5}):  # decays by hand do not change what the optimizer does with its own
        adamw = read_decays(network, torch.optim.AdamW(network.parameters(), weight_decay=0.5), given)
        assert (adamw.coupled, adamw.source) == (False, "AdamW")
        assert read_decays(network, torch.optim.AdamW(network.parameters(), weight_decay=0.0), given).coupled


def _theory(reading: Any, outputs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The user's loss as theory writes it."""
    targets = reading.encoding.codewords.T[labels]
    if reading.kind == "mse":
        each = 0.5 * ((outputs - targets) ** 2).sum(axis=1)
    else:
        each = -(targets * (outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True)))).sum(axis=1)
    weights = np.ones(K) if reading.class_weights is None else reading.class_weights
    return float(reading.scale * (weights[labels] * each).mean())


@pytest.mark.parametrize(
    "loss",
    [
        nn.MSELoss(),
        nn.MSELoss(reduction="sum"),
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5])),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5]), label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5]), reduction="sum", label_smoothing=0.1),
    ],
    ids=str,
)
def test_a_loss_is_theorys_loss_times_its_scale(loss: Any) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(K), [2, 3, 5, 7, 11]))
    outputs = rng.standard_normal((len(labels), K))
    reading = read_loss(loss, ec.encodings.one_hot(K), False, np.bincount(labels), len(labels))
    given = torch.tensor(labels) if isinstance(loss, nn.CrossEntropyLoss) else torch.eye(K, dtype=torch.float64)[labels]
    if isinstance(loss, nn.CrossEntropyLoss) and loss.weight is not None:
        loss = loss.double()
    assert _theory(reading, outputs, labels) == pytest.approx(float(loss(torch.tensor(outputs), given)), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_that_are_vectors_are_not_divided_by_the_class_weights(smoothing: float) -> None:
    """As torch has it: a mean over the samples for distributions, one over the weights for numbers of classes."""
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64)
    loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(K), [2, 3, 5, 7, 11]))
    outputs, codewords = rng.standard_normal((len(labels), K)), rng.dirichlet(np.ones(K), K).T
    encoding = ec.encodings.Encoding(codewords)
    reading = read_loss(loss, encoding, True, np.bincount(labels), len(labels), vectors=True)
    value = float(loss(torch.tensor(outputs), torch.tensor(codewords.T[labels])))
    assert _theory(reading, outputs, labels) == pytest.approx(value, rel=1e-9)


def test_a_loss_that_is_not_averaged_has_no_scale() -> None:
    for loss in (nn.MSELoss(reduction="none"), nn.CrossEntropyLoss(reduction="none"), nn.NLLLoss(reduction="none")):
        reading = read_loss(loss, ec.encodings.one_hot(K), False, np.full(K, 3), 15)
        assert reading.kind is None
        assert "give one with 'mean' or 'sum'" in reading.words


def test_losses_without_a_law_are_read_as_such() -> None:
    reading = read_loss(nn.BCEWithLogitsLoss(), ec.encodings.one_hot(K), False, np.full(K, 3), 15)
    assert reading.kind is None
    with pytest.raises(ArgumentError, match="loss: expected 'mse', 'cross_entropy' or a torch loss module"):
        read_loss("hinge", ec.encodings.one_hot(K), False, np.full(K, 3), 15)
    with pytest.raises(ArgumentTypeError, match="loss: expected"):
        read_loss(3, ec.encodings.one_hot(K), False, np.full(K, 3), 15)


def _trained(schedule: Any, steps: int) -> tuple[Any, Any, float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3, momentum=0.8, weight_decay=0.01)
    scheduler = schedule(optimizer)
    total = 0.0
    for _ in range(steps):
        total += optimizer.param_groups[0]["lr"] / (1 - 0.8) * 0.01
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler, total


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 11, 0.5),
        lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [7, 19], 0.1),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 / (1 + e)),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=40, cycle_momentum=False),
    ],
    ids=["cosine", "step", "multistep", "lambda", "one cycle"],
)
def test_decay_time_is_the_sum_over_the_steps(schedule: Any) -> None:
    optimizer, scheduler, total = _trained(schedule, 37)
    before = scheduler.last_epoch, scheduler.get_last_lr()
    found = decay_time(optimizer, scheduler, 37, 0.01, None)
    assert found is not None
    assert found.spent == pytest.approx(total, rel=1e-9)
    assert (scheduler.last_epoch, scheduler.get_last_lr()) == before


def test_what_a_schedule_with_momentum_of_its_own_adds_up_to() -> None:
    """The momentum of every step counts, and asking for it leaves the optimizer alone."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.8, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=40)
    total = 0.0
    for _ in range(37):
        group = optimizer.param_groups[0]
        total += group["lr"] / (1 - group["momentum"]) * 0.01
        optimizer.step()
        scheduler.step()
    momentum = optimizer.param_groups[0]["momentum"]
    found = decay_time(optimizer, scheduler, None, 0.01, 7)
    assert found is not None
    assert found.steps == 37  # it is a schedule of steps, and not of passes of 7 batches
    assert found.spent == pytest.approx(total, rel=1e-9)
    assert optimizer.param_groups[0]["momentum"] == momentum


def test_a_warm_up_and_what_follows_are_added_up() -> None:
    def schedule(optimizer: Any) -> Any:
        parts = [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 32),
        ]
        return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])

    optimizer, scheduler, total = _trained(schedule, 37)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)
    found = decay_time(optimizer, scheduler, 37, 0.01, None)
    assert found is not None
    assert found.spent == pytest.approx(total, rel=1e-9)


def test_a_rate_of_zero_at_the_end_of_an_unknown_schedule_tells_nothing() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.0)
    assert decay_time(optimizer, None, 200, 0.01, 3) is None


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01), True),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01), True),
        (lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01), False),
        (lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.01), False),
    ],
    ids=["sgd", "adamw", "adam", "rmsprop"],
)
def test_optimizers_that_rescale_gradients_have_no_decay_time_of_their_own(make: Any, exact: bool) -> None:
    found = decay_time(make([nn.Parameter(torch.ones(1))]), None, 200, 0.01, 3)
    assert found is not None
    assert found.exact is exact


def test_decay_time_without_a_schedule() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3, momentum=0.8)
    assert decay_time(optimizer, None, None, 0.01, 3) is None
    found = decay_time(optimizer, None, 200, 0.01, 3)
    assert found is not None
    assert found.spent == pytest.approx(200 * 0.3 / 0.2 * 0.01)
    assert found.left == pytest.approx((5 - found.spent) / (0.3 / 0.2 * 0.01))
    adam = torch.optim.Adam([nn.Parameter(torch.ones(1))], lr=0.1)
    for _ in range(13):
        adam.param_groups[0]["params"][0].grad = torch.ones(1)
        adam.step()
    counted = decay_time(adam, None, None, 0.01, 3)
    assert counted is not None
    assert counted.steps == 13
