"""Which files are shards, and where the labels of each are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encollapse._internal import checks, files
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.data.io.arrays import FEATURE_NAMES, LABEL_NAMES, SUFFIXES, array_names, first_of, load_array, pick
from encollapse.data.io.rows import RowFile, open_rows
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

Stamp = tuple[int, int]
"""Size and time of last change of a file."""


def stamp_of(path: Path) -> Stamp:
    """What tells a file from one that takes its place."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def require_unchanged(path: Path, stamp: Stamp | None) -> None:
    """Raise unless a file is still the one that had the stamp.

    Raises
    ------
    FileFormatError
        If it was replaced or written to since.
    """
    if stamp is not None and (not path.exists() or stamp_of(path) != stamp):
        raise _changed(path)


def _changed(path: Path) -> FileFormatError:
    return FileFormatError(f"{path}: was changed while it was measured; measure again when the files are at rest")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one shard: rows of a file from `first` on, or an array."""

    path: Path | None = None
    key: str | None = None
    first: int = 0
    values: IntArray | None = None
    stamp: Stamp | None = None

    def read(self, start: int, stop: int) -> IntArray:
        """Labels of rows `start` to `stop` of the shard, as int64."""
        if self.path is not None:
            require_unchanged(self.path, self.stamp)
        values: Any = self.values if self.path is None else load_array(self.path, self.key)
        return checks.class_labels(values[self.first + start : self.first + stop], 2**62, str(self.path))

    def count(self) -> int:
        """How many labels the file has in all."""
        array = load_array(self.path, self.key)  # type: ignore[arg-type]  # asked of files only
        if array.ndim != 1:
            try:
                checks.class_labels(array, 2**62, str(self.path))
            except (ArgumentError, ArgumentTypeError) as error:
                raise FileFormatError(str(error)) from None
        return len(array)


@dataclass(frozen=True, eq=False)
class Shard:
    """A file of features with its labels, small, so that it travels to other processes."""

    path: Path
    key: str | None
    num_rows: int
    feature_dim: int
    splittable: bool
    labels: Labels
    stamp: Stamp

    def open(self) -> RowFile:
        """Open the features.

        Raises
        ------
        FileFormatError
            If the file is another one than was found.
        """
        self.require_unchanged()
        rows = open_rows(self.path, self.key)
        if self.num_rows and (rows.num_rows, rows.feature_dim) != (self.num_rows, self.feature_dim):
            raise _changed(self.path)
        return rows

    def require_unchanged(self) -> None:
        """Raise unless the file is still the one that was found."""
        require_unchanged(self.path, self.stamp)


def find_shards(
    source: str | Path | Iterable[str | Path],
    labels: ArrayLike | str | Path | None = None,
    *,
    key: str | None = None,
    label_key: str | None = None,
) -> list[Shard]:
    """Shards in natural order of their names (2 before 10), checked against each other and their labels.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ArgumentError, FileFormatError
        If there are no shards, labels are missing or do not fit, widths differ, or a file is torn.
    """
    label_path = Path(labels) if isinstance(labels, str | Path) else None
    paths = _paths(source, label_path)
    shards = [_look_at(path, key) for path in paths]
    # A part without rows has no width to speak of: its lists have no lengths.
    first = next((shard for shard in shards if shard.num_rows), shards[0])
    shards = [shard if shard.num_rows else replace(shard, feature_dim=first.feature_dim) for shard in shards]
    for shard in shards:
        if shard.feature_dim != first.feature_dim:
            raise FileFormatError(
                f"{shard.path}: has {shard.feature_dim} features a sample, {first.path} has {first.feature_dim}; all "
                "shards must agree"
            )
    if label_path is not None and not files.exists(label_path):
        raise FileNotFoundError(f"labels: there is no file {str(label_path)!r}")
    if label_path is not None and not files.is_dir(label_path):
        files.with_suffix(label_path, "labels", SUFFIXES)
    if label_path is not None and files.is_dir(label_path):
        return [_with(shard, _beside(shard.path, label_path, "", label_key), shard.path) for shard in shards]
    if labels is None:
        return [_with(shard, _own_labels(shard.path, label_key), shard.path) for shard in shards]
    return _from_one(shards, labels, label_path, label_key)


def _paths(source: str | Path | Iterable[str | Path], labels: Path | None) -> list[Path]:
    if not isinstance(source, str | Path):
        names = checks.sequence(source, "features", "a folder, a file or several files")
        paths = [Path(path) for path in names if isinstance(path, str | Path)]
        if len(paths) < len(names):
            raise ArgumentTypeError(f"features: expected paths of files, got {source!r}")
    elif files.is_dir(Path(source)):
        found = (p for p in Path(source).iterdir() if p.is_file() and not p.name.startswith("."))
        paths = sorted((p for p in found if _is_shard(p, labels)), key=files.natural_order)
    else:
        paths = [Path(source)]
    if not paths:
        raise ArgumentError(f"features: {str(source)!r} holds no shards ({', '.join(SUFFIXES)})")
    for path in paths:
        if not files.is_file(path):
            raise FileNotFoundError(f"features: there is no file or folder {str(path)!r}")
        files.with_suffix(path, "features", SUFFIXES)
    return paths


def _is_shard(path: Path, labels: Path | None) -> bool:
    stem, ending = path.stem, path.suffix
    if ending not in SUFFIXES or stem.endswith(".labels") or stem in LABEL_NAMES:
        return False
    return labels is None or path.resolve() != labels.resolve()


def _look_at(path: Path, key: str | None) -> Shard:
    stamp, names = stamp_of(path), array_names(path)
    if key is None and len(names) > 1:
        key = first_of(FEATURE_NAMES, names)
    if key is None and path.suffix != ".parquet":
        others = [name for name in names if name not in LABEL_NAMES]
        key = others[0] if len(others) == 1 else None
    rows = open_rows(path, key)
    return Shard(path, key, rows.num_rows, rows.feature_dim, rows.splittable, Labels(), stamp)


def _own_labels(path: Path, key: str | None) -> Labels:
    names = array_names(path)
    own = first_of(LABEL_NAMES if key is None else (key,), names)
    return Labels(path, own, stamp=stamp_of(path)) if own is not None else _beside(path, path.parent, ".labels", key)


def _beside(path: Path, folder: Path, ending: str, key: str | None) -> Labels:
    for suffix in SUFFIXES:
        candidate = folder / f"{path.stem}{ending}{suffix}"
        if candidate.is_file() and candidate != path:
            return Labels(candidate, _label_key(candidate, key), stamp=stamp_of(candidate))
    inside = " nor an array 'labels' inside it" if ending and path.suffix != ".npy" else ""
    raise ArgumentError(
        f"labels: none for {path}: there is no {folder / (path.stem + ending)}.npy (or .npz, .safetensors, "
        f".parquet){inside}; add it, or give one file with the labels of all shards"
    )


def _label_key(path: Path, key: str | None) -> str | None:
    names = array_names(path)
    if not names:
        return None
    return pick(path, names, first_of(LABEL_NAMES, names) if key is None else key, "label_key")


def _with(shard: Shard, labels: Labels, path: Path) -> Shard:
    count = labels.count()
    if count != shard.num_rows:
        raise FileFormatError(f"{labels.path}: has {count} labels for the {shard.num_rows} rows of features in {path}")
    return replace(shard, labels=labels)


def _from_one(shards: Sequence[Shard], labels: Any, path: Path | None, key: str | None) -> list[Shard]:
    total = sum(shard.num_rows for shard in shards)
    if path is None:
        whole = Labels(values=checks.class_labels(labels, 2**62))
    else:
        whole = Labels(path, _label_key(path, key), stamp=stamp_of(path))
    count = whole.count() if whole.values is None else len(whole.values)
    if count != total:
        named = "labels" if path is None else str(path)
        raise ArgumentError(f"labels: {named} has {count} labels for {total} rows of features in {len(shards)} shards")
    first, placed = 0, []
    for shard in shards:
        own = replace(whole, first=first)
        if whole.values is not None:  # only its own part travels with a shard
            own = Labels(values=whole.values[first : first + shard.num_rows])
        placed.append(replace(shard, labels=own))
        first += shard.num_rows
    return placed
