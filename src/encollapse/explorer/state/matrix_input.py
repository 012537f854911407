"""Matrices that people paste or load: read within limits, refused before they cost anything."""

from __future__ import annotations

import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.encodings import Encoding
from encollapse.errors import EncollapseError

MOST_CLASSES = 200
"""Most classes that the page takes: above it a Gram matrix has no pixel for an entry."""

MOST_OUTPUTS = 512
"""Longest codeword that the page takes."""

MOST_CHARACTERS = 1_000_000
"""Longest text of a matrix or a tree."""

MOST_ENTRIES = 40_000
"""Most entries of a matrix that the page takes."""

_SEPARATORS = re.compile(r"[,\s]+")


def matrix(text: str) -> FloatArray:
    """Read a matrix written row by row: a line or a semicolon ends a row, or nested lists of JSON.

    Raises
    ------
    ValueError
        If it is too large, has rows of unequal length, or an entry is not a finite number.
    """
    body = text.strip()
    if not body:
        raise ValueError("paste a matrix, one row a line")
    if body[0] in "[{":
        return _checked(_rows_of_json(body))
    lines = [line.strip().strip(",") for line in re.split(r"[;\n]+", body)]
    _require_room(len(_SEPARATORS.findall(body)) + body.count(";") + 1)
    return _checked([_SEPARATORS.split(line) for line in lines if line])


def square(text: str) -> FloatArray:
    """Read a matrix with as many rows as columns."""
    values = matrix(text)
    if values.shape[0] != values.shape[1]:
        raise ValueError(f"expected as many rows as columns, got {values.shape[0]} × {values.shape[1]}")
    return values


def as_text(values: FloatArray) -> str:
    """Write a matrix so that :func:`matrix` reads the same numbers."""
    return ";".join(",".join(_entry(float(x)) for x in row) for row in values)


def from_file(name: str, content: bytes) -> FloatArray:
    """Read the content of a file that was chosen in the browser. Its name only tells the format.

    ``.npy``, an encoding or nested lists in ``.json``, or text with a row a line. Nothing in it is ever executed.
    """
    suffix = Path(name).suffix.lower()
    if suffix == ".npy":
        return _npy(content)
    if suffix not in (".json", ".csv", ".tsv", ".txt"):
        raise ValueError(f"files ending in “{shown(suffix)}” are not read; give .npy, .json, .csv, .tsv or .txt")
    if len(content) > MOST_CHARACTERS:
        raise ValueError(f"the file has {len(content)} bytes; the page takes up to {MOST_CHARACTERS}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the file is not text in UTF-8") from None
    return matrix(text)


def _npy(content: bytes) -> FloatArray:
    file = io.BytesIO(content)
    broken = ValueError("the file is not a whole .npy file")
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    except (ValueError, EOFError, OSError):
        raise broken from None
    # The header is believed only after its size: numpy would set the memory aside first.
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise ValueError(f"expected a matrix of real numbers, got shape {shape} of {dtype}")
    _require_room(shape[0] * shape[1])
    file.seek(0)
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise broken from None
    return _checked(values)


def _rows_of_json(body: str) -> Any:
    _require_room(body.count(",") + 1)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("this looks like JSON and is not; write rows as [[1, 0], [0, 1]]") from None
    return _codewords_of_record(value, body) if isinstance(value, dict) else value


def _codewords_of_record(record: dict[str, Any], body: str) -> Any:
    for name, most in (("num_classes", MOST_CLASSES), ("code_dim", MOST_OUTPUTS), ("num_labels", MOST_OUTPUTS)):
        size = record.get(name, 0)
        if not isinstance(size, int) or size > most:
            raise ValueError(f"{name}: the page takes up to {most}, got {shown(str(size))}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoding.json"
        path.write_text(body, encoding="utf-8")
        try:
            return Encoding.load(path).codewords
        except EncollapseError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise ValueError(reason) from None


def _require_room(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise ValueError(f"the matrix has about {entries} entries; the page takes up to {MOST_ENTRIES}")


def _checked(rows: Any) -> FloatArray:
    try:
        lengths = {len(row) for row in rows}
    except TypeError:
        raise ValueError("expected rows of numbers, such as [[1, 0], [0, 1]]") from None
    if len(lengths) != 1:
        raise ValueError("the rows differ in length")
    try:
        values = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"not a number: “{shown(_first_word(rows))}”") from None
    if values.ndim != 2 or values.size == 0:
        raise ValueError("expected rows of numbers, such as [[1, 0], [0, 1]]")
    _require_room(values.size)
    if not np.isfinite(values).all():
        i, j = (int(x) for x in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(f"every entry must be finite; row {i + 1}, column {j + 1} is {values[i, j]}")
    if np.abs(values).max() > 1e100:
        raise ValueError("entries beyond 1e100 are out of range")
    return values


def _first_word(rows: Any) -> str:
    for row in rows:
        for entry in row:
            try:
                float(entry)
            except (ValueError, TypeError):
                return str(entry)
    return "?"


def _entry(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def shown(text: str, most: int = 40) -> str:
    """Show a text in a message, cut to a readable length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
