"""Data sets of one's own: files of arrays and tables, or a folder of them. Nothing in a file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import checks, files
from encollapse.data import idx, tables
from encollapse.data.dataset import Dataset, Split
from encollapse.data.io import parquet
from encollapse.data.io.arrays import FEATURE_NAMES, LABEL_NAMES, SUFFIXES, array_names, first_of, load_array
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

PACKED = (".npz", ".parquet", ".safetensors")
_NAMES = {"inputs": ("inputs", *FEATURE_NAMES), "labels": LABEL_NAMES}
ARRAYS = {f"{part}{name}": tuple(f"{part}{n}" for n in _NAMES[name]) for part in ("", "test_") for name in _NAMES}
ARRAYS["classes"] = ("classes",)
"""What an array is, and by which names. The first that is there counts."""

LAYOUT = (
    "inputs.npy and labels.npy, perhaps with test_inputs.npy, test_labels.npy and classes.npy; train.npz, .parquet or "
    ".safetensors, perhaps with a test file like it; or IDX files such as train-images-idx3-ubyte.gz"
)

Arrays = dict[str, np.ndarray[Any, Any]]


def recognized(path: Path) -> bool:
    """Whether :func:`from_path` would try to read it: a folder, or a file by its suffix."""
    return path.suffix in SUFFIXES or files.is_dir(path)


def files_of(path: Path) -> list[Path]:
    """Files that :func:`from_path` may read for a path: itself, or what in a folder has a name that it looks for."""
    if not files.is_dir(path):
        return [path]
    names = {f"{name}.npy" for known in ARRAYS.values() for name in known}
    names |= {f"{part}{suffix}" for part in ("train", "test") for suffix in PACKED}
    marks = tuple(mark for mark, _ in idx.PARTS.values())
    return sorted(f for f in path.iterdir() if f.is_file() and (f.name in names or f.name.startswith(marks)))


def from_path(path: Path, label: str | None = None, labels: str | Path | None = None) -> Dataset:
    """Read a data set from a file or a folder.

    ``.npz``, ``.safetensors``
        Arrays ``inputs`` (N, ...) and ``labels`` (N,), perhaps ``test_inputs`` with ``test_labels``, and ``classes``.
        The names of ``FEATURE_NAMES`` and ``LABEL_NAMES`` stand for the same.
    ``.npy``
        Inputs. The labels are in the file that `labels` names.
    ``.parquet``
        One sample a row. All columns but the label are inputs, as numbers or as one column of lists.
    a folder
        One of these with their companions: see ``LAYOUT``.

    Inputs are taken as they stand, without scaling. Labels are whole numbers from 0 on without gaps, or texts, which
    are numbered in alphabetical order (by size where all of them are numbers).

    Parameters
    ----------
    path : Path
        File or folder.
    label : str, optional
        Column with the labels of a Parquet file. Default: the first there is of ``LABEL_NAMES``.
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
    if not files.exists(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if files.is_dir(path) and idx.holds(path):
        return idx.read_folder(path, path.name)
    try:
        arrays = _folder(path, label) if files.is_dir(path) else _file(path, label, labels)
        for needed in ("inputs", "labels"):
            if needed not in arrays:
                raise ArgumentError(f"it has no array {needed!r}; a data set has inputs (N, ...) and labels (N,)")
        return _dataset(path.stem, arrays)
    except (ArgumentError, ArgumentTypeError, ValueError) as error:
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
    present = {file.stem for file in path.glob("*.npy")}
    found = {name: first_of(known, present) for name, known in ARRAYS.items()}
    if found["inputs"] is not None:
        return {name: _numpy(path / f"{own}.npy") for name, own in found.items() if own is not None}
    for suffix in PACKED:
        train, test = path / f"train{suffix}", path / f"test{suffix}"
        if train.is_file():
            arrays = _file(train, label, None)
            if test.is_file():
                held = _file(test, label, None)
                arrays |= {f"test_{name}": held[name] for name in ("inputs", "labels") if name in held}
            return arrays
    raise ArgumentError(f"the folder holds none of the layouts that are read; put there {LAYOUT}")


def _file(path: Path, label: str | None, labels: str | Path | None) -> Arrays:
    if path.suffix not in SUFFIXES:
        raise ArgumentError(f"expected a file ending in {', '.join(SUFFIXES)}")
    if path.suffix == ".npy":
        if labels is None:
            raise ArgumentError("labels: an .npy file holds inputs alone; give labels=FILE.npy")
        return {"inputs": _numpy(path), "labels": _numpy(Path(labels))}
    if labels is not None:
        raise ArgumentError(f"labels: {path.suffix} files bring their labels along; leave it out")
    names = array_names(path)
    if path.suffix != ".parquet":
        found = {name: first_of(known, names) for name, known in ARRAYS.items()}
        return {name: _numpy(path, own) for name, own in found.items() if own is not None}
    chosen = first_of(LABEL_NAMES, names) if label is None else label
    if chosen not in names:
        raise ArgumentError(
            f"label: there is no column {chosen or ' or '.join(LABEL_NAMES)!r}; it has {', '.join(names)}"
        )
    columns = [name for name in names if name != chosen]
    if not columns:
        raise ArgumentError("it has labels and no other column")
    read = parquet.read_columns(path, columns)
    inputs = read if isinstance(read, np.ndarray) else tables.numbers_of(read, "error")[0]
    return {"inputs": inputs, "labels": np.asarray(parquet.read_column(path, chosen))}


def _numpy(path: Path, key: str | None = None) -> np.ndarray[Any, Any]:
    array = load_array(path, key)
    return array if isinstance(array, np.ndarray) else checks.to_numpy(array, str(path))
