"""Features and labels as they come in: checked once, then handed on in float64 blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from encollapse import _checks
from encollapse._typing import ArrayLike, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError

BLOCK_ENTRIES = 2**22
"""Entries of a block of features that is worked on at once (32 MiB in float64)."""

_EPS = float(np.finfo(np.float64).eps)


class RowSource(Protocol):
    """Features that can be read again and again, block by block."""

    @property
    def num_rows(self) -> int:
        """Number of samples."""
        ...

    def blocks(self, device: torch.device) -> Iterator[torch.Tensor]:
        """Finite float64 blocks (rows, feature_dim) on `device`, in the order of the samples."""
        ...


class FeatureRows:
    """Features ``(N, d)`` given as an array, a tensor or nested lists; converted only block by block.

    Raises
    ------
    ArgumentError
        If the shape is not ``(N, d)`` with ``d`` at least 1, and while reading if an entry is not finite.
    ArgumentTypeError
        If the dtype is not a real floating-point one.
    """

    def __init__(self, features: ArrayLike, name: str = "features") -> None:
        self._name = name
        self._rows: Any = (
            features.detach() if isinstance(features, torch.Tensor) else _checks.to_numpy(features, name)
        )
        self.resolution = _resolution(self._rows, name)
        shape = tuple(self._rows.shape)
        if len(shape) != 2:
            raise ArgumentError(
                f"{name}: expected shape (N, d), one row a sample, got {shape}; flatten it with "
                ".reshape(len(x), -1)"
            )
        if shape[1] == 0:
            raise ArgumentError(f"{name}: expected at least one feature dimension, got shape {shape}")
        self.num_rows, self.feature_dim = shape

    @property
    def device(self) -> torch.device:
        """Where the features are."""
        return self._rows.device if isinstance(self._rows, torch.Tensor) else torch.device("cpu")

    def blocks(self, device: torch.device) -> Iterator[torch.Tensor]:
        """Finite float64 blocks on `device`, in the order of the samples."""
        step = rows_per_block(self.feature_dim)
        for start in range(0, self.num_rows, step):
            block = to_float64(self._rows[start : start + step], device)
            require_finite(block, self._name, first_row=start)
            yield block


def rows_per_block(feature_dim: int) -> int:
    """Rows of a block of about ``BLOCK_ENTRIES`` entries."""
    return max(1, BLOCK_ENTRIES // feature_dim)


def to_float64(rows: Any, device: torch.device) -> torch.Tensor:
    """Return rows, a tensor or a numpy array, as a float64 tensor on `device`."""
    if isinstance(rows, torch.Tensor):
        reachable = rows.cpu() if rows.device.type == "mps" else rows
        return reachable.to(device=device, dtype=torch.float64)
    # torch can share neither read-only nor negatively strided memory: a copy it is.
    return torch.from_numpy(np.array(rows, dtype=np.float64, order="C")).to(device)


def require_finite(block: torch.Tensor, name: str, *, first_row: int = 0) -> None:
    """Raise naming the first row with an entry that is not finite."""
    bad = ~torch.isfinite(block)
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ArgumentError(
            f"{name}: every entry must be finite, got {float(block[row, column])} in row {first_row + row}, "
            f"column {column}; remove or repair such rows first"
        )


def labels_for(labels: ArrayLike, num_classes: int, num_rows: int, name: str = "labels") -> IntArray:
    """Return labels ``(N,)`` from 0 to K - 1, one for each of `num_rows` rows of features."""
    checked = _checks.class_labels(labels, num_classes, name)
    if len(checked) != num_rows:
        raise ArgumentError(f"{name}: got {len(checked)} labels for {num_rows} rows of features")
    return checked


def float64_device(device: torch.device | str, name: str = "device") -> torch.device:
    """Return the device if it computes in float64.

    Raises
    ------
    ArgumentError
        If it does not (Apple's ``mps``), or is not there.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=place)
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            f"{name}: {device!s} cannot hold float64 numbers ({reason}); use 'cpu' or a CUDA device"
        ) from None
    return place


def _resolution(rows: Any, name: str) -> float:
    if isinstance(rows, torch.Tensor):
        if not rows.is_floating_point():
            raise _not_floating(name, str(rows.dtype).removeprefix("torch."), ".double()")
        if rows.layout != torch.strided:
            raise ArgumentTypeError(f"{name}: expected a dense tensor, got {rows.layout}; use .to_dense()")
        return max(float(torch.finfo(rows.dtype).eps), _EPS)
    if rows.dtype.kind != "f":
        raise _not_floating(name, str(rows.dtype), ".astype(float)")
    return max(float(np.finfo(rows.dtype).eps), _EPS)


def _not_floating(name: str, dtype: str, cure: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{name}: expected real floating-point numbers, got dtype {dtype}; convert with {cure} if that is meant"
    )
