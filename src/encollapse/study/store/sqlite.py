"""The results of a study on disk: one SQLite row a trial, written by the driver alone."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safetensors import SafetensorError

from encollapse._internal.json_values import plain
from encollapse.errors import ArgumentError, EncollapseError, FileFormatError
from encollapse.study.record import TrialRecord
from encollapse.study.store.arrays import Arrays, save_arrays, save_history
from encollapse.study.trials import canonical_json, parse_settings

FILE = "results.sqlite"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL, definition TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('done', 'failed', 'lost')),
    record TEXT, error TEXT, seconds REAL NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL,
    versions TEXT NOT NULL, attempts INTEGER NOT NULL
);
PRAGMA user_version = 2;
"""
_VERSION = 2


@dataclass(frozen=True)
class StoredTrial:
    """One stored trial.

    Its status is ``"done"`` with a record, ``"failed"`` with a traceback, or ``"lost"`` with a word on how its
    worker ended; `attempts` counts how often it was run by the driver that stored it.
    """

    id: str
    settings: Mapping[str, Any]
    status: str
    record: TrialRecord | None
    error: str | None
    seconds: float
    started: str
    finished: str
    versions: Mapping[str, str]
    attempts: int = 1


class Store:
    """The folder of a study. Readers may open it at any time; one driver at a time writes to it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = self.path / FILE

    def arrays_path(self, trial_id: str) -> Path:
        """Where the arrays of a trial are kept."""
        return self.path / "trials" / f"{trial_id}.safetensors"

    def history_path(self, trial_id: str) -> Path:
        """Where the history of a trial is kept."""
        return self.path / "trials" / f"{trial_id}.json"

    def checkpoint_path(self, trial_id: str) -> Path:
        """Where a trial keeps the state of its training while it runs."""
        return self.path / "checkpoints" / f"{trial_id}.safetensors"

    def create(self) -> None:
        """Make the folder and its tables if they are not there.

        Raises
        ------
        ArgumentError
            If the path is a file.
        EncollapseError
            If it cannot be written to.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ArgumentError(f"out: {str(self.path)!r} is a file; give a folder")
        with self._storing():
            self.path.mkdir(parents=True, exist_ok=True)
            with self._connect(write=True) as connection:
                connection.executescript(_SCHEMA)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Say what to do where the system refuses to write."""
        try:
            yield
        except OSError as error:
            raise _unwritable(self.path, error.strerror or str(error)) from None
        except SafetensorError as error:
            raise _unwritable(self.path, str(error)) from None

    def clean(self) -> None:
        """Remove what a killed driver left half-written beside the files of trials. For the driver alone."""
        with self._storing():
            for folder in ("trials", "checkpoints", "encodings"):
                for left in (self.path / folder).glob(".*"):
                    left.unlink(missing_ok=True)

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
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise _unwritable(self.path, str(error)) from None
                who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "an unknown process"
                raise EncollapseError(
                    f"{self.path}: another driver ({who}) is running a study in this folder; "
                    "wait for it, stop it, or give another folder with out="
                ) from None
            with self._storing():
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

    def keep(self, row: StoredTrial, history: Sequence[Mapping[str, Any]] = (), arrays: Arrays | None = None) -> None:
        """Commit one finished trial; once this returns, no kill loses it.

        Raises
        ------
        EncollapseError
            If it cannot be written; what was stored before stays as it was.
        """
        with self._storing():
            # Files first: a row that says "done" must never be without them.
            if row.status == "done":
                save_arrays(self.arrays_path(row.id), arrays or {})
                save_history(self.history_path(row.id), history)
            self._write(row)

    def _write(self, row: StoredTrial) -> None:
        values = (
            row.id,
            canonical_json(row.settings),
            row.status,
            None if row.record is None else canonical_json(row.record.to_dict()),
            row.error,
            row.seconds,
            row.started,
            row.finished,
            canonical_json(row.versions),
            row.attempts,
        )
        with self._connect(write=True) as connection:
            connection.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def rows(self) -> dict[str, StoredTrial]:
        """Every stored trial by id, in the order in which they finished."""
        with self._connect() as connection:
            found = connection.execute("SELECT * FROM trials ORDER BY finished, id").fetchall()
        return {values[0]: _row(values) for values in found}

    def statuses(self) -> dict[str, str]:
        """Status of every stored trial by id; ``"lost"`` also for one that is done but has lost its files."""
        with self._connect() as connection:
            found = dict(connection.execute("SELECT id, status FROM trials").fetchall())
        return {
            trial_id: status
            if status != "done" or (self.arrays_path(trial_id).exists() and self.history_path(trial_id).exists())
            else "lost"
            for trial_id, status in found.items()
        }

    @contextmanager
    def _connect(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._open(write=write)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise FileFormatError(
                        f"{self.file}: written by a newer encollapse (layout {version}); update to read it"
                    )
                if 0 < version < _VERSION:
                    raise FileFormatError(
                        f"{self.file}: written by an older encollapse (layout {version}); "
                        "give another folder, or delete this one and run the study again"
                    )
                if write:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                with connection:
                    yield connection
        except sqlite3.OperationalError as error:
            if write:
                raise _unwritable(self.file, str(error)) from None
            raise EncollapseError(
                f"{self.file}: cannot be read ({error}); see that the disk has room and the folder is yours to read"
            ) from None
        except sqlite3.DatabaseError as error:
            raise FileFormatError(f"{self.file}: not a results file of encollapse ({error})") from None

    def _open(self, *, write: bool) -> sqlite3.Connection:
        if not write and not os.access(self.path, os.W_OK):
            return self._open_unchanging()
        connection = sqlite3.connect(self.file, timeout=30)
        if not write:
            try:
                connection.execute("PRAGMA schema_version").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
                    raise
                connection.close()
                return self._open_unchanging()
        return connection

    def _open_unchanging(self) -> sqlite3.Connection:
        """Open for reading alone. In WAL mode even a reader makes files; where it cannot, nobody can write either."""
        log = self.file.with_name(f"{FILE}-wal")
        steady = "" if log.exists() and log.stat().st_size else "&immutable=1"
        return sqlite3.connect(f"file:{quote(str(self.file.resolve()))}?mode=ro{steady}", uri=True)


def _unwritable(path: Path, reason: str) -> EncollapseError:
    return EncollapseError(
        f"{path}: cannot be written ({reason}); make room or give another folder, then run the same command: "
        "finished trials are kept"
    )


def _row(values: tuple[Any, ...]) -> StoredTrial:
    trial_id, settings, status, record, error, seconds, started, finished, versions, attempts = values
    return StoredTrial(
        trial_id,
        parse_settings(settings),
        status,
        None if record is None else TrialRecord.from_dict(json.loads(record)),
        error,
        seconds,
        started,
        finished,
        json.loads(versions),
        attempts,
    )
