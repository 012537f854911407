"""Labeled data in plain numpy: a catalogue, files of one's own, OpenML, torch datasets, and seeded changes to them."""

from encollapse.data.catalogue import Description, describe, load, names, options_of, recognized
from encollapse.data.dataset import Dataset, Split
from encollapse.data.imbalance import class_counts
from encollapse.data.label_noise import with_label_noise
from encollapse.data.mixtures import gaussian_mixture
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
