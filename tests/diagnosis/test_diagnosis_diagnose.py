"""`ec.diagnose`: what it refuses, what it says of a network on its way, and its page."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from reference.architectures import ResNet, Vgg
from reference.diagnosed import DECAY, diagnosed, normed, trained


def test_what_cannot_be_diagnosed_names_the_cure() -> None:
    network = normed()
    loader, optimizer = trained(network)
    with pytest.raises(ArgumentTypeError, match=r"network: expected a torch\.nn\.Module"):
        ec.diagnose(3, loader)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="optimizer: none of its"):
        ec.diagnose(network, loader, torch.optim.SGD(normed().parameters(), lr=0.1), progress=False)
    with pytest.raises(ArgumentError, match="labels: expected values from 0 to 4, got 9"):
        ec.diagnose(network, [(x, y * 0 + 9) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="loader: class 1 of 5 has no samples"):
        ec.diagnose(network, [(x, y * 0) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="encoding: 'simplex' has codewords of length 4, and the head '5' has 5"):
        ec.diagnose(network, loader, optimizer, encoding="simplex", loss="mse", progress=False)
    with pytest.raises(ArgumentError, match="loader: it is read twice"):
        ec.diagnose(network, iter(loader), optimizer, progress=False)
    with pytest.raises(ArgumentError, match="several loaders as one"):
        ec.diagnose(network, [loader, loader], optimizer, progress=False)
    with pytest.raises(ArgumentTypeError, match="encoding"):
        ec.diagnose(network, loader, optimizer, encoding=3, progress=False)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="scheduler: expected a learning-rate scheduler, got str"):
        ec.diagnose(network, loader, optimizer, scheduler="cosine", progress=False)
    with pytest.raises(ArgumentError, match=r"loss: it ignores class 2 \(ignore_index\)"):
        ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(ignore_index=2), progress=False)
    negative = torch.tensor([1.0, 1.0, -2.0, 1.0, 1.0])
    with pytest.raises(ArgumentError, match="class 2 has the weight -2"):
        ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(weight=negative), progress=False)
    broken = normed()
    nn.init.constant_(broken[1].weight, math.nan)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="finite"):
        ec.diagnose(broken, loader, weight_decay=DECAY, progress=False)
    with pytest.raises(ArgumentError, match="running statistics"):
        ec.diagnose(network, [(100 * x + 50, y) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="loader: yielded no samples"):
        ec.diagnose(network, [], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="the model has no layer 'nothing'"):
        ec.diagnose(network, loader, optimizer, head="nothing", progress=False)
    with pytest.raises(ArgumentError, match="feature_decay"):
        ec.diagnose(network, loader, optimizer, feature_decay=0.0, progress=False)


def test_it_reads_a_network_on_its_way() -> None:
    torch.manual_seed(0)
    network = Vgg()
    loader, optimizer = trained(network, steps=60)
    early = ec.diagnose(network, loader, optimizer, steps=60, loss="cross_entropy", progress=False)
    assert early.decay_time is not None
    assert early.decay_time.spent == pytest.approx(60 * 0.05 / 0.1 * DECAY)
    assert "decay times" in early.verdict or early.prediction is None
    residual = diagnosed(ResNet(before=False))
    assert residual.prediction is None
    assert "sum of branches" in residual.verdict


def test_the_page_and_the_figure_are_made(tmp_path: Any) -> None:
    torch.manual_seed(0)
    d = diagnosed(normed())
    page = d.to_html(tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert "The law: batch norm" in text
    law_in_a_sentence = text.partition("The law: batch norm")[2].partition("<p>")[2].partition("</p>")[0]
    assert law_in_a_sentence.startswith("A batch normalization")
    assert law_in_a_sentence.endswith(".")
    assert "gram_error" in text
    assert "src=" not in text
    assert len(d.plot().axes) >= 3
