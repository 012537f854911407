"""Files that appear whole or not at all, and safetensors files that know when they are damaged."""

import hashlib
import lzma
import os
import re
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, FileFormatError, WriteError

DAMAGE = (
    *(ValueError, EOFError, RecursionError, OverflowError, NotImplementedError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)
"""What Python, numpy and the packers of zip archives raise where bytes are not what they should be."""


def with_suffix(path: str | Path, name: str, suffixes: tuple[str, ...]) -> Path:
    """Return the path if its suffix is one of `suffixes`."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"{name}: expected a path, got {path!r} of type {type(path).__name__}")
    result = Path(path)
    if result.suffix not in suffixes:
        cure = _CURES.get(result.suffix, "") if ".npy" in suffixes else ""
        if cure == _TEXT and name == "labels":
            cure = _NUMBERED
        raise ArgumentError(
            f"{name}: expected a file ending in {' or '.join(suffixes)}, got {str(path)!r}{cure and '; ' + cure}"
        )
    return result


_TORCH = (
    "read it with torch.load(path, weights_only=True) and write its tensors, in a dictionary by their names, with "
    "safetensors.torch.save_file(tensors, 'name.safetensors')"
)
_TEXT = "turn it into an array file: np.save('name.npy', np.loadtxt(path, delimiter=','))"
_NUMBERED = (
    "turn it into an array file: np.save('name.npy', np.loadtxt(path, dtype=int)), and names by "
    "classes, labels = np.unique(np.loadtxt(path, dtype=str), return_inverse=True)"
)
_CURES = dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _TORCH) | dict.fromkeys((".csv", ".txt", ".tsv"), _TEXT)
"""How arrays come out of files that are not read, by their suffix."""


def is_file(path: str | Path) -> bool:
    """Whether there is such a file. There is none whose name the system cannot take, where pathlib raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | Path) -> bool:
    """Whether there is such a folder. See :func:`is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | Path) -> bool:
    """Whether there is such a file or folder. See :func:`is_file`."""
    return os.path.exists(path)  # noqa: PTH110


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Key that sorts paths by their text with numbers as numbers: 2 before 10."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def folder(path: str | Path) -> Path:
    """Make a folder if it is not there, and see that files can be written into it.

    Raises
    ------
    WriteError
        If that is not so. For results of long work, call this before the work.
    """
    made = Path(path)
    with _writing(made):
        _require_name(made)
        made.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=made).close()
    return made


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. On success it takes the place of `path` in one step.

    Raises
    ------
    WriteError
        If the system refuses.
    """
    with _writing(path):
        _require_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _require_name(path: Path) -> None:
    if "\0" in str(path):
        raise OSError(22, "no file can have this name")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise WriteError(f"{str(path)!r}: cannot be written (no file can have this name); give another place") from None
    except OSError as error:
        if isinstance(error, EncollapseError):
            raise
        blocking = next((p for p in (path, *path.parents) if exists(p)), path)
        file = is_file(blocking) and (blocking != path or isinstance(error, FileExistsError))
        reason = f"{str(blocking)!r} is a file" if file else error.strerror or str(error)
        refused = WriteError(f"{path}: cannot be written ({reason}); give another place, or make room or rights there")
        refused.strerror = reason
        raise refused from None


@contextmanager
def reading(source: Path, what: str = "") -> Iterator[None]:
    """Say which file is not what its name says, where reading it fails.

    Raises
    ------
    FileFormatError
        Whatever the damage was. Errors of the package, and files that are not there or may not be read, pass.
    """
    try:
        yield
    except (EncollapseError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*DAMAGE, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if "pickle" in reason.lower():  # numpy takes whatever is not of its own making for a pickle
            reason = "it is no file of arrays, or it holds Python objects, which are not read"
        raise FileFormatError(
            f"{source}: {what or f'cannot be read as {source.suffix}'}: {reason or type(error).__name__}"
        ) from None


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


UNSEALED = {"sha256": "0" * 64}
"""Entry of a safetensors header that keeps the place of a digest."""

_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_CHUNK = 1 << 20  # bytes read at once: far above a disk's block, far below memory


def seal(path: Path) -> None:
    """Write into the header of a safetensors file, in the place of :data:`UNSEALED`, a digest of all else. Flush it."""
    digest, place = _digest(path)
    assert place is not None
    with path.open("r+b") as file:
        file.seek(place.start(1))
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())


def sealed(path: Path) -> bool | None:
    """Whether a safetensors file is as it was when it was sealed, or None where it has no seal."""
    digest, place = _digest(path)
    return None if place is None else place[1].decode() == digest


def _digest(path: Path) -> tuple[str, re.Match[bytes] | None]:
    """Digest of a file as if its seal were :data:`UNSEALED`, and where in it the seal stands."""
    with path.open("rb") as file:
        head = file.read(8)
        head += file.read(min(int.from_bytes(head, "little"), path.stat().st_size))
        place = _SEAL.search(head)
        hidden = head if place is None else head[: place.start(1)] + b"0" * 64 + head[place.end(1) :]
        total = hashlib.sha256(hidden)
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest(), place


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
