"""Arrays from files: ``.npy``, ``.npz``, ``.safetensors``, ``.parquet``. Nothing in a file is ever executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from encollapse._internal import archives, checks, files
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.data.io import parquet
from encollapse.errors import ArgumentError, FileFormatError

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
"""What files of arrays may be called."""

FEATURE_NAMES = ("features", "inputs")
LABEL_NAMES = ("labels", "label", "target", "class")
"""Arrays and columns that are features or labels unless another name is given. The first that is there counts."""


def load_array(path: str | Path, key: str | None = None) -> ArrayLike:
    """Read one array from a file.

    Parameters
    ----------
    path : str or Path
        A ``.npy`` file (memory-mapped, not read at once), an ``.npz`` archive, a ``.safetensors`` file or a
        ``.parquet`` table.
    key : str, optional
        Which array of an archive, or which column. It is not needed where there is only one. Without it, a table
        gives its only list column as a matrix, otherwise its only column, otherwise all floating-point
        columns but those named like labels as a matrix.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        In the dtype of the file, and a tensor from ``.safetensors``, as numpy has no bfloat16.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ArgumentError
        If the suffix is another one, `key` is unknown, or it is needed and was not given.
    FileFormatError
        If the file does not hold what its name says, or holds Python objects.

    Examples
    --------
    >>> import tempfile, numpy as np, encollapse as ec
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.savez(f"{folder.name}/head.npz", weight=np.eye(3, 5), bias=np.zeros(3))
    >>> ec.measure.load_array(f"{folder.name}/head.npz", "weight").shape
    (3, 5)
    """
    source = files.with_suffix(path, "path", SUFFIXES)
    if not files.is_file(source):
        raise FileNotFoundError(f"path: there is no file {str(path)!r}")
    if source.suffix == ".npy" and key is not None:
        raise ArgumentError(f"key: {source} holds a single array without a name; leave key out")
    if source.suffix == ".parquet":
        return _from_parquet(source, key)
    if source.suffix == ".safetensors":
        with open_safetensors(source) as tensors:
            return tensors.get_tensor(pick(source, list(tensors.keys()), key))
    with files.reading(source):
        magic = source.open("rb").read(6)
        if source.suffix == ".npz" and magic == np.lib.format.MAGIC_PREFIX:
            raise FileFormatError(f"{source}: not an .npz archive but a single array; rename it to .npy")
        if source.suffix == ".npy" and magic.startswith(b"PK"):
            raise FileFormatError(f"{source}: not an .npy file but an archive; rename it to .npz")
        if source.suffix == ".npy":
            if b"|O" in source.open("rb").read(128):
                raise FileFormatError(
                    f"{source}: holds Python objects, which are not read; save numbers, and number names by "
                    "classes, labels = np.unique(names.astype(str), return_inverse=True)"
                )
            array = np.load(source, mmap_mode="r", allow_pickle=False)
            wanted, held = array.offset + array.nbytes, source.stat().st_size
            if wanted != held:
                raise ValueError(f"its header promises {wanted} bytes, it has {held}")
            return np.asanyarray(array)
    return archives.read(source, pick(source, array_names(source), key))


def load_labels(path: str | Path, key: str | None = None) -> IntArray:
    """Read labels of a file as int64.

    Parameters
    ----------
    path, key
        As for :func:`load_array`.

    Returns
    -------
    (N,) int64 array
        Whole numbers of 0 or above.

    Raises
    ------
    FileNotFoundError, ArgumentError, FileFormatError
        As for :func:`load_array`, and if a label is below 0 or the array has another shape.
    ArgumentTypeError
        If they are no whole numbers.

    Examples
    --------
    >>> import tempfile, numpy as np, encollapse as ec
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/labels.npy", np.array([2, 0, 1], np.uint8))
    >>> ec.measure.load_labels(f"{folder.name}/labels.npy")
    array([2, 0, 1])
    """
    return checks.class_labels(load_array(path, key), 2**62, str(path))


def array_names(path: Path) -> list[str]:
    """Names of the arrays or columns in a file, or none for ``.npy``. Other entries of an archive are ignored."""
    if path.suffix == ".parquet":
        return parquet.column_names(path)
    if path.suffix == ".safetensors":
        with open_safetensors(path) as tensors:
            return list(tensors.keys())
    return archives.array_names(path) if path.suffix == ".npz" else []


def first_of(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of the wanted names that is there."""
    there = set(names)
    return next((name for name in wanted if name in there), None)


def pick(source: Path, names: list[str], key: str | None, name: str = "key") -> str:
    """Return the name of the array that is asked for by the argument `name`, or of the only one."""
    if not names:
        raise FileFormatError(f"{source}: holds no array")
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        asked = "several arrays" if key is None else f"no array {key!r}"
        raise ArgumentError(f"{name}: {source} holds {asked}; choose one of {', '.join(map(repr, names))}")
    return key


@contextmanager
def open_safetensors(source: Path) -> Iterator[Any]:
    """Yield the tensors of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with files.reading(source), safe_open(source, framework="pt") as tensors:
            yield cast(Any, tensors)
    except SafetensorError as error:
        raise FileFormatError(f"{source}: cannot be read as {source.suffix}: {error}") from None


def _from_parquet(source: Path, key: str | None) -> ArrayLike:
    names = parquet.column_names(source)
    if key is None and len(names) == 1:
        key = names[0]
    if key is not None and not parquet.is_list_column(source, pick(source, names, key)):
        return parquet.read_column(source, key)
    return parquet.ParquetRows(source, key, LABEL_NAMES).whole()
