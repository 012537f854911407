"""Limits of memory: of dense matrices that are built on demand, and of arrays that a file announces."""

import mmap
import sys
from pathlib import Path

from encollapse.errors import MemoryLimitError

DENSE_LIMIT_BYTES = 2 * 1024**3
"""Structured encodings and geometries refuse to build a float64 matrix above this size."""

EXPANSION_LIMIT = 100
"""An array of a file above ``DENSE_LIMIT_BYTES`` is refused where it is this many times as large as in the file."""


def require_room(name: str, rows: int, columns: int, *, instead: str) -> None:
    """Refuse a dense float64 matrix above ``DENSE_LIMIT_BYTES``.

    Raises
    ------
    MemoryLimitError
        Naming the matrix, its size, the limit, and what does `instead`.
    """
    size = 8 * rows * columns
    if rows == 0 or columns == 0:
        size = 8 * max(rows, columns)
    if size > DENSE_LIMIT_BYTES:
        shape = " × ".join(str(n) if n < 10**30 else "1e30" for n in (rows, columns))
        digits = 1 if _gib(size) != _gib(DENSE_LIMIT_BYTES) else 4
        raise MemoryLimitError(
            f"{name}: the dense {shape} matrix needs {_gib(size, digits)}, above the limit of "
            f"{_gib(DENSE_LIMIT_BYTES, digits)} (encollapse._internal.memory.DENSE_LIMIT_BYTES); {instead}"
        )


def require_free(name: str, size: int, *, stored: int | None = None, instead: str) -> None:
    """Refuse an array of `size` bytes that memory has no room for, or that a file of `stored` bytes blows up.

    Raises
    ------
    MemoryLimitError
        Before any of the memory is taken.
    """
    free = free_bytes()
    if size > free:
        raise MemoryLimitError(f"{name}: needs {_gib(size)} of memory, where {_gib(free)} are free; {instead}")
    if stored is not None and size > max(DENSE_LIMIT_BYTES, EXPANSION_LIMIT * stored):
        raise MemoryLimitError(
            f"{name}: {stored} bytes of the file unpack to {_gib(size)}, more than {EXPANSION_LIMIT} times as much; "
            f"{instead}"
        )


def free_bytes() -> int:
    """Memory that this process may still take: of the machine, its control group and its address space."""
    available = _number("/proc/meminfo", "MemAvailable:") * 1024
    limits = [available] if available else [sys.maxsize]
    most, held = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if most:
        # Pages of files count as held, and are given back when room is wanted.
        limits.append(most - held + _number("/sys/fs/cgroup/memory.stat", "inactive_file"))
    space = _number("/proc/self/limits", "space")
    if space:
        limits.append(space - _number("/proc/self/statm") * mmap.PAGESIZE)
    return max(min(limits), 0)


def _number(file: str, name: str = "") -> int:
    """The number behind a name in a file of the system, or at its beginning, or 0 where there is none."""
    try:
        words = Path(file).read_text(encoding="ascii").split()
        return int(words[words.index(name) + 1 if name else 0])
    except (OSError, ValueError, IndexError):
        return 0


def _gib(size: int, digits: int = 1) -> str:
    return f"{min(size, 10**30) / 1024**3:.{digits}f} GiB"
