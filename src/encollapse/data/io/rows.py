"""Rows of features in a file, read block by block, whatever the size of the file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from encollapse._internal.typing import ArrayLike
from encollapse.data.io import parquet
from encollapse.data.io.arrays import LABEL_NAMES, array_names, load_array, open_safetensors, pick, reading
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
        raise FileFormatError(f"{path}: expected features of shape (N, d), one row a sample, got {sizes}")
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
        self._path = path
        self._name = f"{pick(path, array_names(path), key)}.npy"
        with reading(path), zipfile.ZipFile(path) as archive, archive.open(self._name) as stream:
            shape, self._by_column, self._dtype = _header(stream)
        if self._dtype.hasobject:
            raise FileFormatError(f"{path}: cannot be read as .npz: it holds Python objects, which are not read")
        self.num_rows, self.feature_dim = matrix_shape(path, shape)

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        if self._by_column:  # rows are not contiguous: there is no way around reading it whole
            whole = load_array(self._path, self._name.removesuffix(".npy"))
            yield from (whole[first : min(first + step, stop)] for first in range(start, stop, step))
            return
        width = self.feature_dim * self._dtype.itemsize
        with reading(self._path), zipfile.ZipFile(self._path) as archive, archive.open(self._name) as stream:
            _header(stream)
            stream.seek(start * width, 1)
            for first in range(start, stop, step):
                rows = min(step, stop - first)
                data = stream.read(rows * width)
                if len(data) < rows * width:
                    raise EOFError(f"it ends within row {first + len(data) // width}")
                yield np.frombuffer(data, self._dtype).reshape(rows, self.feature_dim)


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in read:
        raise ValueError(f"its header has version {version}")
    return read[version](stream)
