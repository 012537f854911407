"""Encodings as files: JSON for people, ``.npz`` for size. What is written is a record of plain values.

Each kind of encoding says itself what its record holds and how it is made from one (``Encoding._entries`` and
``Encoding._from_entries``), so this module knows none of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from encollapse._internal import archives, files
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

T = TypeVar("T")

FORMAT = {"format": "encollapse.encoding", "version": 1}
"""What every record begins with, that of an encoding inside another one too."""

_SUFFIXES = (".json", ".npz")
_WHAT = "not an encoding file of encollapse"


def write(path: str | Path, record: dict[str, Any]) -> Path:
    """Write a record to a ``.json`` or ``.npz`` file, which appears whole or not at all."""
    target = files.with_suffix(path, "path", _SUFFIXES)
    record = FORMAT | record
    if target.suffix == ".json":
        return files.write_text(target, json.dumps(record, indent=1, allow_nan=False) + "\n")
    arrays = {"codewords": np.asarray(record.pop("codewords"))} if "codewords" in record else {}
    arrays["record"] = np.array(json.dumps(record))
    with files.atomic(target) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    return target


def read(path: str | Path, make: Callable[[dict[str, Any]], T]) -> T:
    """Read a record from a ``.json`` or ``.npz`` file and `make` an encoding of it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is not an encoding that this version reads.
    """
    source = files.with_suffix(path, "path", _SUFFIXES)
    try:
        with files.reading(source, _WHAT):
            record = json.loads(source.read_text(encoding="utf-8")) if source.suffix == ".json" else _read_npz(source)
            if not isinstance(record, dict) or record.get("format") != FORMAT["format"]:
                raise ArgumentError(f'the entry "format" is not "{FORMAT["format"]}"')
            if record.get("version") != FORMAT["version"]:
                raise ArgumentError(f"version {record.get('version')!r} is not one this release reads (1)")
            return make(record)
    except (ArgumentError, ArgumentTypeError, TypeError, KeyError) as error:
        reason = f"it has no entry {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{source}: {_WHAT}: {reason}") from None


def _read_npz(path: Path) -> Any:
    record = json.loads(str(archives.read(path, "record")[()]))
    if isinstance(record, dict) and record.get("family") == "dense":
        record["codewords"] = archives.read(path, "codewords")
    return record
