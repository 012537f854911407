"""Real networks on real data: small models, the UFM objective, one training loop, and what came of it.

Names load on first use, so that :mod:`encollapse.train.settings` can be read without PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse._internal.extras import needed_by
from encollapse._internal.warn import warn

_HOMES = {
    "Backbone": "models",
    "Classifier": "models",
    "Run": "run",
    "Settings": "settings",
    "Stationarity": "loop.stationarity",
    "TrainingStatus": "loop.loop",
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
    "TrainingStatus",
    "fit",
    "load",
    "names",
    "objective",
    "stationarity",
]

if TYPE_CHECKING:
    from encollapse.train.fitting import fit
    from encollapse.train.loop.loop import TrainingStatus
    from encollapse.train.loop.stationarity import Stationarity, stationarity
    from encollapse.train.models import Backbone, Classifier, names
    from encollapse.train.run import Run, load
    from encollapse.train.settings import Settings
    from encollapse.train.ufm_objective import objective


_RENAMED = {"Status": "TrainingStatus"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warn(f"encollapse.train.{name} is now called {_RENAMED[name]}")
        name = _RENAMED[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'encollapse.train' has no attribute {name!r}")
    with needed_by("encollapse.train", "study"):
        module = importlib.import_module(f"encollapse.train.{_HOMES[name]}")
    return getattr(module, name)
