"""A small network trained by a real Lightning Trainer: `python -m reference.lightning_run NAMESPACE DEVICES FOLDER`."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NAMESPACE = sys.argv[1] if __name__ == "__main__" else "lightning.pytorch"
pl: Any = importlib.import_module(NAMESPACE)

from encollapse.measure import CollapseCallback, NeuralCollapse, measure_model  # noqa: E402 (after the namespace)

K, D = 5, 7


def data() -> TensorDataset:
    """Twenty-two samples of five classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(22) % K
    inputs = torch.randn(22, 11, generator=generator) + 2 * nn.functional.one_hot(labels, 11)
    return TensorDataset(inputs, labels)


class Network(pl.LightningModule):  # type: ignore[misc]  # whichever of the two names
    """Two layers, cross-entropy, and a metric as users log it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.norm = nn.BatchNorm1d(D)
        self.body = nn.Sequential(nn.Linear(11, D), self.norm, nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(D, K)
        self.collapse = NeuralCollapse(K, D, head=self.head, metrics=("cdnv",))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs of the head."""
        outputs: torch.Tensor = self.head(self.body(inputs))
        return outputs

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Cross-entropy of a batch."""
        inputs, labels = batch
        return nn.functional.cross_entropy(self(inputs), labels)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Gather the features of a batch."""
        self.collapse.update(self.body(batch[0]), batch[1])

    def on_validation_epoch_end(self) -> None:
        """Log what was gathered, of all processes together."""
        self.log_dict({f"valid/{n}": v for n, v in self.collapse.compute().items()}, sync_dist=True)
        self.collapse.reset()
        self.norm.get_buffer("running_mean").add_(
            self.global_rank
        )  # as each process has its own after a step of training

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(devices: int, folder: Path) -> None:
    """Train, and write down what was logged and what a direct measurement gives."""
    loaders = [DataLoader(data(), batch_size=4, shuffle=shuffle) for shuffle in (True, False)]
    callback = CollapseCallback(every=2)
    other = CollapseCallback("validation", every=3, metrics=("cdnv", "nc4_agreement"), prefix="held/")
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=5,
        logger=importlib.import_module(f"{NAMESPACE}.loggers").CSVLogger(folder, name="", version=""),
        log_every_n_steps=1,
        callbacks=[callback, other],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    network = Network()
    trainer.fit(network, *loaders)
    record = {
        "bases": [base.__module__ for base in CollapseCallback.__mro__],
        "training": network.training,
        "results": {epoch: result.to_dict() for epoch, result in callback.results.items()},
        "held": {epoch: result.to_dict() for epoch, result in other.results.items()},
        "logged": {name: float(value) for name, value in trainer.logged_metrics.items()},
        "direct": measure_model(network, DataLoader(data(), batch_size=22)).to_dict(),
    }
    (folder / f"record-{trainer.global_rank}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[2]), Path(sys.argv[3]))
