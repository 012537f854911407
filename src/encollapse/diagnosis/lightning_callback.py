"""`DiagnosisCallback`: diagnose a network while Lightning trains it."""

from __future__ import annotations

from typing import Any

from encollapse.diagnosis.callbacks import diagnosed
from encollapse.diagnosis.result import Diagnosis
from encollapse.measure.adapters.lightning_callback import CollapseCallback


class DiagnosisCallback(CollapseCallback):
    """Diagnose the training at the end of epochs, and log the excess over the minimum, its parts and the guarantee.

    Optimizer, scheduler and steps are those of the Trainer. Where a network cannot be diagnosed yet (the running
    statistics of a normalization need some steps), the reason is kept and nothing is logged.

    Parameters
    ----------
    data, every, prefix, split
        As in :class:`encollapse.measure.CollapseCallback`. The default prefix is ``"diagnosis/"``.
    **options
        For :func:`encollapse.diagnose`, such as ``loss``, ``head`` or ``encoding``.

    Attributes
    ----------
    results : dict
        The :class:`~encollapse.diagnosis.Diagnosis` of every epoch that was diagnosed.
    skipped : dict
        Reason, for every epoch that could not be.

    Examples
    --------
    >>> import encollapse as ec
    >>> callback = ec.diagnosis.DiagnosisCallback(every=10, loss="cross_entropy")
    >>> callback.results                          # filled by lightning.Trainer(callbacks=[callback]).fit(...)
    {}
    """

    results: dict[int, Diagnosis]  # type: ignore[assignment]

    def __init__(self, data: Any = "train", *, prefix: str = "diagnosis/", **options: Any) -> None:
        super().__init__(data, prefix=prefix, **options)
        self.skipped: dict[int, str] = {}

    def _look(self, trainer: Any, pl_module: Any, epoch: int) -> dict[str, float]:
        schedulers = trainer.lr_scheduler_configs
        return diagnosed(
            self,
            epoch,
            self._network(pl_module),
            self._batches(trainer),
            trainer.optimizers[0],
            scheduler=schedulers[0].scheduler if schedulers else None,
            steps=trainer.global_step,
        )
