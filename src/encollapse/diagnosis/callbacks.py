"""What the callbacks of Lightning and transformers share: one diagnosis, kept and turned into values to log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from encollapse.diagnosis.diagnose import diagnose
from encollapse.errors import ArgumentError


def diagnosed(
    callback: Any, epoch: int, network: nn.Module, batches: Iterable[Any], optimizer: Any, **known: Any
) -> dict[str, float]:
    """Diagnose now, keep the result or the reason why there is none, and return what is logged."""
    try:
        found = diagnose(network, batches, optimizer, **known, **callback._options)
    except ArgumentError as error:
        callback.skipped[epoch] = str(error)
        return {}
    callback.results[epoch] = found
    values = {} if found.excess is None else found.excess.logged()
    if found.comparison is not None:
        values |= {row.name: row.value for row in found.comparison.rows if row.name in ("gram_error", "shape_error")}
    if found.decay_time is not None:
        values["decay_time"] = found.decay_time.spent
    return {callback._prefix + name: value for name, value in values.items() if value is not None}
