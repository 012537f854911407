"""`DiagnosisTrainerCallback`: diagnose a network while the Trainer of transformers trains it."""

from __future__ import annotations

from typing import Any

from encollapse.diagnosis.callbacks import diagnosed
from encollapse.diagnosis.result import Diagnosis
from encollapse.measure.adapters.trainer_callback import CollapseTrainerCallback
from encollapse.measure.model import SplitBatches


class DiagnosisTrainerCallback(CollapseTrainerCallback):
    """Diagnose the training at the end of epochs, and log the excess over the minimum, its parts and the guarantee.

    Use it as ``trainer.add_callback(DiagnosisTrainerCallback(trainer))``. Optimizer, scheduler and steps are those of
    the Trainer, whose default optimizer is AdamW: its decoupled decay belongs to no objective, and then the law is
    ``"none"`` and there is no excess.

    Parameters
    ----------
    trainer, data, every, prefix, split
        As in :class:`encollapse.measure.CollapseTrainerCallback`. The default prefix is ``"diagnosis/"``.
    **options
        For :func:`encollapse.diagnose`, such as ``loss``, ``head`` or ``encoding``.

    Attributes
    ----------
    results : dict
        The :class:`~encollapse.diagnosis.Diagnosis` after every number of epochs that was diagnosed.
    skipped : dict
        Reason, for every epoch that could not be.

    Examples
    --------
    >>> import encollapse as ec
    >>> trainer.add_callback(ec.diagnosis.DiagnosisTrainerCallback(trainer, every=2))  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    """

    results: dict[int, Diagnosis]  # type: ignore[assignment]

    def __init__(self, trainer: Any, data: str = "train", *, prefix: str = "diagnosis/", **options: Any) -> None:
        super().__init__(trainer, data, prefix=prefix, **options)
        self.skipped: dict[int, str] = {}

    def _look(self, batches: SplitBatches, epoch: int) -> dict[str, float]:
        trainer = self._trainer
        return diagnosed(
            self,
            epoch,
            trainer.model,
            batches,
            trainer.optimizer,
            scheduler=getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler),
            steps=trainer.state.global_step,
        )
