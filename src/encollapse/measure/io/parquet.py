"""Parquet: features in one list column or in a column a feature, labels in a column of whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError, FileFormatError, MissingDependencyError

LABEL_NAMES = ("labels", "label")
"""Columns and arrays that are labels unless another name is given."""


class ParquetRows:
    """Features of a Parquet file, read by row groups.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        A list column. Default: the only list column, otherwise all floating-point columns, in their order.
    """

    splittable = False

    def __init__(self, path: Path, key: str | None) -> None:
        import_pyarrow()
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            self._file = pq.ParquetFile(path)
            schema = self._file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise _torn(path, error) from None
        lists = [field.name for field in schema if _is_list(field.type)]
        if key is not None and key not in schema.names:
            raise ArgumentError(f"key: {path} holds no column {key!r}; it has {', '.join(schema.names)}")
        self._list = key if key is not None else lists[0] if len(lists) == 1 else None
        if self._list is None and lists:
            raise ArgumentError(f"key: {path} holds several list columns; choose one of {', '.join(lists)}")
        self._columns = (
            [self._list]
            if self._list is not None
            else [field.name for field in schema if pa.types.is_floating(field.type)]
        )
        if not self._columns:
            raise FileFormatError(f"{path}: has no column of floating-point numbers or lists of them")
        self.num_rows = self._file.metadata.num_rows
        self.feature_dim = len(self._columns) if self._list is None else self._list_width()

    def blocks(self, start: int, stop: int, step: int) -> Iterator[ArrayLike]:
        """Rows from `start` to `stop`, at most `step` at a time."""
        import pyarrow as pa

        first = 0
        try:
            for batch in self._file.iter_batches(step, columns=self._columns):
                rows = slice(max(start - first, 0), min(stop - first, len(batch)))
                if rows.start < rows.stop:
                    yield self._matrix(batch, first)[rows]
                first += len(batch)
                if first >= stop:
                    return
        except (pa.ArrowException, OSError) as error:
            raise _torn(self._path, error) from None

    def _list_width(self) -> int:
        kind = self._file.schema_arrow.field(self._list).type
        if hasattr(kind, "list_size"):
            return int(kind.list_size)
        for batch in self._file.iter_batches(1, columns=self._columns):
            return len(batch.column(0)[0].as_py() or ())
        return 1

    def _matrix(self, batch: Any, first: int) -> ArrayLike:
        if any(column.null_count for column in batch.columns):
            raise FileFormatError(f"{self._path}: has empty cells in rows {first} to {first + len(batch) - 1}")
        if self._list is None:
            return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
        values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        lengths = batch.column(0).value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != self.feature_dim).any():
            row = int((lengths != self.feature_dim).argmax())
            raise FileFormatError(
                f"{self._path}: row {first + row} has {lengths[row]} features, row 0 has {self.feature_dim}"
            )
        return values.reshape(-1, self.feature_dim)


def read_column(path: Path, name: str) -> ArrayLike:
    """One column of a Parquet file as a numpy array."""
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path, columns=[name]).column(0)
    except (pa.ArrowException, OSError) as error:
        raise _torn(path, error) from None
    if column.null_count:
        raise FileFormatError(f"{path}: column {name!r} has {column.null_count} empty cells")
    return column.to_numpy()


def column_names(path: Path) -> list[str]:
    """Names of the columns of a Parquet file."""
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _torn(path, error) from None


def is_list_column(path: Path, name: str) -> bool:
    """Whether a column holds lists of floating-point numbers."""
    import pyarrow.parquet as pq

    return _is_list(pq.read_schema(path).field(name).type)


def import_pyarrow() -> None:
    """Import pyarrow, or say how to install it."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow; install it with: pip install 'encollapse[parquet]'"
        ) from error


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) and bool(
        pa.types.is_floating(kind.value_type)
    )


def _torn(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(f"{path}: cannot be read as .parquet: {str(error).splitlines()[0]}")
