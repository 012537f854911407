"""Real networks on real data: small models, the UFM objective, one training loop, and what came of it.

Names load on first use, so that :mod:`encollapse.train.settings` can be read without PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse._internal.extras import needed_by

_HOMES = {
    "Backbone": "models",
    "Classifier": "models",
    "Run": "run",
    "Settings": "settings",
    "Stationarity": "loop.stationarity",
    "Status": "loop.loop",
    "fit": "fitting",
    "load": "run",
    "names": "models",
    "objective": "ufm_objective",
    "stationarity": "loop.stationarity",
}

__all__ = [
    "Backbone",
    "Classifier",
    "Run",
    "Settings",
    "Stationarity",
    "Status",
    "fit",
    "load",
    "names",
    "objective",
    "stationarity",
]

if TYPE_CHECKING:
    from encollapse.train.fitting import fit
    from encollapse.train.loop.loop import Status
    from encollapse.train.loop.stationarity import Stationarity, stationarity
    from encollapse.train.models import Backbone, Classifier, names
    from encollapse.train.run import Run, load
    from encollapse.train.settings import Settings
    from encollapse.train.ufm_objective import objective


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'encollapse.train' has no attribute {name!r}")
    with needed_by("encollapse.train", "study"):
        module = importlib.import_module(f"encollapse.train.{_HOMES[name]}")
    return getattr(module, name)
