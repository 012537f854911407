"""Rows of features in a file, read block by block, whatever the size of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from encollapse._internal import archives
from encollapse._internal.typing import ArrayLike
from encollapse.data.io import parquet
from encollapse.data.io.arrays import LABEL_NAMES, array_names, load_array, open_safetensors, pick
from encollapse.errors import FileFormatError


class RowFile(Protocol):
    """A matrix (num_rows, feature_dim) in a file."""

    num_rows: int
    feature_dim: int
    splittable: bool
    """Whether reading may start anywhere at no cost."""

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        """Rows from `start` to `stop`, at most `step` at a time."""
        ...


def open_rows(path: Path, key: str | None) -> RowFile:
    """Look at the header of a file of features.

    Raises
    ------
    FileFormatError
        If the file is torn, or does not hold a matrix.
    """
    if path.suffix == ".parquet":
        return parquet.ParquetRows(path, key, LABEL_NAMES)
    kinds: dict[str, Callable[[Path, str | None], RowFile]] = {".npz": _Streamed, ".safetensors": _Sliced}
    return kinds.get(path.suffix, _Mapped)(path, key)


def matrix_shape(path: Path, shape: Any) -> tuple[int, int]:
    """Return the shape of a matrix, or raise naming the file."""
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 2 or sizes[1] == 0:
        raise FileFormatError(
            f"{path}: expected features of shape (N, d), one row a sample, got {sizes}; average the positions, "
            "or flatten, array.reshape(len(array), -1)"
        )
    return sizes[0], sizes[1]


class _Mapped:
    """``.npy``: memory-mapped."""

    splittable = True

    def __init__(self, path: Path, key: str | None) -> None:
        self._array = load_array(path, key)
        self.num_rows, self.feature_dim = matrix_shape(path, self._array.shape)

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        for first in range(start, stop, step):
            yield self._array[first : min(first + step, stop)]


class _Sliced:
    """``.safetensors``: rows are read when they are asked for."""

    splittable = True

    def __init__(self, path: Path, key: str | None) -> None:
        self._path = path
        with open_safetensors(path) as tensors:
            self._name = pick(path, list(tensors.keys()), key)
            self.num_rows, self.feature_dim = matrix_shape(path, tensors.get_slice(self._name).get_shape())

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        with open_safetensors(self._path) as tensors:
            rows = tensors.get_slice(self._name)
            for first in range(start, stop, step):
                yield rows[first : min(first + step, stop)]


class _Streamed:
    """``.npz``, compressed or not: a stream that is decompressed once from its beginning."""

    splittable = False

    def __init__(self, path: Path, key: str | None) -> None:
        self._path, self._name = path, pick(path, array_names(path), key)
        with archives.opened(path, self._name) as (self._header, _):
            self.num_rows, self.feature_dim = matrix_shape(path, self._header.shape)

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        if self._header.by_column:  # rows are not contiguous: there is no way around reading it whole
            whole = archives.read(self._path, self._name)
            yield from (whole[first : min(first + step, stop)] for first in range(start, stop, step))
            return
        width = self.feature_dim * self._header.dtype.itemsize
        with archives.opened(self._path, self._name) as (header, stream):
            if header != self._header:
                raise FileFormatError(f"{self._path}: was changed while it was read; measure again when it is at rest")
            stream.seek(start * width, 1)
            for first in range(start, stop, step):
                rows = min(step, stop - first)
                data = stream.read(rows * width)
                if len(data) < rows * width:
                    raise EOFError(f"it ends within row {first + len(data) // width}")
                yield np.frombuffer(data, header.dtype).reshape(rows, self.feature_dim)
