"""Networks of users and the data that run through them, as the commands that measure a network take them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


_NEAR = 256  # samples that run through a network at a time


def network_and_loader(model: str, data: str, batch_size: int | None) -> tuple[nn.Module, Any, int]:
    """Return the network of ``FILE.py:NAME``, batches of the training set in its dtype, and the number of classes.

    Without a size the batches are as equal as can be: a small rest would look like one of the training.
    """
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from encollapse import data as data_sets
    from encollapse._internal import checks
    from encollapse.train.models.imported import imported

    network, dataset = imported(model, {}), data_sets.load(data)
    inputs, first = torch.tensor(dataset.train.inputs), next(network.parameters(), None)
    samples = TensorDataset(inputs if first is None else inputs.to(first.dtype), torch.tensor(dataset.train.labels))
    if batch_size is None:
        size = math.ceil(len(samples) / math.ceil(len(samples) / _NEAR))
    else:
        size = checks.integer(batch_size, "batch_size", minimum=1)
    return network, DataLoader(samples, batch_size=size), dataset.num_classes
