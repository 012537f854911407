"""Callbacks in real trainings: what is logged is what a diagnosis afterwards says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import encollapse as ec
from encollapse.errors import ArgumentTypeError

K, D, N = 3, 7, 33


def samples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % K
    return TensorDataset(torch.randn(N, 5, generator=generator) + 2 * nn.functional.one_hot(labels, 5), labels)


@pytest.mark.slow
def test_lightning_logs_the_excess_and_the_guarantee(tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")

    class Network(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.net = nn.Sequential(nn.Linear(5, D, bias=False), nn.BatchNorm1d(D), nn.Linear(D, K))

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, _: int) -> Any:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)]

    network, loader = Network(), DataLoader(samples(), batch_size=11)
    callback = ec.diagnosis.DiagnosisCallback(every=20)
    trainer = pl.Trainer(
        max_epochs=40, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(network, loader)
    assert list(callback.results) == [19, 39]
    last = callback.results[39]
    assert last.law == "batch_norm"
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert last.excess is not None
    assert logged["diagnosis/excess"] == pytest.approx(last.excess.total, rel=1e-5)
    assert logged["diagnosis/guarantee"] == pytest.approx(last.excess.guarantee, rel=1e-5)
    assert last.decay_time is not None
    assert last.decay_time.steps == 120
    first = callback.results[19]
    assert first.excess is not None
    assert last.excess.total < first.excess.total


@pytest.mark.slow
def test_transformers_logs_it_and_says_that_adamw_has_no_law(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class Sentences(Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            label = index % K
            return {"input_ids": torch.tensor([label, 10 + index % 7, 4]), "labels": torch.tensor(label)}

    config = transformers.BertConfig(
        vocab_size=31, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=7, num_labels=K, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=2, per_device_train_batch_size=11, use_cpu=True, report_to=[],
        disable_tqdm=True, save_strategy="no", weight_decay=0.01,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = transformers.Trainer(
        transformers.BertForSequenceClassification(config), arguments, train_dataset=Sentences()
    )
    callback = ec.diagnosis.DiagnosisTrainerCallback(trainer, every=1)
    trainer.add_callback(callback)
    trainer.train()
    assert list(callback.results) == [1, 2]
    assert not callback.skipped
    assert callback.results[2].law == "none"
    assert callback.results[2].excess is None


def test_checkpoints_are_diagnosed_as_each_by_itself(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(5, D, bias=False), nn.BatchNorm1d(D), nn.Linear(D, K))
    inputs, labels = samples().tensors
    alone: list[ec.diagnosis.Diagnosis] = []

    def optimizer_of(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)

    optimizer = optimizer_of(network)
    for step in range(101):
        if step in (40, 100):
            torch.save(network.state_dict(), tmp_path / f"step-{step}.pt")
            alone.append(ec.diagnose(network, [(inputs, labels)], optimizer))
        network.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = ec.diagnosis.diagnose_checkpoints(tmp_path, network, [(inputs, labels)], optimizer_of)
    assert [Path(path).name for path in found] == ["step-40.pt", "step-100.pt"]
    for own, wanted in zip(found.values(), alone, strict=True):
        assert own.excess is not None
        assert wanted.excess is not None
        assert own.law == wanted.law
        assert own.excess.total == pytest.approx(wanted.excess.total, rel=1e-6)
        assert own.collapse.values == wanted.collapse.values
    first, last = (d.excess for d in found.values())
    assert first is not None
    assert last is not None
    assert last.total < first.total
    with pytest.raises(ArgumentTypeError, match="optimizer: expected a function"):
        ec.diagnosis.diagnose_checkpoints(tmp_path, network, [(inputs, labels)], optimizer)  # type: ignore[arg-type]
