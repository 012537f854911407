"""Files that a study names: found beside the study file, and known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encollapse import data
from encollapse._files import atomic
from encollapse.data.openml import PREFIX
from encollapse.encodings import Encoding
from encollapse.errors import FileFormatError

Spec = dict[str, Any]


def locate_encoding(spec: Spec, base: Path) -> Spec:
    """Give a name to an encoding that is to be designed, and to one from a file, with its whole path and a digest.

    Raises
    ------
    FileNotFoundError, FileFormatError
        If there is no such file, or it is not an encoding.
    """
    if "design" in spec:
        return {"name": f"designed {spec['design']}", "design": spec["design"]}
    if "file" not in spec:
        return spec
    path = _find(spec["file"], base)
    return {"name": Encoding.load(path).name, "file": str(path), "content": digest(path)}


def locate_dataset(spec: Spec, base: Path) -> Spec:
    """Add to a data set that is a file or a folder its whole path, and to a file a digest of its content."""
    name = spec["name"]
    if name in data.names() or name.startswith(PREFIX):
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


def adopted(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings whose encoding file is the copy of it in the folder of a study; the same trial."""
    spec = settings["encoding"]
    if "file" not in spec:
        return dict(settings)
    copy = folder / "encodings" / f"{spec['content']}{Path(spec['file']).suffix}"
    return {**settings, "encoding": {**spec, "file": str(copy.resolve())}}


def adopt(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the encoding file of a trial into the folder of a study, where it stays what it is.

    Raises
    ------
    FileFormatError
        If the file has changed since the study was loaded.
    """
    mine = adopted(settings, folder)
    if "file" in mine["encoding"] and not Path(mine["encoding"]["file"]).exists():
        content = require_content(settings["encoding"]).read_bytes()
        with atomic(Path(mine["encoding"]["file"])) as temporary:
            temporary.write_bytes(content)
    return mine


def _find(name: str, base: Path) -> Path:
    path = base / name
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; paths start at the study file")
    return path.resolve()
