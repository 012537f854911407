"""`CollapseCallback` measures what the training step sees: real Trainers, one setting each."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from encollapse.errors import ArgumentError
from encollapse.measure import CollapseCallback, measure_model

pl: Any = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402 (where there is Lightning)
from lightning.pytorch.loggers import CSVLogger  # noqa: E402

K, D, N = 5, 7, 22
LABELS = torch.arange(N) % K


def inputs(seed: int = 0, count: int = N) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 11, generator=generator) + 2 * nn.functional.one_hot(LABELS[:count], 11)


def loader(seed: int = 0, count: int = N, size: int = 4) -> DataLoader[Any]:
    return DataLoader(TensorDataset(inputs(seed, count), LABELS[:count]), batch_size=size)


class Plain(pl.LightningModule):  # type: ignore[misc]  # whichever Lightning is installed
    """Inputs arrive doubled and shifted, and the module puts them right after the transfer."""

    stages: list[str]

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(11, D), nn.ReLU(), nn.Linear(D, K))
        self.stages = []

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.stages.append(self.trainer.state.stage.value)
        return batch[0] / 2 - 1, batch[1]

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        if isinstance(batch, dict):
            batch = batch["labeled"]
        assert batch[0].dtype == self.net[0].weight.dtype
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int, dataloader_idx: int = 0) -> None:
        self.log("calm", torch.tensor(1.0))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Network(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.net(x)
        return outputs


def directly(network: Plain, x: torch.Tensor, dtype: torch.dtype = torch.float32) -> Any:
    """What the network makes of the inputs that it was trained on."""
    return measure_model(network.net, [((x.to(dtype) / 2 - 1), LABELS[: len(x)])], progress=False)


@pytest.fixture
def fit(tmp_path: Path) -> Iterator[Any]:
    """Train on the processor, without anything that is not asked for."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def run(network: Plain, callbacks: list[Any], train: Any = None, valid: Any = None, **options: Any) -> Any:
        trainer = pl.Trainer(
            **{"max_epochs": 2, "enable_checkpointing": False} | options, accelerator="cpu", callbacks=callbacks,
            logger=CSVLogger(tmp_path, name="", version=""), enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(network, loader() if train is None else train, valid)
        return trainer

    yield run
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestTrainers:
    @pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
    def test_batches_are_those_of_the_step(self, fit: Any, precision: str) -> None:
        network, callback = Network(), CollapseCallback(every=2)
        held = CollapseCallback("validation", every=2, prefix="held/")
        fit(network, [callback, held], None, loader(1, 13), precision=precision)
        dtype = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
        for found, x in ((callback.results[1], inputs()), (held.results[1], inputs(1, 13))):
            wanted = directly(network, x, dtype)
            assert found.num_samples == len(x)
            assert found.accuracy == wanted.accuracy
            for name in ("nc1_trace_ratio", "cdnv", "nc2_etf", "nc3_self_duality"):
                rel = 1e-2 if dtype == torch.bfloat16 else 1e-6  # rounding of batches of another size
                assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=rel), name
        assert set(network.stages[-4:]) == {"validate"}  # the last that was read is the validation set
        assert "train" in network.stages

    def test_a_module_without_forward_is_refused_before_it_is_trained(self, fit: Any) -> None:
        network = Plain()
        before = network.net.get_parameter("0.weight").detach().clone()
        with pytest.raises(ArgumentError, match=r"model: Plain has no forward.*'net'"):
            fit(network, [CollapseCallback()])
        assert torch.equal(before, network.net.get_parameter("0.weight"))
        callback = CollapseCallback(model="net")
        fit(network, [callback])
        assert callback.results[1].cdnv == pytest.approx(directly(network, inputs()).cdnv, rel=1e-6)
        with pytest.raises(ArgumentError, match=r"no layer 'body'.*'net'"):
            fit(network, [CollapseCallback(model="body")])

    def test_loaders_in_lists_and_dictionaries(self, fit: Any) -> None:
        network = Network()
        train = {"labeled": loader(), "other": loader(5)}
        with pytest.raises(ArgumentError, match=r"which: got None.*'labeled', 'other'"):
            fit(Plain(), [CollapseCallback(model="net")], train)
        callback = CollapseCallback(which="labeled")
        held = CollapseCallback("validation", which=1, every=2)
        network.on_after_batch_transfer = lambda batch, dataloader_idx: batch  # type: ignore[method-assign]
        fit(network, [callback, held], train, [loader(1, 13), loader(2, 17)])
        assert callback.results[1].num_samples == N
        assert held.results[1].num_samples == 17
        alone = CollapseCallback("validation")
        fit(network, [alone], None, [loader(1, 13)], max_epochs=1)
        assert alone.results[0].num_samples == 13
        with pytest.raises(ArgumentError, match=r"which: got 2.*0, 1"):
            fit(network, [CollapseCallback("validation", which=2)], None, [loader(1, 13), loader(2, 17)])

    def test_the_last_epoch_is_measured_however_the_training_ends(self, fit: Any, tmp_path: Path) -> None:
        callback = CollapseCallback(every=100, metrics=("cdnv",))
        network = Network()
        stop = EarlyStopping("calm", patience=1, mode="min")
        trainer = fit(network, [callback, stop], None, loader(1), max_epochs=50)
        assert trainer.current_epoch == 2
        assert list(callback.results) == [1]
        wanted = directly(network, inputs()).cdnv
        assert callback.results[1].cdnv == pytest.approx(wanted, rel=1e-6)
        head, *lines = (tmp_path / "metrics.csv").read_text().splitlines()
        rows = [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]
        np.testing.assert_allclose([float(r["collapse/cdnv"]) for r in rows if r["collapse/cdnv"]], [wanted], rtol=1e-6)
        callback = CollapseCallback(every=100)
        fit(network, [callback], max_epochs=50, max_steps=8)
        assert list(callback.results) == [1]

    def test_loaders_are_read_as_far_as_the_trainer_reads_them(self, fit: Any) -> None:
        callback, held = CollapseCallback(every=9), CollapseCallback("validation", every=9)
        options = {"limit_train_batches": 2, "limit_val_batches": 0.5, "check_val_every_n_epoch": 2}
        network = Network()
        fit(network, [callback, held], None, loader(1, 16), **options)
        assert callback.results[1].cdnv == pytest.approx(directly(network, inputs()[:8]).cdnv, rel=1e-6)
        assert held.results[1].num_samples == 8
        one = CollapseCallback(num_classes=K)
        fit(Network(), [one], limit_train_batches=1, max_epochs=1)
        assert one.results[0].num_samples == 4

    def test_early_stopping_by_the_collapse(self, fit: Any) -> None:
        with pytest.raises(ArgumentError, match=r"every: EarlyStopping looks for 'collapse/cdnv'.*strict=False"):
            fit(Network(), [EarlyStopping("collapse/cdnv"), CollapseCallback(every=2)])
        with pytest.raises(ArgumentError, match=r"metrics: EarlyStopping looks for 'collapse/cdnv'.*add it"):
            fit(Network(), [EarlyStopping("collapse/cdnv"), CollapseCallback(metrics=("vci",))])
        # Of measurements that get no better the second one stops, and epochs between are not counted.
        stop = EarlyStopping("collapse/cdnv", strict=False, patience=1, min_delta=1e9)
        callback = CollapseCallback(every=3)
        trainer = fit(Network(), [stop, callback], max_epochs=30)
        assert list(callback.results) == [2, 5]
        assert trainer.current_epoch == 6

    def test_whoever_reads_a_value_finds_that_of_the_epoch(self, fit: Any, tmp_path: Path) -> None:
        def checkpoint(**options: Any) -> Any:
            return ModelCheckpoint(tmp_path, "{epoch}", "collapse/cdnv", save_top_k=-1, **options)

        refused: list[tuple[Any, dict[str, Any], dict[str, Any], str]] = [
            (checkpoint(), {"every": 2}, {}, r"every: ModelCheckpoint .* after each epoch.*every_n_epochs=2"),
            (checkpoint(every_n_epochs=3), {"every": 2}, {}, r"every: ModelCheckpoint .* after each 3 epochs"),
            (checkpoint(every_n_train_steps=2), {}, {}, r"data: ModelCheckpoint .* before the end.*every_n_epochs"),
            (checkpoint(save_on_train_epoch_end=False), {}, {}, r"data: ModelCheckpoint .* before the end"),
            (checkpoint(), {"metrics": ("vci",)}, {}, r"metrics: ModelCheckpoint looks for.*add it"),
            (EarlyStopping("collapse/cdnv"), {}, {"val_check_interval": 0.5}, r"data: EarlyStopping .* before the end"),
        ]
        for other, options, of_trainer, text in refused:
            with pytest.raises(ArgumentError, match=f"^{text}"):
                fit(
                    Network(),
                    [CollapseCallback(**options), other],
                    None,
                    loader(1),
                    enable_checkpointing=True,
                    **of_trainer,
                )
        kept, callback = checkpoint(every_n_epochs=2), CollapseCallback(every=2)
        fit(Network(), [callback, kept], None, loader(1), max_epochs=5, enable_checkpointing=True)
        assert list(callback.results) == [1, 3, 4]
        scores = {Path(path).stem: float(score) for path, score in kept.best_k_models.items()}
        assert scores == pytest.approx({f"epoch={e}": callback.results[e].cdnv for e in (1, 3)})

    def test_schedulers_find_the_value_of_the_epoch(self, fit: Any) -> None:
        class Scheduled(Network):
            def __init__(self, **how: Any) -> None:
                super().__init__()
                self.how = how

            def configure_optimizers(self) -> Any:
                optimizer = super().configure_optimizers()
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                known = {"scheduler": scheduler, "monitor": "collapse/cdnv"}
                return {"optimizer": optimizer, "lr_scheduler": known | self.how}

        with pytest.raises(ArgumentError, match=r'^every: ReduceLROnPlateau .*"frequency": 2'):
            fit(Scheduled(), [CollapseCallback(every=2)])
        with pytest.raises(ArgumentError, match=r'^data: ReduceLROnPlateau .*"interval": "epoch"'):
            fit(Scheduled(interval="step"), [CollapseCallback()])
        callback = CollapseCallback(every=2)
        fit(Scheduled(frequency=2), [callback], max_epochs=4)
        assert list(callback.results) == [1, 3]
