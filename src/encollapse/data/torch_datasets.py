"""A map-style torch Dataset, read once into arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.progress import tracked
from encollapse.data.dataset import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError


def from_torch(
    dataset: Any,
    test: Any = None,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    progress: bool = True,
) -> Dataset:
    """Read every ``(input, label)`` of a map-style dataset, as ``torch.utils.data`` defines it.

    Random transformations are drawn once: every epoch sees the same samples, which is what collapse is about.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Anything with a length and items ``(input, label)``. Inputs are tensors, arrays or PIL images of one shape.
        Whole numbers of 8 bits are divided by 255. Images of two axes, and PIL images, come out as (C, H, W).
    test : torch.utils.data.Dataset, optional
        The test set.
    name : str, optional
        What tables and reports call it. Default: the name of its class.
    classes : sequence of str, optional
        Names of the classes. Default: the dataset's attribute ``classes`` if it has one.
    progress : bool
        Show a bar if the reading lasts over two seconds and standard error is a terminal.

    Returns
    -------
    Dataset

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If it has no length, an item is no pair, or inputs differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> import encollapse as ec
    >>> pairs = [(np.full((2, 3), k, dtype=np.uint8), k % 2) for k in range(5)]  # or a torch Dataset
    >>> data = ec.data.from_torch(pairs, name="pairs")
    >>> data, data.train.inputs.shape
    (Dataset('pairs', num_classes=2, train=5, test=0), (5, 1, 2, 3))
    """
    label = name or type(dataset).__name__
    train = _read(dataset, "dataset", progress)
    held = None if test is None else _read(test, "test", progress)
    if classes is None:
        classes = getattr(dataset, "classes", None) or ()
    bytes_seen = train[0].dtype == np.uint8
    provenance = {"source": label, "inputs": "pixels divided by 255" if bytes_seen else "as they are"}
    kept = None if held is None else Split(_scaled(held[0]), held[1])
    return Dataset(label, Split(_scaled(train[0]), train[1]), kept, tuple(classes), provenance)


def _read(dataset: Any, name: str, progress: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ArgumentTypeError(
            f"{name}: expected a map-style dataset with a length and items (input, label), got "
            f"{type(dataset).__name__}; read a stream into a list first"
        )
    inputs: np.ndarray[Any, Any] | None = None
    labels = np.empty(len(dataset), np.int64)
    for i in tracked(range(len(dataset)), len(dataset), show=progress, text=f"reading {type(dataset).__name__}"):
        item = dataset[i]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ArgumentTypeError(f"{name}: item {i} is no pair (input, label) but {type(item).__name__}")
        sample = _sample(item[0], f"{name}[{i}]")
        if inputs is None:
            inputs = np.empty((len(dataset), *sample.shape), sample.dtype)
        if sample.shape != inputs.shape[1:] or sample.dtype != inputs.dtype:
            raise ArgumentError(
                f"{name}: item {i} has shape {sample.shape} and dtype {sample.dtype}, the first one "
                f"{inputs.shape[1:]} and {inputs.dtype}; bring them to one shape and dtype"
            )
        inputs[i] = sample
        target = checks.to_numpy(item[1], f"{name}[{i}]")
        if target.size != 1 or target.dtype.kind not in "iu":
            raise ArgumentTypeError(f"{name}: the label of item {i} is {item[1]!r}; expected one whole number")
        labels[i] = int(target.reshape(()))
    if inputs is None:
        raise ArgumentError(f"{name}: it has no items")
    return inputs, labels


def _sample(value: Any, name: str) -> np.ndarray[Any, Any]:
    """An input as an array, with the channels of images first."""
    if hasattr(value, "getbands"):  # a PIL image, whose channels come last
        pixels = np.asarray(value)
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    sample = checks.to_numpy(value, name)
    return sample[None] if sample.ndim == 2 else np.atleast_1d(sample)


def _scaled(inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return inputs / np.float32(255) if inputs.dtype == np.uint8 else inputs
