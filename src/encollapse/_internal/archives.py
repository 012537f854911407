"""`.npz` archives: what an array is, and what memory it takes, is known from its header before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import files, memory
from encollapse.errors import FileFormatError


@dataclass(frozen=True)
class Header:
    """What an array in an archive is: its shape, its dtype, and whether its columns stand one after the other."""

    shape: tuple[int, ...]
    by_column: bool
    dtype: np.dtype[Any]


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an archive. Other entries are ignored."""
    with files.reading(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


@contextmanager
def opened(path: Path, name: str) -> Iterator[tuple[Header, Any]]:
    """Yield the header of an array and the stream of its entries.

    Raises
    ------
    FileFormatError
        If the archive is damaged, has no such array, or the header promises other than what follows.
    """
    with files.reading(path), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise FileFormatError(f"{path}: holds no array {name!r}")
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as stream:
            header = _header(stream)
            wanted, held = math.prod(header.shape) * header.dtype.itemsize, member.file_size - stream.tell()
            if header.dtype.hasobject:
                raise FileFormatError(
                    f"{path}: cannot be read as {path.suffix}: it holds Python objects, which are not read"
                )
            if wanted != held:
                raise ValueError(f"the header of {name!r} promises {wanted} bytes, {held} follow")
            yield header, stream


def read(path: Path, name: str) -> np.ndarray[Any, Any]:
    """Read one array whole.

    Raises
    ------
    FileFormatError
        As for :func:`opened`.
    MemoryLimitError
        If it needs more memory than there is, or unpacks to a hundred times what it is in the file and gibibytes.
    """
    with opened(path, name) as (header, stream):
        size = math.prod(header.shape) * header.dtype.itemsize
        memory.require_free(
            f"{path}: the array {name!r}",
            size,
            stored=path.stat().st_size,
            instead="write it as .npy, row by row, which is read where it lies",
        )
        array = np.empty(math.prod(header.shape), header.dtype)
        data, done = array.view(np.uint8) if size else array, 0
        while done < size:
            got = stream.readinto(data[done : done + 2**24])
            if not got:
                raise EOFError(f"it ends {size - done} bytes too early")
            done += got
        stream.read(1)  # the sum of the bytes is compared at their end
        return array.reshape(header.shape, order="F" if header.by_column else "C")


def _header(stream: Any) -> Header:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in read:
        raise ValueError(f"its header has version {version}")
    return Header(*read[version](stream))
