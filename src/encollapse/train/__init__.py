"""Real networks on real data: small models, the UFM objective, one training loop, and what came of it.

Names load on first use, so that :mod:`encollapse.train.settings` can be read without PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse.errors import MissingDependencyError

_HOMES = {
    "Backbone": "models",
    "Classifier": "models",
    "Run": "run",
    "Stationarity": "stationary",
    "Status": "run",
    "fit": "fitting",
    "names": "models",
    "objective": "objectives",
    "stationarity": "stationary",
}

__all__ = [
    "Backbone",
    "Classifier",
    "Run",
    "Stationarity",
    "Status",
    "fit",
    "names",
    "objective",
    "stationarity",
]

if TYPE_CHECKING:
    from encollapse.train.fitting import fit
    from encollapse.train.models import Backbone, Classifier, names
    from encollapse.train.objectives import objective
    from encollapse.train.run import Run, Status
    from encollapse.train.stationary import Stationarity, stationarity


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'encollapse.train' has no attribute {name!r}")
    try:
        import torch as _torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "encollapse.train needs PyTorch, which is not installed: pip install 'encollapse[study]'"
        ) from None
    return getattr(importlib.import_module(f"encollapse.train.{_HOMES[name]}"), name)
