"""Files that a study names: found beside the study file, and known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from encollapse import data
from encollapse._internal.files import atomic
from encollapse.data import folders
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
    """Add to a data set of files its whole path, that of a file of labels, and a digest of what they hold."""
    name = spec["name"]
    if name in data.names() or name.startswith(PREFIX):
        return spec
    path = _find(name, base)
    located = spec | {"file": str(path)}
    labels = spec.get("options", {}).get("labels")
    if isinstance(labels, str):
        located["labels"] = str(_find(labels, base))
    return located | {"content": _digest_of(located)}


def locate_model(spec: Spec) -> Spec:
    """Add to a network what identifies the files that it names: its source, an extractor, weights.

    They are looked for as the training looks for them, from the current folder. A package has its import path alone.
    """
    options = spec.get("options", {})
    named = [spec["name"], *(options.get(key) for key in _MODEL_FILES)]
    files = [path for path in map(_named_file, named) if path is not None]
    return spec | {"content": _joined(files)} if files else spec


_MODEL_FILES = ("extractor", "weights")
"""Options of a network that may name a file."""


def _named_file(name: Any) -> Path | None:
    if not isinstance(name, str):
        return None
    source, _, member = name.rpartition(":")
    path = Path(source if member and source.endswith(".py") else name)
    return path.resolve() if path.is_file() else None


def _digest_of(spec: Mapping[str, Any]) -> str:
    files = folders.files_of(Path(spec["file"]))
    return _joined([*files, Path(spec["labels"])] if "labels" in spec else files)


def _joined(files: Sequence[Path]) -> str:
    """Digest of files: of one, of what it holds, and of several or none, of their names and what they hold."""
    if len(files) == 1:
        return digest(files[0])
    text = "".join(f"{path.name}\0{digest(path)}\n" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest(path: Path) -> str:
    """Sixteen hexadecimal digits, a hash of what the file holds."""
    about = path.stat()
    return _digest(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:  # the last two only tell whether it must be read again
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def require_content(spec: Mapping[str, Any]) -> Path:
    """Path of a located file or folder.

    Raises
    ------
    FileFormatError
        If the file has changed since the study was loaded.
    """
    path = Path(spec["file"])
    if "content" in spec and _digest_of(spec) != spec["content"]:
        raise FileFormatError(f"{path}: changed while the study was running; run the study again")
    return path


def require_model(settings: Mapping[str, Any]) -> None:
    """Refuse a trial whose network is no longer what it was when the study was loaded.

    Raises
    ------
    FileFormatError
        If a file that it names has changed.
    """
    spec = {"name": settings["model"], "options": settings.get("model_options", {})}
    if "model_content" in settings and locate_model(spec).get("content") != settings["model_content"]:
        raise FileFormatError(
            f"{settings['model']}: a file that the network names changed while the study was running, or is not where "
            "this worker looks; run the study again"
        )


def adopted(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings whose encoding file is the copy of it in the folder of a study, for the same trial."""
    spec = settings["encoding"]
    if "file" not in spec:
        return dict(settings)
    copy = folder / "encodings" / f"{spec['content']}{Path(spec['file']).suffix}"
    return {**settings, "encoding": {**spec, "file": str(copy.resolve())}}


def adopt(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the encoding file of a trial into the folder of a study, where it stays what it is.

    A copy that is not what it was is written again.

    Raises
    ------
    FileFormatError
        If the file has changed since the study was loaded, or the copy is damaged and there is no other file.
    """
    mine = adopted(settings, folder)
    spec = mine["encoding"]
    if "file" not in spec:
        return mine
    copy, original = Path(spec["file"]), Path(settings["encoding"]["file"])
    if copy.is_file() and digest(copy) == spec["content"]:
        return mine
    if original.resolve() == copy or not original.exists():
        raise FileFormatError(
            f"{copy}: this copy of an encoding is damaged or missing, and {str(original)!r} is no other; run the study "
            "from its file, beside which the encoding lies"
        )
    content = require_content(settings["encoding"]).read_bytes()
    with atomic(copy) as temporary:
        temporary.write_bytes(content)
    return mine


def _find(name: str, base: Path) -> Path:
    path = base / name
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}; paths start at the study file")
    return path.resolve()
