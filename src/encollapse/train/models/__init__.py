"""Networks to train: backbones of our own, anybody's module by import path, and a linear head on top.

What this package says of a model by name (options, phase lengths) needs no torch. The networks load it on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from encollapse.train.models.catalog import check_options, lengths, names, recognized

if TYPE_CHECKING:
    from encollapse.train.models.building import build
    from encollapse.train.models.classifier import Backbone, Classifier, Cost, cost
    from encollapse.train.models.frozen import prepared

_LAZY = {
    "Backbone": "classifier",
    "Classifier": "classifier",
    "Cost": "classifier",
    "build": "building",
    "cost": "classifier",
    "prepared": "frozen",
}

__all__ = [
    "Backbone",
    "Classifier",
    "Cost",
    "build",
    "check_options",
    "cost",
    "lengths",
    "names",
    "prepared",
    "recognized",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"encollapse.train.models.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'encollapse.train.models' has no attribute {name!r}")
