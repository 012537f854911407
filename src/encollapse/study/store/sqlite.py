"""The results of a study on disk: one SQLite row a trial, written by the driver alone."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from encollapse._internal.json_values import plain
from encollapse.errors import ArgumentError, EncollapseError, FileFormatError
from encollapse.geometry.arrays import Arrays
from encollapse.study.record import TrialRecord
from encollapse.study.store.arrays import digest_of, save_arrays, save_history
from encollapse.study.store.folder import FILE as FILE
from encollapse.study.store.folder import StudyFolder, unwritable
from encollapse.study.trials import canonical_json, parse_settings

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    only INTEGER PRIMARY KEY CHECK (only = 1), name TEXT NOT NULL, definition TEXT NOT NULL, digest TEXT
);
CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('done', 'failed', 'lost')),
    record TEXT, error TEXT, seconds REAL NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL,
    versions TEXT NOT NULL, attempts INTEGER NOT NULL, files TEXT, digest TEXT
);
"""
_VERSION = 3  # of the tables as they are written
_OLDEST = 2  # tables that can still be read
_LATER = {"study": ("digest",), "trials": ("files", "digest")}
"""Columns that tables of layout 2 do not have. In the rows that it wrote they are null, and nothing is compared."""

_CHANGED = "its digest is not that with which it was stored"


@dataclass(frozen=True)
class StoredTrial:
    """One stored trial.

    Its status is ``"done"`` with a record, ``"failed"`` with a traceback, or ``"lost"`` with a word on how its
    worker ended. `attempts` counts how often it was run by the driver that stored it. `files` has the digests of what
    it keeps beside its row, ``arrays`` and ``history``.
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
    files: Mapping[str, str] = field(default_factory=dict)


class Store(StudyFolder):
    """The folder of a study with its results. Readers may open it at any time. One driver at a time writes to it."""

    def create(self) -> None:
        """Make the folder and its tables if they are not there. Give tables of an earlier release what they lack.

        Raises
        ------
        ArgumentError
            If the path is a file.
        EncollapseError
            If it cannot be written to.
        """
        self.make()
        with self.storing(), self._connect("rwc") as connection:
            connection.executescript(_SCHEMA)
            for table, columns in _LATER.items():
                there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                for column in columns:
                    if column not in there:
                        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    def write_definition(self, name: str, definition: Mapping[str, Any]) -> None:
        """Keep what the study is. An edited definition replaces the one before.

        Raises
        ------
        ArgumentError
            If the folder belongs to a study of another name.
        """
        with self._connect("rw") as connection:
            row = connection.execute("SELECT name, definition, digest FROM study").fetchone()
            if row is not None and row[0] != name and _whole(row):
                raise ArgumentError(
                    f"out: {str(self.path)!r} holds the study {row[0]!r}, not {name!r}; give another folder"
                )
            values = (name, json.dumps(plain(definition), allow_nan=False))
            connection.execute("INSERT OR REPLACE INTO study VALUES (1, ?, ?, ?)", (*values, _digest(values)))

    def read_definition(self) -> dict[str, Any]:
        """Return what :meth:`write_definition` kept.

        Raises
        ------
        FileFormatError
            If there is none, or it is damaged.
        """
        with self._connect() as connection:
            row = connection.execute("SELECT * FROM study").fetchone()
        if row is None:
            raise FileFormatError(f"{self.file}: holds no study; run one into this folder first")
        try:
            if not _whole(row[1:] if len(row) == 4 else (None,)):
                raise ValueError(_CHANGED)
            definition = json.loads(row[2])
            if not isinstance(definition, dict):
                raise TypeError("no table")
            return definition
        except (ValueError, TypeError, RecursionError) as error:
            raise FileFormatError(
                f"{self.file}: the study in it is damaged ({error}); run the study into this folder again: "
                "finished trials are kept"
            ) from None

    def keep(self, row: StoredTrial, history: Sequence[Mapping[str, Any]] = (), arrays: Arrays | None = None) -> None:
        """Commit one finished trial. Once this returns, no kill loses it.

        Raises
        ------
        EncollapseError
            If it cannot be written, or the folder is no longer where it was. What was stored before stays as it was.
        """
        self.require_place()
        with self.storing():
            held = {}
            # Files first: a row that says "done" must never be without them.
            if row.status == "done":
                held["arrays"] = digest_of(save_arrays(self.arrays_path(row.id), arrays or {}))
                held["history"] = digest_of(save_history(self.history_path(row.id), history))
            self._write(row, held)

    def _write(self, row: StoredTrial, held: Mapping[str, str]) -> None:
        values = (
            row.id,
            canonical_json(row.settings),
            row.status,
            None if row.record is None else canonical_json(row.record.to_dict()),
            None if row.error is None else row.error.encode(errors="replace").decode(),  # SQLite has no half surrogates
            float(row.seconds),
            row.started,
            row.finished,
            canonical_json(row.versions),
            row.attempts,
            canonical_json(held),
        )
        with self._connect("rw") as connection:
            places = ", ".join("?" * (len(values) + 1))
            connection.execute(f"INSERT OR REPLACE INTO trials VALUES ({places})", (*values, _digest(values)))

    def rows(self, again: str = "run the study again") -> dict[str, StoredTrial]:
        """Every stored trial by id, in the order in which they finished.

        Of a row that is damaged nothing is kept but the id: such a trial is lost, and its error says why, and what
        runs it `again`.
        """
        with self._connect() as connection:
            found = connection.execute("SELECT * FROM trials ORDER BY finished, id").fetchall()
        return {values[0]: self._row(values, again) for values in found}

    def _row(self, values: Sequence[Any], again: str) -> StoredTrial:
        values = (*values, None, None)[:12]
        try:
            if not _whole(values):
                raise ValueError(_CHANGED)
            trial_id, settings, status, record, error, seconds, started, finished, versions, attempts, held, _ = values
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
                json.loads(held or "{}"),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{self.file}: the row of trial {values[0]} is damaged ({error}); to run only it again: {again}"
            return StoredTrial(values[0], {}, "lost", None, f"FileFormatError: {reason}", 0.0, "", "", {})

    def statuses(self) -> dict[str, str]:
        """Status of every stored trial by id, or what is wrong with it.

        ``"lost"`` is also one that is done but has lost its files, and ``"damaged"`` one whose row or files are not
        what was stored.
        """
        return {trial_id: self._status(row) for trial_id, row in self.rows().items()}

    def _status(self, row: StoredTrial) -> str:
        if row.status != "done":
            return row.status if row.finished else "damaged"
        try:
            held = {"arrays": digest_of(self.arrays_path(row.id)), "history": digest_of(self.history_path(row.id))}
        except FileNotFoundError:
            return "lost"
        except OSError:
            return "damaged"
        return "done" if row.files in ({}, held) else "damaged"

    @contextmanager
    def _connect(self, mode: str = "") -> Iterator[sqlite3.Connection]:
        """Connection for reading, or in a mode of SQLite for writing: ``"rw"``, or ``"rwc"`` that makes the file."""
        try:
            with closing(self._open(mode)) as connection:
                # Bytes that are no text any more are for the digest of their row to find.
                connection.text_factory = lambda content: content.decode(errors="replace")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise FileFormatError(
                        f"{self.file}: written by a newer encollapse (layout {version}); update to read it"
                    )
                if 0 < version < _OLDEST:
                    raise FileFormatError(
                        f"{self.file}: written by an older encollapse (layout {version}); "
                        "give another folder, or delete this one and run the study again"
                    )
                if mode:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                with connection:
                    yield connection
        except sqlite3.OperationalError as error:
            if mode:
                raise unwritable(self.file, str(error)) from None
            raise EncollapseError(
                f"{self.file}: cannot be read ({error}); see that the disk has room and the folder is yours to read"
            ) from None
        except sqlite3.DatabaseError as error:
            raise FileFormatError(f"{self.file}: not a results file of encollapse ({error})") from None

    def _open(self, mode: str) -> sqlite3.Connection:
        if not mode and not os.access(self.path, os.W_OK):
            return self._open_unchanging()
        # Only what makes a folder makes a file: not where a folder was that somebody has renamed.
        connection = self._open_as(mode or "rw")
        if not mode:
            try:
                connection.execute("PRAGMA schema_version").fetchone()
            except sqlite3.OperationalError as error:
                connection.close()
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
                    raise
                return self._open_unchanging()
        return connection

    def _open_unchanging(self) -> sqlite3.Connection:
        """Open for reading alone. In WAL mode even a reader makes files. Where it cannot, nobody can write either."""
        log = self.file.with_name(f"{FILE}-wal")
        return self._open_as("ro" if log.exists() and log.stat().st_size else "ro&immutable=1")

    def _open_as(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(os.fsencode(self.file.absolute()))}?mode={mode}", timeout=30, uri=True)


def _digest(values: Sequence[Any]) -> str:
    """A hash of the values of a row."""
    return hashlib.sha256(json.dumps(values, default=repr).encode()).hexdigest()


def _whole(values: Sequence[Any]) -> bool:
    """Whether a row has the digest that stands at its end, or was written by a release that kept none."""
    return values[-1] is None or values[-1] == _digest(values[:-1])
