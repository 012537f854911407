"""The results of a study on disk: one SQLite row a trial, written by the driver alone."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encollapse.errors import ArgumentError, EncollapseError, FileFormatError
from encollapse.study.trials import Trial, canonical_json, parse_settings, plain

FILE = "results.sqlite"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL, definition TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
    record TEXT, error TEXT, seconds REAL NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL,
    versions TEXT NOT NULL
);
PRAGMA user_version = 1;
"""
_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One stored trial: ``status`` is ``"done"`` with a record, or ``"failed"`` with a traceback."""

    id: str
    settings: Mapping[str, Any]
    status: str
    record: Mapping[str, Any] | None
    error: str | None
    seconds: float
    started: str
    finished: str
    versions: Mapping[str, str]


class Store:
    """The folder of a study. Readers may open it at any time; one driver at a time writes to it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = self.path / FILE

    def geometry_path(self, trial_id: str) -> Path:
        """Where the geometries of a trial are kept."""
        return self.path / "trials" / f"{trial_id}.npz"

    def create(self) -> None:
        """Make the folder and its tables if they are not there."""
        if self.path.exists() and not self.path.is_dir():
            raise ArgumentError(f"out: {str(self.path)!r} is a file; give a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        with self._connect(write=True) as connection:
            connection.executescript(_SCHEMA)

    def require(self) -> None:
        """Raise FileNotFoundError unless the folder holds results."""
        if not self.file.is_file():
            raise FileNotFoundError(
                f"{self.path}: holds no study results ({FILE} is not there); "
                "run `encollapse study NAME --out` with this folder first"
            )

    @contextmanager
    def driver_lock(self) -> Iterator[None]:
        """Hold the folder as its only driver.

        The lock is one of the operating system, taken through SQLite: it ends with the process that
        holds it, however that process ends, so a killed driver blocks nobody.

        Raises
        ------
        EncollapseError
            If another driver holds it.
        """
        holder = self.path / "driver.txt"
        with closing(sqlite3.connect(self.path / "driver.lock", timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "an unknown process"
                raise EncollapseError(
                    f"{self.path}: another driver ({who}) is running a study in this folder; "
                    "wait for it, stop it, or give another folder with out="
                ) from None
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)

    def write_definition(self, name: str, definition: Mapping[str, Any]) -> None:
        """Keep what the study is; an edited definition replaces the one before.

        Raises
        ------
        ArgumentError
            If the folder belongs to a study of another name.
        """
        with self._connect(write=True) as connection:
            row = connection.execute("SELECT name FROM study").fetchone()
            if row is not None and row[0] != name:
                raise ArgumentError(
                    f"out: {str(self.path)!r} holds the study {row[0]!r}, not {name!r}; give another folder"
                )
            text = json.dumps(plain(definition), allow_nan=False)
            connection.execute("INSERT OR REPLACE INTO study VALUES (1, ?, ?)", (name, text))

    def read_definition(self) -> dict[str, Any]:
        """Return what :meth:`write_definition` kept."""
        with self._connect() as connection:
            row = connection.execute("SELECT definition FROM study").fetchone()
        if row is None:
            raise FileFormatError(f"{self.file}: holds no study; run one into this folder first")
        result: dict[str, Any] = json.loads(row[0])
        return result

    def write(self, row: Row) -> None:
        """Commit one finished trial; once this returns, no kill loses it."""
        values = (
            row.id,
            canonical_json(row.settings),
            row.status,
            None if row.record is None else canonical_json(row.record),
            row.error,
            row.seconds,
            row.started,
            row.finished,
            canonical_json(row.versions),
        )
        with self._connect(write=True) as connection:
            connection.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def rows(self) -> dict[str, Row]:
        """Every stored trial by id, in the order in which they finished."""
        with self._connect() as connection:
            found = connection.execute("SELECT * FROM trials ORDER BY finished, id").fetchall()
        return {values[0]: _row(values) for values in found}

    def completed(self, trial: Trial) -> bool:
        """Whether the trial is stored as done, with its geometries."""
        with self._connect() as connection:
            row = connection.execute("SELECT status FROM trials WHERE id = ?", (trial.id,)).fetchone()
        return row is not None and row[0] == "done" and self.geometry_path(trial.id).exists()

    @contextmanager
    def _connect(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.file, timeout=30)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise FileFormatError(
                        f"{self.file}: written by a newer encollapse (layout {version}); update to read it"
                    )
                if write:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                with connection:
                    yield connection
        except sqlite3.OperationalError as error:
            raise EncollapseError(f"{self.file}: cannot be read or written ({error})") from None
        except sqlite3.DatabaseError as error:
            raise FileFormatError(f"{self.file}: not a results file of encollapse ({error})") from None


def _row(values: tuple[Any, ...]) -> Row:
    trial_id, settings, status, record, error, seconds, started, finished, versions = values
    return Row(
        trial_id,
        parse_settings(settings),
        status,
        None if record is None else json.loads(record),
        error,
        seconds,
        started,
        finished,
        json.loads(versions),
    )
