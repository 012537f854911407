"""A limit on dense matrices that are built on demand."""

from encollapse.errors import MemoryLimitError

DENSE_LIMIT_BYTES = 2 * 1024**3
"""Structured encodings and geometries refuse to build a float64 matrix above this size."""


def require_room(name: str, rows: int, columns: int, *, instead: str) -> None:
    """Refuse a dense float64 matrix above ``DENSE_LIMIT_BYTES``.

    Raises
    ------
    MemoryLimitError
        Naming the matrix, its size, the limit, and what does `instead`.
    """
    size = 8 * rows * columns
    if size > DENSE_LIMIT_BYTES:
        shape = " × ".join(str(n) if n < 10**30 else "1e30" for n in (rows, columns))
        raise MemoryLimitError(
            f"{name}: the dense {shape} matrix needs {min(size, 10**30) / 1024**3:.1f} GiB, above the limit of "
            f"{DENSE_LIMIT_BYTES / 1024**3:.1f} GiB (encollapse._internal.memory.DENSE_LIMIT_BYTES); {instead}"
        )
