"""`CollapseCallback`: measure a network while Lightning trains it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.measure.adapters import chosen_metrics, entries, one_of
from encollapse.measure.adapters.lightning_monitors import readers, require_in_time
from encollapse.measure.forward.capture import find_layer
from encollapse.measure.forward.running import require_readable
from encollapse.measure.model import SplitBatches, measure_model
from encollapse.measure.result import Collapse

if TYPE_CHECKING:
    from lightning.pytorch import Callback as _Callback
else:
    # Lightning lives under two names; a callback is one for every name that is in use.
    _names = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    if not _names:
        _names = ["lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"]
    _Callback = type("_Callback", tuple(importlib.import_module(name).Callback for name in _names), {})


class CollapseCallback(_Callback):
    """Measure the collapse at the end of training epochs and log it to the loggers of the Trainer.

    The network runs once more over the data, in evaluation mode and without gradients, and is left as it
    was. In a distributed run the samples of all processes are measured together.

    Parameters
    ----------
    data : {"train", "validation"} or loader
        What to measure on: a loader of the Trainer, as far as it reads it (``limit_train_batches``,
        ``fast_dev_run``), or any loader of batches.
    every : int
        Epochs from one measurement to the next. The last epoch is always measured. Where the training ends by
        surprise (early stopping), when it has ended, and its values go to the loggers alone.
    metrics : sequence of str, optional
        Which values of :class:`Collapse` to log. Default: all that have a value.
    prefix : str
        What comes before the names in the log.
    split : callable, optional
        Takes a batch apart into (inputs, labels). It is needed where batches are not such pairs. Batches are what the
        training step sees: converted to the precision of the Trainer, and after ``on_after_batch_transfer``.
    model : str, optional
        Name of the submodule to measure. It is needed where the LightningModule has no ``forward``.
    which : str or int, optional
        Key or number of the loader, where the Trainer has several.
    **options
        For :func:`measure_model`, such as ``head``, ``encoding``, ``num_classes`` or ``convention``.

    Attributes
    ----------
    results : dict
        The :class:`Collapse` of every epoch that was measured.

    Raises
    ------
    ArgumentError
        If `data` or a metric is unknown, or `every` is below 1. When the training starts, if the Trainer has no such
        loader or several, the module no ``forward``, the strategy shards it by FSDP1, or ``EarlyStopping``,
        ``ModelCheckpoint`` or a scheduler would look for a value that is not there, of an epoch before, or not among
        `metrics`.

    Examples
    --------
    >>> import encollapse as ec
    >>> callback = ec.measure.CollapseCallback(every=10, metrics=("nc1_pinv", "nc2_etf"))
    >>> callback.results                          # filled by lightning.Trainer(callbacks=[callback]).fit(...)
    {}
    """

    def __init__(
        self,
        data: str | Iterable[Any] = "train",
        *,
        every: int = 1,
        metrics: Sequence[str] | None = None,
        prefix: str = "collapse/",
        split: Callable[[Any], tuple[Any, Any]] | None = None,
        model: str | None = None,
        which: str | int | None = None,
        **options: Any,
    ) -> None:
        self._data = checks.choice(data, "data", ("train", "validation")) if isinstance(data, str) else data
        self._every = checks.integer(every, "every", minimum=1)
        self._metrics, self._prefix, self._split = chosen_metrics(metrics), prefix, split
        self._model, self._which = model, which
        self._options: dict[str, Any] = {"progress": False} | options
        self._passed_over: int | None = None
        self.results: dict[int, Collapse] = {}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a network that cannot run by itself, before it is trained."""
        self._network(pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what would fail at the end of an epoch, before the first one."""
        self._batches(trainer)
        require_in_time(trainer, self._prefix, self._metrics, self._every)
        require_readable(trainer.strategy.model)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, where this epoch is due."""
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step
        if (epoch + 1) % self._every and not last:
            self._passed_over = epoch
            for reader in readers(trainer, self._prefix):  # for whom the value of an epoch before would count once more
                trainer.callback_metrics.pop(reader.monitor, None)
            return
        self._passed_over = None
        pl_module.log_dict(self._values(trainer, pl_module, epoch), sync_dist=True)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure the last epoch, if it was passed over as nobody knew that it was the last."""
        if self._passed_over is None:
            return
        values = self._values(trainer, pl_module, self._passed_over)
        self._passed_over = None
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)

    def _values(self, trainer: Any, pl_module: Any, epoch: int) -> dict[str, float]:
        """Measure as the Trainer runs the network: in its precision, and in the stage of the loader."""
        if self._data == "validation":
            trainer.validating = True
        try:
            with trainer.precision_plugin.forward_context():
                return self._look(trainer, pl_module, epoch)
        finally:
            trainer.training = True

    def _look(self, trainer: Any, pl_module: Any, epoch: int) -> dict[str, float]:
        """Measure now, keep the result, and return what is logged."""
        result = measure_model(self._network(pl_module), self._batches(trainer), distributed=True, **self._options)
        self.results[epoch] = result
        return entries(result, self._metrics, self._prefix)

    def _network(self, pl_module: Any) -> nn.Module:
        """The network to measure."""
        if self._model is not None:
            return find_layer(pl_module, self._model)[1]
        if getattr(pl_module.forward, "__qualname__", "") == "LightningModule.forward":
            names = ", ".join(repr(name) for name, _ in pl_module.named_children()) or "none"
            raise ArgumentError(
                f"model: {type(pl_module).__name__} has no forward; give it one that returns the outputs, or name the "
                f"submodule to measure by model=... ({names})"
            )
        network: nn.Module = pl_module
        return network

    def _batches(self, trainer: Any) -> Iterable[Any]:
        """Batches as the network gets them in a step."""
        loader, number, limit = self._data, 0, None
        if isinstance(loader, str):
            found, limit = _loaders(trainer, loader)
            if found is None:
                raise ArgumentError(f"data: the Trainer has no {loader} loader; pass a loader instead")
            loader, number = one_of(found, self._which, f"{loader} loaders")
        module, split = trainer.lightning_module, self._split

        def seen(batch: Any) -> Any:
            batch = trainer.precision_plugin.convert_input(batch)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=number)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=number)
            return batch if split is None else split(batch)

        return SplitBatches(loader, seen, limit)


def _loaders(trainer: Any, data: str) -> tuple[Any, int | float]:
    """Loaders of the Trainer, and how many of their batches, or which share, it reads."""
    if data == "train":
        return trainer.train_dataloader, trainer.limit_train_batches
    if trainer.val_dataloaders is None and trainer.enable_validation:
        # It makes them at the first validation, which may be epochs away.
        trainer.validating = True
        try:
            trainer.fit_loop.epoch_loop.val_loop.setup_data()
        finally:
            trainer.training = True
    return trainer.val_dataloaders, trainer.limit_val_batches
