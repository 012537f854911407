"""Parquet: features in one list column or in a column a feature, labels in a column of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, FileFormatError, MissingDependencyError


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
            self._file = pq.ParquetFile(path)
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
        self.feature_dim = self._list_width(schema.field(lists[0]).type) if lists else len(numbers)

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        """Rows from `start` to `stop`, at most `step` at a time."""
        first = 0
        with _reading(self._path):
            for batch in self._file.iter_batches(step, columns=self._columns):
                rows = slice(max(start - first, 0), min(stop - first, len(batch)))
                if rows.start < rows.stop:
                    yield _matrix(self._path, batch, first, self.feature_dim)[rows]
                first += len(batch)
                if first >= stop:
                    return

    def _list_width(self, kind: Any) -> int:
        if hasattr(kind, "list_size"):
            return int(kind.list_size)
        for batch in self._file.iter_batches(1, columns=self._columns):
            return len(batch.column(0)[0].as_py() or ())
        return 1


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
    with _reading(path) as pq:
        column = pq.read_table(path, columns=[name]).column(0)
    if column.null_count:
        raise FileFormatError(f"{path}: column {name!r} has {column.null_count} empty cells")
    return column.to_numpy()


def read_columns(path: Path, names: Sequence[str]) -> Any:
    """Columns as a matrix (N, p) if they are numbers, or one column of lists of numbers; else as a pandas table."""
    from pyarrow import types

    with _reading(path) as pq:
        table = pq.read_table(path, columns=list(names)).combine_chunks()
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
    """Yield ``pyarrow.parquet``, or say how to install it; say which file is torn where reading it fails."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install 'encollapse[parquet]'"
        ) from error
    try:
        yield pq
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: cannot be read as .parquet: {str(error).splitlines()[0]}") from None
