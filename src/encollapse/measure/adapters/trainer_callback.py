"""`CollapseTrainerCallback`: measure a network while the Trainer of transformers trains it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import Trainer, TrainerCallback

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.measure.adapters import chosen_metrics, entries, one_of
from encollapse.measure.model import SplitBatches, measure_model
from encollapse.measure.result import Collapse


class CollapseTrainerCallback(TrainerCallback):
    """Measure the collapse at the end of epochs and log it wherever the Trainer logs.

    Use it as ``trainer.add_callback(CollapseTrainerCallback(trainer))``. The network runs once more over the
    data, in evaluation mode and without gradients, and is left as it was. In a distributed run the samples
    of all processes are measured together.

    Parameters
    ----------
    trainer : transformers.Trainer
        Whose model, data and log to use.
    data : {"train", "eval"}
        Which of its data sets to measure on. Both are read in order and to the last sample, without shuffling.
    every : int
        Epochs from one measurement to the next. The last epoch is always measured, also where the training stops in it
        (``max_steps``, early stopping).
    metrics : sequence of str, optional
        Which values of :class:`Collapse` to log. Default: all that have a value.
    prefix : str
        What comes before the names in the log.
    split : callable, optional
        Takes a batch apart into (inputs, labels). Default: the entry ``labels``, or the one
        that ``label_names`` of the Trainer names, and the rest.
    which : str, optional
        Key of the evaluation set, where the Trainer has a dictionary of several.
    **options
        For :func:`measure_model`, such as ``head``, ``encoding``, ``num_classes`` or ``convention``.

    Attributes
    ----------
    results : dict
        The :class:`Collapse` of every epoch that was measured, 1 for the first.

    Raises
    ------
    ArgumentError
        If `data` or a metric is unknown, or `every` is below 1, or when the training starts, if the Trainer has no such
        data, or its ``metric_for_best_model`` is one of these values, which it does not look for where they are.
    ArgumentTypeError
        If `trainer` is no ``transformers.Trainer``.

    Examples
    --------
    >>> import encollapse as ec
    >>> trainer.add_callback(ec.measure.CollapseTrainerCallback(trainer, every=2))  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    """

    def __init__(
        self,
        trainer: Trainer,
        data: str = "train",
        *,
        every: int = 1,
        metrics: Sequence[str] | None = None,
        prefix: str = "collapse/",
        split: Callable[[Any], tuple[Any, Any]] | None = None,
        which: str | None = None,
        **options: Any,
    ) -> None:
        self._trainer: Any = checks.instance(trainer, "trainer", Trainer, what="a transformers.Trainer")
        self._data = checks.choice(data, "data", ("train", "eval"))
        self._every = checks.integer(every, "every", minimum=1)
        self._metrics, self._prefix, self._split = chosen_metrics(metrics), prefix, split or self._labels_of
        self._which = which
        self._options: dict[str, Any] = {"progress": False} | options
        self._passed_over: int | None = None
        self.results: dict[int, Collapse] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse what would fail at the end of an epoch, before the first one."""
        self._dataset()
        monitored = str(args.metric_for_best_model or "").removeprefix("eval_")
        if monitored.startswith(self._prefix):
            raise ArgumentError(
                f"metric_for_best_model: the Trainer looks for it among the values of its evaluation, and "
                f"{monitored!r} is logged apart from them; choose one of compute_metrics"
            )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, where this epoch is due or the training stops in it."""
        epoch = math.ceil(state.epoch - _FULL)
        last = max(state.num_train_epochs, args.num_train_epochs) if state.num_train_epochs else args.num_train_epochs
        if epoch % self._every and epoch < last and not getattr(control, "should_training_stop", False):
            self._passed_over = epoch
            return
        self._measure(args, epoch)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the epoch that was passed over, if the evaluation after it has stopped the training."""
        if control.should_training_stop and self._passed_over is not None:
            self._measure(args, self._passed_over)

    on_save = on_evaluate  # of a callback that decides after this one

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the last epoch, if it was passed over and the network is still that of this epoch."""
        if self._passed_over is not None and not args.load_best_model_at_end:
            self._measure(args, self._passed_over)

    def _measure(self, args: Any, epoch: int) -> None:
        self._passed_over = None
        trainer, dataset = self._trainer, self._dataset()
        dropped, args.dataloader_drop_last = args.dataloader_drop_last, False  # for training; here every sample counts
        try:
            loader = trainer.get_test_dataloader(dataset)
        finally:
            args.dataloader_drop_last = dropped
        batches = SplitBatches(loader, self._split)
        with trainer.compute_loss_context_manager():
            values = self._look(batches, epoch)
        trainer.log(values)

    def _dataset(self) -> Any:
        """The data set to measure on."""
        dataset: Any = self._trainer.train_dataset if self._data == "train" else self._trainer.eval_dataset
        if dataset is None:
            raise ArgumentError(f"data: the Trainer has no {self._data} data set")
        named = isinstance(dataset, dict)
        return one_of(dataset, self._which, f"{self._data} data sets")[0] if named else dataset

    def _look(self, batches: SplitBatches, epoch: int) -> dict[str, float]:
        """Measure now, keep the result, and return what is logged."""
        result = measure_model(self._trainer.model, batches, distributed=True, **self._options)
        self.results[epoch] = result
        return entries(result, self._metrics, self._prefix)

    def _labels_of(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Take out the labels, under the name that the Trainer knows them by where it is another."""
        names = [name for name in self._trainer.label_names or () if name in batch]
        if "labels" in batch or len(names) != 1:
            return split_labels(batch)
        return {name: value for name, value in batch.items() if name != names[0]}, batch[names[0]]


_FULL = 1e-6
"""Share of an epoch below which another one has not begun: steps are added up in floating point."""


def split_labels(batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Take the labels out of a batch of transformers.

    Raises
    ------
    ArgumentError
        If it has no entry ``labels``.
    """
    if "labels" not in batch:
        raise ArgumentError(
            f"data: a batch has no 'labels', only {', '.join(map(repr, batch))}; give split=..., which "
            "takes a batch apart into (inputs, labels)"
        )
    return {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]
