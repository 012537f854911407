"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, WriteError


def with_suffix(path: str | Path, name: str, suffixes: tuple[str, ...]) -> Path:
    """Return the path if its suffix is one of `suffixes`."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"{name}: expected a path, got {path!r} of type {type(path).__name__}")
    result = Path(path)
    if result.suffix not in suffixes:
        cure = _CURES.get(result.suffix, "") if ".npy" in suffixes else ""
        raise ArgumentError(
            f"{name}: expected a file ending in {' or '.join(suffixes)}, got {str(path)!r}{cure and '; ' + cure}"
        )
    return result


_TORCH = (
    "read it with torch.load(path, weights_only=True) and write its tensors, in a dictionary by their names, with "
    "safetensors.torch.save_file(tensors, 'name.safetensors')"
)
_TEXT = "turn it into an array file: np.save('name.npy', np.loadtxt(path, delimiter=','))"
_CURES = dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _TORCH) | dict.fromkeys((".csv", ".txt", ".tsv"), _TEXT)
"""How arrays come out of files that are not read, by their suffix."""


def folder(path: str | Path) -> Path:
    """Make a folder if it is not there, and see that files can be written into it.

    Raises
    ------
    WriteError
        If that is not so; for results of long work, call this before the work.
    """
    made = Path(path)
    with _writing(made):
        made.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=made).close()
    return made


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path` in one step.

    Raises
    ------
    WriteError
        If the system refuses.
    """
    with _writing(path):
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, EncollapseError):
            raise
        blocking = next((p for p in (path, *path.parents) if p.exists()), path)
        file = blocking.is_file() and (blocking != path or isinstance(error, FileExistsError))
        reason = f"{str(blocking)!r} is a file" if file else error.strerror or str(error)
        refused = WriteError(f"{path}: cannot be written ({reason}); give another place, or make room or rights there")
        refused.strerror = reason
        raise refused from None


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
