"""Parquet: features in one list column or in a column a feature, labels in a column of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import files, memory
from encollapse._internal.extras import needed_by
from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, FileFormatError

_BUFFER = 2**16
"""Bytes of a column that are read at once."""


class ParquetRows:
    """Features of a Parquet file, read by row groups.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        A list column. Default: the only list column, otherwise all floating-point columns, in their order.
    not_features : collection of str
        Columns of numbers that are no features.
    """

    splittable = False

    def __init__(self, path: Path, key: str | None, not_features: Collection[str]) -> None:
        self._path = path
        with _reading(path) as pq:
            # Columns come in small pieces: otherwise whole row groups, and those to come, are held in memory.
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
            schema = self._file.schema_arrow
        if key is not None and key not in schema.names:
            raise ArgumentError(f"key: {path} holds no column {key!r}; it has {', '.join(schema.names)}")
        lists = [field.name for field in schema if _is_list(field.type)] if key is None else [key]
        if len(lists) > 1:
            raise ArgumentError(f"key: {path} holds several list columns; choose one of {', '.join(lists)}")
        numbers = [field.name for field in schema if _is_floating(field.type) and field.name not in not_features]
        self._columns = lists or numbers
        if not self._columns:
            raise FileFormatError(f"{path}: has no column of floating-point numbers or lists of them")
        self.num_rows = self._file.metadata.num_rows
        with _reading(path):
            self.feature_dim = _width(self._file, lists[0]) if lists else len(numbers)

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        """Rows from `start` to `stop`, at most `step` at a time."""
        first = 0
        with _reading(self._path):
            for group in range(self._file.num_row_groups):
                rows = self._file.metadata.row_group(group).num_rows
                if first + rows > start and first < stop:
                    yield from self._group(group, first, start, stop, step)
                first += rows

    def _group(self, group: int, first: int, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        for batch in self._file.iter_batches(step, [group], self._columns, use_threads=False):
            rows = slice(max(start - first, 0), min(stop - first, len(batch)))
            if rows.start < rows.stop:
                yield _matrix(self._path, batch, first, self.feature_dim)[rows]
            first += len(batch)
            if first >= stop:
                return

    def whole(self) -> ArrayLike:
        """All rows."""
        with _reading(self._path):
            _require_free(self._path, self._file, self._columns)
            blocks = list(self.blocks(0, self.num_rows, max(self.num_rows, 1)))
        return np.concatenate(blocks) if blocks else np.empty((0, self.feature_dim), np.float32)


def column_names(path: Path) -> list[str]:
    """Names of the columns of a Parquet file."""
    with _reading(path) as pq:
        return list(pq.read_schema(path).names)


def is_list_column(path: Path, name: str) -> bool:
    """Whether a column holds lists of floating-point numbers."""
    with _reading(path) as pq:
        return _is_list(pq.read_schema(path).field(name).type)


def read_column(path: Path, name: str) -> ArrayLike:
    """One column of a Parquet file as a numpy array."""
    column = _read_table(path, [name]).column(0)
    if column.null_count:
        raise FileFormatError(f"{path}: column {name!r} has {column.null_count} empty cells")
    return column.to_numpy()


def read_columns(path: Path, names: Sequence[str]) -> Any:
    """Columns as a matrix (N, p) if they are numbers, or one column of lists of numbers, else as a pandas table."""
    from pyarrow import types

    table = _read_table(path, names).combine_chunks()
    kinds = [field.type for field in table.schema]
    lists = len(kinds) == 1 and hasattr(kinds[0], "value_type")
    if not lists and not all(types.is_integer(kind) or types.is_floating(kind) for kind in kinds):
        return table.to_pandas()
    parts = table.to_batches() or [table.schema.empty_table()]
    width = len(parts[0].column(0)[0].as_py() or ()) if lists and len(parts[0]) else len(names)
    first, blocks = 0, []
    for part in parts:
        blocks.append(_matrix(path, part, first, width))
        first += len(part)
    return np.concatenate(blocks)


def _read_table(path: Path, names: Sequence[str]) -> Any:
    with _reading(path) as pq:
        file = pq.ParquetFile(path, buffer_size=_BUFFER)
        _require_free(path, file, names)
        # Where a thread cannot start, under a limit of memory, a process with a pool of them may never end.
        return file.read(list(names), use_threads=False)


def _require_free(path: Path, file: Any, names: Sequence[str]) -> None:
    """Refuse columns that are larger than memory. Runs of one value take next to nothing in the file."""
    groups = (file.metadata.row_group(g) for g in range(file.num_row_groups))
    entries = file.metadata.num_rows * sum(_width(file, name) for name in names)
    size = max(8 * entries, sum(group.total_byte_size for group in groups if len(names) == len(file.schema_arrow)))
    memory.require_free(
        f"{path}: {len(names)} column(s)", size, stored=path.stat().st_size, instead="split it into several files"
    )


def _width(file: Any, name: str) -> int:
    """Entries of a column in a row: of lists, as many as in the first."""
    kind = file.schema_arrow.field(name).type
    if hasattr(kind, "list_size"):
        return int(kind.list_size)
    if hasattr(kind, "value_type"):
        for batch in file.iter_batches(1, columns=[name]):
            return len(batch.column(0)[0].as_py() or ())
    return 1


def _matrix(path: Path, batch: Any, first: int, width: int) -> ArrayLike:
    """Rows of a batch, the first of which has the number `first`, from its column of lists or a column a feature."""
    if any(column.null_count for column in batch.columns):
        raise FileFormatError(f"{path}: has empty cells in rows {first} to {first + len(batch) - 1}")
    if not hasattr(batch.column(0).type, "value_type"):
        return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
    values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
    lengths = batch.column(0).value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != width).any():
        row = int((lengths != width).argmax())
        raise FileFormatError(f"{path}: row {first + row} has {lengths[row]} features, row 0 has {width}")
    return values.reshape(-1, width)


def _is_floating(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_floating(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists) and bool(types.is_floating(kind.value_type))


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Yield ``pyarrow.parquet``, or say how to install it. Say which file is torn where reading it fails."""
    with needed_by(f"{path}: Parquet", "parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        with files.reading(path):
            yield pq
    except pa.ArrowException as error:
        raise FileFormatError(f"{path}: cannot be read as .parquet: {str(error).partition(chr(10))[0]}") from None
