"""Labelled data in plain numpy: a small catalogue that needs no download, and ``.npz`` files."""

from encollapse.data.catalogue import load, names, recognised
from encollapse.data.dataset import Dataset, Split

__all__ = ["Dataset", "Split", "load", "names", "recognised"]
