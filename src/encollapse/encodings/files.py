"""Encodings as files: JSON for people, ``.npz`` for size. Structured encodings are kept as their recipe."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import files
from encollapse.encodings.affine import AffineOneHot
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.multi_label import MultiLabel
from encollapse.encodings.shifted import Shifted
from encollapse.encodings.simplex import Simplex
from encollapse.errors import ArgumentError, FileFormatError

_FORMAT = "encollapse.encoding"
_VERSION = 1
_SUFFIXES = (".json", ".npz")


def save(encoding: Encoding, path: str | Path) -> Path:
    """Write `encoding` to a ``.json`` or ``.npz`` file."""
    target = files.with_suffix(path, "path", _SUFFIXES)
    record = _to_record(encoding)
    if target.suffix == ".json":
        return files.write_text(target, json.dumps(record, indent=1, allow_nan=False) + "\n")
    codewords = record.pop("codewords", None)
    arrays = {"record": np.array(json.dumps(record))}
    if codewords is not None:
        arrays["codewords"] = np.asarray(codewords)
    with files.atomic(target) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    return target


def load(path: str | Path) -> Encoding:
    """Read an encoding from a ``.json`` or ``.npz`` file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is not an encoding that this version reads.
    """
    source = files.with_suffix(path, "path", _SUFFIXES)
    try:
        record = _read_json(source) if source.suffix == ".json" else _read_npz(source)
        return _from_record(record)
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        reason = f"it has no entry {_key(error)}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{source}: not an encoding file of encollapse: {reason}") from None


def _key(error: KeyError) -> str:
    """The key itself; numpy puts it into a sentence."""
    return repr(str(error.args[0]).removesuffix(" is not a file in the archive"))


def _to_record(encoding: Encoding) -> dict[str, Any]:
    record: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "name": encoding.name}
    if encoding.classes != tuple(str(k) for k in range(encoding.num_classes)):
        record["classes"] = list(encoding.classes)
    if isinstance(encoding, AffineOneHot):
        return record | {
            "family": "affine-one-hot",
            "num_classes": encoding.num_classes,
            "scale": encoding.scale,
            "offset": encoding.offset,
        }
    if isinstance(encoding, Simplex):
        return record | {"family": "simplex", "num_classes": encoding.num_classes, "code_dim": encoding.code_dim}
    if isinstance(encoding, MultiLabel):
        return record | {
            "family": "multi-label",
            "num_labels": encoding.num_labels,
            "label_sets": [sorted(labels) for labels in encoding.label_sets],
            "classes": list(encoding.classes),
        }
    if isinstance(encoding, Shifted):
        return record | {"family": "shifted", "base": _to_record(encoding.base), "shift": encoding.shift.tolist()}
    return record | {"family": "dense", "codewords": encoding.codewords.tolist()}


def _from_record(record: Any) -> Encoding:
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ArgumentError(f'the entry "format" is not "{_FORMAT}"')
    if record.get("version") != _VERSION:
        raise ArgumentError(f"version {record.get('version')!r} is not one this release reads ({_VERSION})")
    family, classes = record["family"], record.get("classes")
    if family == "affine-one-hot":
        return AffineOneHot(
            record["num_classes"], record["scale"], record["offset"], name=record["name"], classes=classes
        )
    if family == "simplex":
        return Simplex(record["num_classes"], record["code_dim"], classes=classes)
    if family == "multi-label":
        return MultiLabel(record["label_sets"], record["num_labels"], classes=classes)
    if family == "shifted":
        base = _from_record(record["base"])
        if isinstance(base, Shifted):
            raise ArgumentError("its base is shifted too")
        return Shifted(base, record["shift"], name=record["name"])
    if family == "dense":
        return Encoding(record["codewords"], name=record["name"], classes=classes)
    raise ArgumentError(f"the family {family!r} is unknown to this release")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ArgumentError("it is nested too deeply") from None


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ArgumentError("it is not an .npz archive")
        record = json.loads(str(archive["record"][()]))
        if isinstance(record, dict) and record.get("family") == "dense":
            record["codewords"] = archive["codewords"]
    return record
