"""Rows that wait: small batches are gathered in one block until it pays to multiply."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from encollapse._internal.typing import IntArray
from encollapse.measure.moments.accumulate import Workspace
from encollapse.measure.moments.inputs import Rows, has_finite_sum, rows_per_block
from encollapse.measure.moments.residuals import COMPILED_FROM
from encollapse.measure.moments.state import empty_rows

_MOST_ROWS = 2**16
"""More rows than this of few dimensions do not repay waiting, and their labels take more memory than they do."""


def waiting_rows(feature_dim: int) -> int:
    """How many rows wait at most: one block, 16 MiB in float32, or an eighth of a (d, d) total where that is more."""
    return min(rows_per_block(feature_dim), _MOST_ROWS)


class WaitingRows:
    """Features and labels that have been checked, in the order in which they came.

    Parameters
    ----------
    feature_dim : int
        Dimension d.
    dtype : torch.dtype
        float32 or float64, in which the features wait.
    device : torch.device
        Where they wait.
    covariance : bool
        Whether they wait for a product; otherwise only until the compiled loops repay looking for them.

    Attributes
    ----------
    room : Workspace
        What taking in one block leaves for the next, as long as nothing else changes the moments.
    resolution : float
        The coarsest machine epsilon of the features that wait.
    """

    def __init__(self, feature_dim: int, dtype: torch.dtype, device: torch.device, covariance: bool) -> None:
        most = waiting_rows(feature_dim)
        self.capacity = most if covariance else min(most, -(-COMPILED_FROM // feature_dim))
        self.dtype, self.resolution = dtype, 0.0
        self.room = Workspace()
        self._filled = 0
        with torch.inference_mode(False):  # what is made in that mode cannot be written to outside of it
            self._rows = empty_rows(self.capacity, feature_dim, dtype, device)
        # On the processor by numpy: the threads of torch cost more than a small batch.
        self._memory: Any = self._rows.numpy() if device.type == "cpu" else self._rows
        self._labels = np.empty(self.capacity, dtype=np.int64)

    def __len__(self) -> int:
        return self._filled

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return self._filled == self.capacity

    @property
    def rows(self) -> torch.Tensor:
        """The rows that wait (n, d), in memory that later ones overwrite."""
        return self._rows[: self._filled]

    @property
    def labels(self) -> torch.Tensor:
        """Their labels (n,)."""
        return torch.from_numpy(self._labels[: self._filled]).to(self._rows.device)

    def take(self, values: torch.Tensor | np.ndarray[Any, Any], labels: IntArray, start: int) -> int:
        """Let rows from `start` on wait, as many as there is room for, and return one past the last of them."""
        end = min(len(labels), start + self.capacity - self._filled)
        place = slice(self._filled, self._filled + end - start)
        self._memory[place] = values[start:end]
        self._labels[place] = labels[start:end]
        self._filled = place.stop
        return end

    def take_plain(self, values: Rows, labels: IntArray, num_classes: int, kernels: Any) -> bool:
        """Let a batch in the dtype of the others wait if there is room and nothing is wrong with it."""
        stop = self._filled + len(labels)
        if stop > self.capacity or values.dtype != self._memory.dtype:
            return False
        place = slice(self._filled, stop)
        if kernels is None:
            if not len(labels) or labels.min() < 0 or labels.max() >= num_classes or not has_finite_sum(values):
                return False
            self._memory[place], self._labels[place] = values, labels
        elif not kernels.copy_rows(values, labels, num_classes, self._memory[place], self._labels[place]):
            return False
        self._filled = stop
        return True

    def clear(self) -> None:
        """Forget the rows that waited."""
        self._filled, self.resolution = 0, 0.0
