"""Data sets of one's own: ``.npz``, ``.npy`` and Parquet files, or a folder of them. Nothing in a file is executed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from encollapse.data import idx, tables
from encollapse.data.dataset import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, MissingDependencyError

SUFFIXES = (".npz", ".npy", ".parquet")
ARRAYS = ("inputs", "labels", "test_inputs", "test_labels", "classes")
LABEL_COLUMNS = ("label", "labels", "target", "class")
LAYOUT = (
    "inputs.npy and labels.npy, perhaps with test_inputs.npy, test_labels.npy and classes.npy; train.npz or "
    "train.parquet, perhaps with test.npz or test.parquet; or IDX files such as train-images-idx3-ubyte.gz"
)

Arrays = dict[str, np.ndarray[Any, Any]]


def recognized(path: Path) -> bool:
    """Whether :func:`from_path` would try to read it: a folder, or a file by its suffix."""
    return path.suffix in SUFFIXES or path.is_dir()


def files_of(path: Path) -> list[Path]:
    """Files that :func:`from_path` may read for a path: itself, or what in a folder has a name that it looks for."""
    if not path.is_dir():
        return [path]
    names = {f"{name}.npy" for name in ARRAYS}
    names |= {f"{part}{suffix}" for part in ("train", "test") for suffix in (".npz", ".parquet")}
    marks = tuple(mark for mark, _ in idx.PARTS.values())
    return sorted(f for f in path.iterdir() if f.is_file() and (f.name in names or f.name.startswith(marks)))


def from_path(path: Path, label: str | None = None, labels: str | Path | None = None) -> Dataset:
    """Read a data set from a file or a folder.

    ``.npz``
        Arrays ``inputs`` (N, ...) and ``labels`` (N,), perhaps ``test_inputs`` with ``test_labels``, and ``classes``.
    ``.npy``
        Inputs; the labels are in the ``.npy`` file that `labels` names.
    ``.parquet``
        One sample a row; all columns but the label are inputs, as numbers or as one column of lists.
    a folder
        One of these with their companions: see ``LAYOUT``.

    Inputs are taken as they stand, without scaling. Labels are whole numbers from 0 on without gaps, or texts, which
    are numbered in alphabetical order (by size where all of them are numbers).

    Parameters
    ----------
    path : Path
        File or folder.
    label : str, optional
        Column with the labels of a Parquet file; default the first there is of label, labels, target, class.
    labels : str or path, optional
        File with the labels of a single ``.npy`` file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is not what its name says, or its arrays do not make a data set.
    MissingDependencyError
        If pyarrow is needed and not installed.
    """
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if path.is_dir() and idx.holds(path):
        return idx.read_folder(path, path.name)
    try:
        arrays = _folder(path, label) if path.is_dir() else _file(path, label, labels)
        for needed in ("inputs", "labels"):
            if needed not in arrays:
                raise ArgumentError(f"it has no array {needed!r}; a data set has inputs (N, ...) and labels (N,)")
        return _dataset(path.stem, arrays)
    except (ArgumentError, ArgumentTypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path}: not a data set: {error}") from None


def _dataset(name: str, arrays: Arrays) -> Dataset:
    classes = tuple(str(c) for c in arrays.get("classes", ()))
    held = "test_inputs" in arrays or "test_labels" in arrays
    for needed in ("test_inputs", "test_labels"):
        if held and needed not in arrays:
            raise ArgumentError(f"it has no array {needed!r}; a test set has inputs and labels")
    parts = [arrays["labels"], arrays["test_labels"]] if held else [arrays["labels"]]
    if not classes and any(part.dtype.kind in "USOb" for part in parts):
        # Numbered together: the same value is the same class in both.
        numbers, classes = tables.classes_of(np.concatenate(parts))
        parts = list(np.split(numbers, [len(parts[0])])) if held else [numbers]
    test = Split(arrays["test_inputs"], parts[1]) if held else None
    return Dataset(name, Split(arrays["inputs"], parts[0]), test, classes, {"inputs": "as they are"})


def _folder(path: Path, label: str | None) -> Arrays:
    found = {name: path / f"{name}.npy" for name in ARRAYS}
    if found["inputs"].is_file():
        return {name: _npy(file) for name, file in found.items() if file.is_file()}
    for suffix in (".npz", ".parquet"):
        train, test = path / f"train{suffix}", path / f"test{suffix}"
        if train.is_file():
            arrays = _file(train, label, None)
            if test.is_file():
                held = _file(test, label, None)
                arrays |= {f"test_{name}": held[name] for name in ("inputs", "labels") if name in held}
            return arrays
    raise ArgumentError(f"the folder holds none of the layouts that are read; put there {LAYOUT}")


def _file(path: Path, label: str | None, labels: str | Path | None) -> Arrays:
    if path.suffix == ".npy":
        if labels is None:
            raise ArgumentError("labels: an .npy file holds inputs alone; give labels=FILE.npy")
        return {"inputs": _npy(path), "labels": _npy(Path(labels))}
    if labels is not None:
        raise ArgumentError(f"labels: {path.suffix} files bring their labels along; leave it out")
    readers: dict[str, Callable[[], Arrays]] = {".npz": lambda: _npz(path), ".parquet": lambda: _parquet(path, label)}
    if path.suffix not in readers:
        raise ArgumentError(f"expected a file ending in {', '.join(SUFFIXES)}")
    return readers[path.suffix]()


def _npy(path: Path) -> np.ndarray[Any, Any]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"{path.name} is not an .npy file but an archive; rename it to .npz")
    return array


def _npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ArgumentError("it is not an .npz archive")
        return {name: archive[name] for name in ARRAYS if name in archive.files}


def _parquet(path: Path, label: str | None) -> Arrays:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingDependencyError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install 'encollapse[parquet]'"
        ) from None
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ArgumentError(str(error)) from None
    names = table.column_names
    chosen = next((name for name in LABEL_COLUMNS if name in names), None) if label is None else label
    if chosen not in names:
        raise ArgumentError(
            f"label: there is no column {chosen or ' or '.join(LABEL_COLUMNS)!r}; it has {', '.join(names)}"
        )
    columns = [name for name in names if name != chosen]
    if not columns:
        raise ArgumentError("it has labels and no other column")
    return {"inputs": _inputs(table, columns), "labels": table[chosen].to_numpy()}


def _inputs(table: Any, columns: list[str]) -> np.ndarray[Any, Any]:
    """Numbers (N, p) from the columns of a pyarrow table: a single one of lists, or any others."""
    import pyarrow.compute as compute
    from pyarrow import types

    kinds = [table[name].type for name in columns]
    if len(columns) == 1 and (types.is_list(kinds[0]) or types.is_fixed_size_list(kinds[0])):
        lists = table[columns[0]]
        sizes = compute.unique(compute.list_value_length(lists)).to_pylist()
        if len(sizes) != 1 or not sizes[0]:
            raise ArgumentError(f"{columns[0]}: expected lists of one length, got lengths {sizes[:5]}")
        return np.asarray(compute.list_flatten(lists).to_numpy()).reshape(-1, sizes[0])
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in kinds):
        return np.column_stack([table[name].to_numpy() for name in columns])
    return tables.numbers_of(table.select(columns).to_pandas(), "error")[0]
