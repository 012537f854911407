"""Who reads our values while Lightning trains, and when: each has to find the value of the epoch that just ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from encollapse.errors import ArgumentError


@dataclass(frozen=True)
class Reader:
    """A callback or a scheduler that reads one of our values.

    Parameters
    ----------
    name, monitor : str
        Who reads, and what.
    period : int or None
        Epochs from one look to the next, each at the end of a training epoch; None if it looks at other times.
    always : str
        How it is made to look at the ends of training epochs.
    seldom : str
        How it is made to look after every `{}` epochs.
    strict : bool
        Whether a value that is missing ends the training.
    """

    name: str
    monitor: str
    period: int | None
    always: str
    seldom: str
    strict: bool = True


def readers(trainer: Any, prefix: str) -> Iterator[Reader]:
    """Those that read values whose names begin with `prefix`."""
    for other in trainer.early_stopping_callbacks:
        if _ours(other.monitor, prefix):
            period = 1 if getattr(other, "_check_on_train_epoch_end", True) else None
            yield Reader(
                "EarlyStopping",
                other.monitor,
                period,
                "EarlyStopping(..., check_on_train_epoch_end=True)",
                "EarlyStopping(..., strict=False), which then counts measurements",
                getattr(other, "strict", True),
            )
    for other in trainer.checkpoint_callbacks:
        if _ours(getattr(other, "monitor", None), prefix):
            inside = getattr(other, "_every_n_train_steps", 0) or getattr(other, "_train_time_interval", None)
            at_end = getattr(other, "_should_save_on_train_epoch_end", lambda _: True)(trainer)
            period = None if inside or not at_end else getattr(other, "_every_n_epochs", 1)
            yield Reader(
                "ModelCheckpoint",
                other.monitor,
                period,
                "ModelCheckpoint(..., every_n_epochs=..., save_on_train_epoch_end=True)",
                "ModelCheckpoint(..., every_n_epochs={})",
            )
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and _ours(config.monitor, prefix):
            period = config.frequency if config.interval == "epoch" else None
            yield Reader(
                type(config.scheduler).__name__,
                config.monitor,
                period,
                'the scheduler "interval": "epoch"',
                'the scheduler "frequency": {}',
                config.strict,
            )


def require_in_time(trainer: Any, prefix: str, metrics: Sequence[str], every: int) -> None:
    """Refuse readers that would find no value, or that of an epoch before.

    Raises
    ------
    ArgumentError
        If one looks for a value that is not among `metrics`, or at other times than those of a measurement.
    """
    for reader in readers(trainer, prefix):
        if reader.monitor.removeprefix(prefix) not in metrics:
            raise ArgumentError(f"metrics: {reader.name} looks for {reader.monitor!r}, which is not among them; add it")
        if reader.period is None:
            raise ArgumentError(
                f"data: {reader.name} looks for {reader.monitor!r} before the end of a training epoch, and it is "
                f"measured at the end, so it would find the value of an epoch before; give {reader.always}"
            )
        if reader.strict and reader.period % every:
            times = "each epoch" if reader.period == 1 else f"each {reader.period} epochs"
            raise ArgumentError(
                f"every: {reader.name} looks for {reader.monitor!r} after {times}, and it is measured only after each "
                f"{every} of them; give every=1, or {reader.seldom.format(every)}"
            )


def _ours(monitor: Any, prefix: str) -> bool:
    return isinstance(monitor, str) and monitor.startswith(prefix)
