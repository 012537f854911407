"""Files that a study names: found beside the study file, and known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encollapse import data
from encollapse.encodings import Encoding
from encollapse.errors import FileFormatError

Spec = dict[str, Any]


def locate_encoding(spec: Spec, base: Path) -> Spec:
    """Replace a file's name by its whole path, the name of its encoding and a digest of its content.

    Raises
    ------
    FileNotFoundError, FileFormatError
        If there is no such file, or it is not an encoding.
    """
    if "file" not in spec:
        return spec
    path = _find(spec["file"], base)
    return {"name": Encoding.load(path).name, "file": str(path), "content": digest(path)}


def locate_dataset(spec: Spec, base: Path) -> Spec:
    """Add to a data set that is a file or a folder its whole path, and to a file a digest of its content."""
    name = spec["name"]
    if name in data.names() or not (Path(name).suffix or (base / name).exists()):
        return spec
    path = _find(name, base)
    located = spec | {"file": str(path)}
    return located | {"content": digest(path)} if path.is_file() else located


def digest(path: Path) -> str:
    """Sixteen hexadecimal digits, a hash of what the file holds."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def require_content(spec: Mapping[str, Any]) -> Path:
    """Path of a located file.

    Raises
    ------
    FileFormatError
        If the file has changed since the study was loaded.
    """
    path = Path(spec["file"])
    if "content" in spec and digest(path) != spec["content"]:
        raise FileFormatError(f"{path}: changed while the study was running; run the study again")
    return path


def _find(name: str, base: Path) -> Path:
    path = base / name
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; paths start at the study file")
    return path.resolve()
