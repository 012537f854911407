"""Labeled data in plain numpy: a catalog, files of one's own, OpenML, torch datasets, and seeded changes to them."""

from typing import Any

from encollapse._internal.warn import warn
from encollapse.data.catalog import Description, describe, load, names, options_of, recognized
from encollapse.data.dataset import Dataset, Split
from encollapse.data.imbalance import class_counts
from encollapse.data.label_noise import with_label_noise
from encollapse.data.sources import gaussian_mixture
from encollapse.data.tables import standardized
from encollapse.data.torch_datasets import from_torch

__all__ = [
    "Dataset",
    "Description",
    "Split",
    "class_counts",
    "describe",
    "from_torch",
    "gaussian_mixture",
    "load",
    "names",
    "options_of",
    "recognized",
    "standardized",
    "with_label_noise",
]

_RENAMED = {"recognised": "recognized", "standardised": "standardized"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module 'encollapse.data' has no attribute {name!r}")
    warn(f"encollapse.data.{name} is now called {_RENAMED[name]}")
    return globals()[_RENAMED[name]]
