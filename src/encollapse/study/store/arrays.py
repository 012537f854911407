"""The files of a trial: class geometries and frames of its training as safetensors, its history as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from encollapse._internal import files
from encollapse.errors import FileFormatError
from encollapse.geometry import ClassGeometry
from encollapse.geometry.arrays import Arrays, from_arrays

_OF_FRAMES = ("epoch", "class_means", "weight", "bias", "samples", "sample_labels")


def frame_arrays(frames: Iterable[Any]) -> Arrays:
    """Stack the frames of a training along a first axis, in float32: ``frames.class_means`` (F, d, K) and so on."""
    frames = list(frames)
    columns = {name: [getattr(frame, name) for frame in frames] for name in _OF_FRAMES}
    known = {name: values for name, values in columns.items() if values and values[0] is not None}
    stacked = {f"frames.{name}": np.stack([np.asarray(v) for v in values]) for name, values in known.items()}
    return {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in stacked.items()}


def save_arrays(path: Path, arrays: Arrays) -> Path:
    """Write arrays to a safetensors file, which appears whole or not at all, even after a power failure."""
    # safetensors writes the memory of an array as it lies.
    laid_out = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    with files.atomic(path) as temporary:
        save_file(laid_out, temporary)
        _flush(temporary)
    return path


def digest_of(path: Path) -> str:
    """A hash of what the file of a trial holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content(path: Path, digest: str | None) -> bytes:
    """What the file of a trial holds, if that has the digest with which it was stored."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _damaged(path, error.strerror or error) from None
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(path, "its digest is another than when it was stored")
    return content


def load_arrays(path: Path, digest: str | None = None) -> Arrays:
    """Read what :func:`save_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it cannot be read, or does not have the `digest` with which it was stored.
    """
    content = _content(path, digest)
    try:
        return {name: np.array(value) for name, value in load(content).items()}
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from None


def load_geometries(path: Path, digest: str | None = None) -> tuple[ClassGeometry | None, ClassGeometry]:
    """Read (predicted, measured) from the arrays of a trial.

    The prediction is None where the theory has no method for the trial.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file does not hold two geometries.
    """
    arrays = load_arrays(path, digest)
    try:
        predicted = from_arrays(arrays, "predicted") if "predicted.feature_gram" in arrays else None
        return predicted, from_arrays(arrays, "measured")
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def save_history(path: Path, history: Iterable[Mapping[str, Any]]) -> Path:
    """Write the history of a training, a line a row, to a JSON file that appears whole or not at all."""
    rows = [json.dumps(row, allow_nan=False) for row in history]
    with files.atomic(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
        _flush(temporary)
    return path


def load_history(path: Path, digest: str | None = None) -> list[dict[str, Any]]:
    """Read what :func:`save_history` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it cannot be read, or does not have the `digest` with which it was stored.
    """
    content = _content(path, digest)
    try:
        rows = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _damaged(path, "not a list of rows")
    return rows


def _flush(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _damaged(path: Path, error: Exception | str) -> FileFormatError:
    return FileFormatError(f"{path}: not what a trial wrote ({error})")
