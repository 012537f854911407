"""Networks after some steps of training, and their diagnosis."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import encollapse as ec
from reference.architectures import batch, mlp

DECAY = 5e-3


def trained(network: nn.Module, optimizer: Any = None, steps: int = 20, count: int = 60) -> tuple[Any, Any]:
    """Some steps on made-up data, so that statistics and parameters are not those of the start."""
    x, y = batch(network, count)
    network.train()
    made = optimizer or torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=DECAY)
    network.train()
    for _ in range(steps):
        made.zero_grad()
        outputs = network(x)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        nn.functional.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
        made.step()
    return [(x[: count // 2], y[: count // 2]), (x[count // 2 :], y[count // 2 :])], made


def diagnosed(network: nn.Module, **options: Any) -> ec.Diagnosis:
    loader, optimizer = trained(network)
    return ec.diagnose(network, loader, options.pop("optimizer", optimizer), progress=False, **options)


def normed() -> nn.Sequential:
    return mlp(nn.BatchNorm1d(13))


def premise(d: ec.Diagnosis, words: str) -> Any:
    (found,) = [c for c in d.conditions if words in c.text]
    return found
