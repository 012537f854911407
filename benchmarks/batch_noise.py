"""What minibatches do to the law of a last batch normalization, and what batches with equal classes mend.

    python benchmarks/batch_noise.py --tail relu --loss cross_entropy --batch-size 32 128 512
    python benchmarks/batch_noise.py --tail relu --loss cross_entropy --batch-size 30 130 --equal-classes

A perceptron on 170 digits of each class, momentum SGD with a cosine schedule, λ = 5e-3 on head, gains, offsets and
bias. The layers below the normalization have no decay unless --below gives one: their scale does not matter, and
decay would shrink them until ε or too large steps are felt. With --equal-classes every batch has as many samples of
each class, so that its mean moves by the spread within classes alone. A batch of 1700 is the whole set.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

import encollapse as ec

PER_CLASS, CLASSES, WIDTH, FEATURES = 170, 10, 256, 64
WARM_UP, MOMENTUM = 0.1, 0.9


def network(relu: bool) -> nn.Sequential:
    """Three hidden layers, a batch normalization, a ReLU perhaps, and the head."""
    sizes = [64, WIDTH, WIDTH]
    body: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        body += [nn.Linear(before, after), nn.ReLU()]
    tail = [nn.Linear(WIDTH, FEATURES), nn.BatchNorm1d(FEATURES), *([nn.ReLU()] if relu else [])]
    return nn.Sequential(*body, *tail, nn.Linear(FEATURES, CLASSES))


def batches(labels: Tensor, size: int, equal: bool, random: torch.Generator) -> Iterator[Tensor]:
    """Rows of batches of nearly equal size, pass after pass; with `equal` each has as many of every class."""
    while True:
        if equal:
            each = size // CLASSES
            rows = [torch.where(labels == k)[0] for k in range(CLASSES)]
            mixed = [own[torch.randperm(len(own), generator=random)] for own in rows]
            yield from (torch.cat([own[i : i + each] for own in mixed]) for i in range(0, PER_CLASS - each + 1, each))
        else:
            order = torch.randperm(len(labels), generator=random)
            yield from order.tensor_split(max(1, round(len(labels) / size)))


def trained(asked: argparse.Namespace, size: int) -> ec.Diagnosis:
    """Train, and diagnose against the law."""
    data = ec.data.load("digits", per_class=PER_CLASS).train
    inputs, labels = torch.tensor(data.inputs), torch.tensor(data.labels)
    torch.manual_seed(asked.seed)
    net = network(asked.tail == "relu")
    norm = next(i for i, module in enumerate(net) if isinstance(module, nn.BatchNorm1d))
    below, above = list(net[:norm].parameters()), list(net[norm:].parameters())
    groups = [{"params": above, "weight_decay": asked.weight_decay}, {"params": below, "weight_decay": asked.below}]
    optimizer = torch.optim.SGD(groups, lr=asked.learning_rate, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate(asked.steps))
    rows = batches(labels, size, asked.equal_classes, torch.Generator().manual_seed(asked.seed))
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
    if asked.loss == "mse":
        loss = half_squares
    for _ in range(asked.steps):
        optimizer.zero_grad()
        chosen = next(rows)
        loss(net(inputs[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return ec.diagnose(net, [(inputs, labels)], optimizer, loss=asked.loss, progress=False)


def rate(steps: int) -> Callable[[int], float]:
    """Linear warm-up, then a cosine."""

    def share(step: int) -> float:
        done = step / steps
        return done / WARM_UP if done < WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))

    return share


def half_squares(outputs: Tensor, labels: Tensor) -> Tensor:
    """``½|o - e|²``, a mean over the samples."""
    return 0.5 * (outputs - torch.eye(CLASSES)[labels]).square().sum(1).mean()


def main() -> int:
    """Train once for each size of a batch, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tail", choices=("relu", "linear"), default="relu")
    parser.add_argument("--loss", choices=("cross_entropy", "mse"), default="cross_entropy")
    parser.add_argument("--batch-size", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--equal-classes", action="store_true")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-3)
    parser.add_argument("--below", type=float, default=0.0, help="decay of the layers below (default %(default)g)")
    parser.add_argument("--steps", type=int, default=3400)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| tail | loss | batch | classes | gram_error | shape_error | mean cosine | between classes | variance |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for size in asked.batch_size:
        d = trained(asked, size)
        assert d.comparison is not None
        assert d.excess is not None
        cells = [asked.tail, asked.loss, str(size), "equal" if asked.equal_classes else "random"]
        numbers = (d.comparison.gram_error, d.comparison.shape_error, d.collapse.geometry.mean_cosine())
        cells += [f"{value:.3g}" for value in numbers if value is not None]
        cells.append(f"{d.excess.between / d.excess.total:.0%}")
        print(f"| {' | '.join(cells)} | {variance(d)} |", flush=True)
    return 0


def variance(diagnosis: ec.Diagnosis) -> str:
    """What the normalization divides by, as the diagnosis says it."""
    found = [c.detail for c in diagnosis.conditions if c.detail.startswith("median variance")]
    return found[0].partition(",")[0].removeprefix("median variance ") if found else "–"


if __name__ == "__main__":
    sys.exit(main())
