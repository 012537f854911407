"""What the optimizer makes of neural collapse: one network with a last batch normalization, eight ways to train it.

500 digits, cross-entropy, batches of 100, a learning rate that falls to 0 by a cosine, weight decay on every parameter.
Coupled decay is added to the gradient, decoupled decay shrinks the parameters beside the step.

    python benchmarks/optimizer_collapse.py --epochs 500 --seeds 2
    python benchmarks/optimizer_collapse.py --epochs 2000 --seeds 2 --only AdamW [--batch 500]

Columns: the decay time τ (where decay acts at the learning rate), the sum of the rows of the classifier relative to its
size (NC0), NC1 to NC4, and the excess of the regularized loss over the certified minimum in units of it (coupled decay
only, as decoupled decay has no such loss). The last column asks what decoupled decay minimizes instead. Steps of unit
size in a norm, with decay λ, come to rest where cross-entropy cannot fall within the ball of radius 1/λ of that norm
(Xie & Li 2024 for AdamW). It is ``-λ <G, W>/|G|`` in the dual norm, of the classifier and its gradient G over all
samples: 1 at such a point, 0 for a classifier that knows nothing of it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

import encollapse as ec

_SIGN_DECAY = 2.0
"""Decay of decoupled methods: the ball of radius ½ binds within the training."""


class Steps(torch.optim.Optimizer):
    """Steps of unit size in a norm: signs of the momentum, or for matrices (Muon) its orthogonal factor."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, *, decay: float, is_coupled: bool, is_muon: bool
    ) -> None:
        super().__init__(params, {"lr": lr})
        self.decay, self.is_coupled, self.is_muon = decay, is_coupled, is_muon

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter."""
        del closure
        for group in self.param_groups:
            for p in group["params"]:
                gradient = p.grad + self.decay * p if self.is_coupled else p.grad
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.mul_(0.9).add_(gradient, alpha=0.1)
                if self.is_muon and p.ndim == 2:
                    left, _, right = torch.linalg.svd(momentum, full_matrices=False)
                    change = left @ right
                else:
                    change = momentum.sign()
                if not self.is_coupled:
                    p.mul_(1 - group["lr"] * self.decay)
                p.sub_(change, alpha=group["lr"])


def optimizers(decay: float) -> dict[str, tuple[Callable[..., torch.optim.Optimizer], float, float, str | None]]:
    """Name: optimizer, learning rate over 1 - momentum where decay acts at it, decay, norm where it is decoupled."""
    strong = _SIGN_DECAY
    return {
        "SGD": (lambda p: torch.optim.SGD(p, 0.5, weight_decay=decay), 0.5, decay, None),
        "SGD, momentum": (lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=decay), 1.0, decay, None),
        "Adam, coupled": (lambda p: torch.optim.Adam(p, 4e-3, weight_decay=decay), math.nan, decay, None),
        "signs, coupled": (
            lambda p: Steps(p, 1e-3, decay=decay, is_coupled=True, is_muon=False),
            math.nan,
            decay,
            None,
        ),
        "AdamW, λ = 0.1": (lambda p: torch.optim.AdamW(p, 4e-3, weight_decay=0.1), 4e-3, 0.1, "max"),
        "AdamW": (lambda p: torch.optim.AdamW(p, 4e-3, weight_decay=strong), 4e-3, strong, "max"),
        "signs, decoupled": (
            lambda p: Steps(p, 2e-3, decay=strong, is_coupled=False, is_muon=False),
            2e-3,
            strong,
            "max",
        ),
        "Muon-like": (lambda p: Steps(p, 4e-3, decay=0.5, is_coupled=False, is_muon=True), 4e-3, 0.5, "spectral"),
    }


def trained(
    make: Callable[..., torch.optim.Optimizer],
    inputs: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    batch: int,
    seed: int,
) -> nn.Sequential:
    """The network after training."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.BatchNorm1d(32), nn.Linear(32, 10))
    optimizer = make(network.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for part in torch.split(torch.randperm(len(labels)), batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs[part]), labels[part])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    return network


def row(
    network: nn.Sequential, inputs: torch.Tensor, labels: torch.Tensor, decay: float, norm: str | None
) -> list[float]:
    """NC0 to NC4, relative excess and alignment with the ball, NaN where there is none."""
    head = network[-1]
    assert isinstance(head, nn.Linear)
    network.zero_grad()
    features = network[:-1](inputs)  # batch normalization over all samples
    loss = nn.functional.cross_entropy(head(features), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is not None
    weight, gradient = head.weight.detach().double().numpy(), head.weight.grad.double().numpy()
    found = ec.measure.collapse(features.detach(), labels, weight=head.weight, bias=head.bias)
    names = ("nc1_trace_ratio", "nc2_etf", "nc3_alignment", "nc4_agreement")
    values = [float(np.linalg.norm(weight.sum(axis=0)) / (math.sqrt(10) * np.linalg.norm(weight)))]
    values += [math.nan if (value := getattr(found, name)) is None else value for name in names]
    if norm is None:
        problem = ec.ufm.batch_norm_problem(
            ec.encodings.one_hot(10),
            len(labels) // 10,
            weight_decay=decay,
            gain_decay=decay,
            bias_decay=decay,
            loss="cross_entropy",
        )
        excess = ec.ufm.excess(problem, features.detach(), labels, head.weight.detach(), head.bias.detach())
        return [*values, excess.total / excess.lower_bound, math.nan]
    size = np.abs(gradient).sum() if norm == "max" else np.linalg.norm(gradient, "nuc")
    return [*values, math.nan, float(-decay * (gradient * weight).sum() / size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--decay", type=float, default=5e-3, help="coupled decay")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--only", default="", help="the optimizers whose name begins with this")
    arguments = parser.parse_args()
    digits = ec.data.load("digits", per_class=50).train
    inputs = torch.tensor(digits.inputs, dtype=torch.float32).flatten(1)
    labels = torch.tensor(digits.labels)
    print("| optimizer | τ | NC0 | NC1 | NC2 | NC3 | NC4 | excess | alignment |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (make, rate, decay, norm) in optimizers(arguments.decay).items():
        if not name.startswith(arguments.only):
            continue
        rows = []
        for seed in range(arguments.seeds):
            network = trained(make, inputs, labels, arguments.epochs, arguments.batch, seed)
            rows.append(row(network, inputs, labels, decay, norm))
        time = 0.5 * rate * decay * arguments.epochs * math.ceil(len(labels) / arguments.batch)
        cells = ["-" if math.isnan(value) else f"{value:.2g}" for value in (time, *np.median(rows, axis=0))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
