"""Arrays from files: ``.npy``, ``.npz``, ``.safetensors``, ``.parquet``. Nothing in a file is ever executed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from encollapse._internal import checks, files
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.errors import ArgumentError, FileFormatError
from encollapse.measure.io import parquet

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
"""What files of arrays may be called."""


def load_array(path: str | Path, key: str | None = None) -> ArrayLike:
    """Read one array from a file.

    Parameters
    ----------
    path : str or Path
        A ``.npy`` file (memory-mapped, not read at once), an ``.npz`` archive, a ``.safetensors`` file or a
        ``.parquet`` table.
    key : str, optional
        Which array of an archive, or which column; not needed where there is only one. Without it, a table
        gives its only list column as a matrix, otherwise its only column, otherwise all floating-point
        columns as a matrix.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        In the dtype of the file; a tensor from ``.safetensors``, as numpy has no bfloat16.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ArgumentError
        If the suffix is another one, `key` is unknown, or it is needed and was not given.
    FileFormatError
        If the file does not hold what its name says, or holds Python objects.
    """
    source = files.with_suffix(path, "path", SUFFIXES)
    if not source.is_file():
        raise FileNotFoundError(f"path: there is no file {str(path)!r}")
    if source.suffix == ".npy" and key is not None:
        raise ArgumentError(f"key: {source} holds a single array without a name; leave key out")
    read = {".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": _read_parquet}
    return read[source.suffix](source, key)


def array_names(path: Path) -> list[str]:
    """Names of the arrays or columns in a file; none for ``.npy``."""
    if path.suffix == ".parquet":
        return parquet.column_names(path)
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return npz_names(archive)
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(path, framework="pt") as tensors:
                    return list(tensors.keys())
            except SafetensorError as error:
                raise not_an_array(path, error) from None
    except zipfile.BadZipFile as error:
        raise not_an_array(path, error) from None
    return []


def npz_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays of an archive; what else is in it is none of ours."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def load_features(path: str | Path, key: str | None = None) -> ArrayLike:
    """Read features ``(N, d)`` of a real floating-point dtype; see :func:`load_array`."""
    from encollapse.measure.moments.inputs import FeatureRows

    features = load_array(path, key)
    FeatureRows(features, str(path))
    return features


def load_labels(path: str | Path, key: str | None = None) -> IntArray:
    """Read labels ``(N,)``, whole numbers of 0 or above; see :func:`load_array`."""
    return checks.class_labels(load_array(path, key), 2**62, str(path))


def _read_npy(source: Path, key: str | None) -> ArrayLike:
    try:
        array = np.load(source, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise not_an_array(source, error) from None
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"{source}: not an .npy file but an archive; rename it to .npz")
    return array


def _read_npz(source: Path, key: str | None) -> ArrayLike:
    try:
        archive = np.load(source, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise FileFormatError(f"{source}: not an .npz archive but a single array; rename it to .npy")
        with archive:
            return np.asarray(archive[pick(source, array_names(source), key)])
    except (ArgumentError, FileFormatError):
        raise
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise not_an_array(source, error) from None


def _read_safetensors(source: Path, key: str | None) -> ArrayLike:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(source, framework="pt") as archive:
            return archive.get_tensor(pick(source, list(archive.keys()), key))
    except SafetensorError as error:
        raise not_an_array(source, error) from None


def _read_parquet(source: Path, key: str | None) -> ArrayLike:
    names = parquet.column_names(source)
    if key is None and len(names) == 1:
        key = names[0]
    if key is not None and not parquet.is_list_column(source, pick(source, names, key)):
        return parquet.read_column(source, key)
    rows = parquet.ParquetRows(source, key)
    blocks = list(rows.blocks(0, rows.num_rows, max(rows.num_rows, 1)))
    return np.concatenate(blocks) if blocks else np.empty((0, rows.feature_dim), np.float32)


def pick(source: Path, names: list[str], key: str | None) -> str:
    """Return the name of the array that is asked for, or of the only one."""
    if not names:
        raise FileFormatError(f"{source}: holds no array")
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        asked = "several arrays" if key is None else f"no array {key!r}"
        raise ArgumentError(f"key: {source} holds {asked}; choose one of {', '.join(map(repr, names))}")
    return key


def not_an_array(source: Path, error: Exception) -> FileFormatError:
    """Return the error that says why a file is not what its name says."""
    reason = str(error)
    if "pickle" in reason.lower():  # numpy takes whatever is not of its own making for a pickle
        reason = "it is no file of arrays, or it holds Python objects, which are not read"
    return FileFormatError(f"{source}: cannot be read as {source.suffix}: {reason}")
