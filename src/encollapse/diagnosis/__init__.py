"""From a user's network, optimizer and loss to the law that holds for this training, and to how far the network is.

:func:`encollapse.diagnose` is the entry. This package needs torch. Importing ``encollapse`` alone does not load it. The
callbacks load with their framework when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse._internal.extras import needed_by

with needed_by("encollapse.diagnosis", "torch"):
    from encollapse.diagnosis.checkpoints import diagnose_checkpoints
    from encollapse.diagnosis.laws.law import Condition
    from encollapse.diagnosis.result import Diagnosis

if TYPE_CHECKING:
    from encollapse.diagnosis.lightning_callback import DiagnosisCallback
    from encollapse.diagnosis.trainer_callback import DiagnosisTrainerCallback

_CALLBACKS = {"DiagnosisCallback": "lightning_callback", "DiagnosisTrainerCallback": "trainer_callback"}

__all__ = ["Condition", "Diagnosis", "DiagnosisCallback", "DiagnosisTrainerCallback", "diagnose_checkpoints"]


def __getattr__(name: str) -> Any:
    if name not in _CALLBACKS:
        raise AttributeError(f"module 'encollapse.diagnosis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"encollapse.diagnosis.{_CALLBACKS[name]}"), name)
