"""`CollapseCallback`: measure a network while Lightning trains it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.measure.adapters import chosen_metrics, entries
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
    was; in a distributed run the samples of all processes are measured together.

    Parameters
    ----------
    data : {"train", "validation"} or loader
        What to measure on: a loader of the Trainer, or any loader of batches.
    every : int
        Epochs from one measurement to the next. The last epoch is always measured.
    metrics : sequence of str, optional
        Which values of :class:`Collapse` to log; default all that have a value.
    prefix : str
        What comes before the names in the log.
    split : callable, optional
        Takes a batch apart into (inputs, labels); needed where batches are not such pairs.
    **options
        For :func:`measure_model`, such as ``head``, ``encoding``, ``num_classes`` or ``convention``.

    Attributes
    ----------
    results : dict
        The :class:`Collapse` of every epoch that was measured.

    Raises
    ------
    ArgumentError
        If `data` or a metric is unknown, or `every` is below 1; when training, if the Trainer has no such loader.

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
        **options: Any,
    ) -> None:
        self._data = checks.choice(data, "data", ("train", "validation")) if isinstance(data, str) else data
        self._every = checks.integer(every, "every", minimum=1)
        self._metrics, self._prefix, self._split = chosen_metrics(metrics), prefix, split
        self._options: dict[str, Any] = {"progress": False} | options
        self.results: dict[int, Collapse] = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, where this epoch is due."""
        epoch = trainer.current_epoch
        if (epoch + 1) % self._every and epoch + 1 != trainer.max_epochs:
            return
        with trainer.precision_plugin.forward_context():
            values = self._look(trainer, pl_module, epoch)
        pl_module.log_dict(values, sync_dist=True)

    def _look(self, trainer: Any, pl_module: Any, epoch: int) -> dict[str, float]:
        """Measure now, keep the result, and return what is logged."""
        result = measure_model(pl_module, self._batches(trainer), distributed=True, **self._options)
        self.results[epoch] = result
        return entries(result, self._metrics, self._prefix)

    def _batches(self, trainer: Any) -> Iterable[Any]:
        loaders = {"train": trainer.train_dataloader, "validation": trainer.val_dataloaders}
        loader = loaders[self._data] if isinstance(self._data, str) else self._data
        if loader is None:
            raise ArgumentError(f"data: the Trainer has no {self._data} loader; pass a loader instead")
        return loader if self._split is None else SplitBatches(loader, self._split)
