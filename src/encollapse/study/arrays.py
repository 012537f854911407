"""Class geometries as ``.npz`` files: the artefacts of a trial."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from encollapse import _files
from encollapse.errors import FileFormatError
from encollapse.geometry import ClassGeometry

_FIELDS = ("feature_gram", "counts", "classifier_gram", "class_outputs", "bias", "within")

Arrays = dict[str, np.ndarray[Any, Any]]


def to_arrays(geometry: ClassGeometry, prefix: str) -> Arrays:
    """Fields of a geometry under the names ``prefix.field``; what is None is left out."""
    values = {name: getattr(geometry, name) for name in _FIELDS}
    return {f"{prefix}.{name}": np.asarray(value) for name, value in values.items() if value is not None}


def from_arrays(arrays: Arrays, prefix: str) -> ClassGeometry:
    """Inverse of :func:`to_arrays`; `prefix` becomes the source in the provenance."""
    fields = {name: arrays.get(f"{prefix}.{name}") for name in _FIELDS}
    return ClassGeometry(**fields, provenance={"source": prefix})


def save_geometries(path: Path, predicted: ClassGeometry | None, measured: ClassGeometry) -> Path:
    """Write the geometries of a trial to an ``.npz`` file, which appears whole or not at all."""
    arrays = to_arrays(measured, "measured")
    if predicted is not None:
        arrays |= to_arrays(predicted, "predicted")
    with _files.atomic(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    return path


def load_geometries(path: Path) -> tuple[ClassGeometry | None, ClassGeometry]:
    """Read (predicted, measured) as written by :func:`save_geometries`.

    The prediction is None where the theory has no method for the trial.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file does not hold two geometries.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        predicted = from_arrays(arrays, "predicted") if "predicted.feature_gram" in arrays else None
        return predicted, from_arrays(arrays, "measured")
    except (ValueError, TypeError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise FileFormatError(
            f"{path}: not the geometries of a trial ({error}); delete it and run the study again"
        ) from None
