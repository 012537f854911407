"""The folder of a study: where its files are, who may write to it, and what has been begun in it."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from safetensors import SafetensorError

from encollapse._internal import files
from encollapse.errors import ArgumentError, EncollapseError, FileFormatError, WriteError

FILE = "results.sqlite"

_LONGEST_PATH = 500
"""Bytes of the path of a file that SQLite opens, less those that it appends."""


def rerun_command(origin: str, out: str | Path) -> str:
    """What runs all that a folder lacks of the study with this name or file."""
    return f"encollapse study {shlex.quote(origin)} --out {shlex.quote(str(out))}"


class StudyFolder:
    """Readers may look into it at any time. One driver at a time writes to it.

    Raises
    ------
    ArgumentError
        If the path is longer than the system or SQLite takes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = self.path / FILE
        self._begun = self.path / "begun.txt"
        self._place: tuple[int, int] | None = None
        try:
            self.path.stat()  # a name of more than 255 bytes is an error of the system, not a missing file
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass
        except (OSError, ValueError) as error:
            long = getattr(error, "errno", 0) == errno.ENAMETOOLONG
            reason = "it, or a name in it, is too long for the system" if long else str(error)
            raise ArgumentError(f"out: {_short(self.path)} cannot be a folder ({reason}); give another") from None
        length = len(os.fsencode(self.file.absolute()))
        if length > _LONGEST_PATH:
            raise ArgumentError(
                f"out: the path {_short(self.path)} is too long: {FILE} in it has {length} bytes, and SQLite opens "
                f"{_LONGEST_PATH}; give a folder nearer to the root"
            )

    def arrays_path(self, trial_id: str) -> Path:
        """Where the arrays of a trial are kept."""
        return self.path / "trials" / f"{trial_id}.safetensors"

    def history_path(self, trial_id: str) -> Path:
        """Where the history of a trial is kept."""
        return self.path / "trials" / f"{trial_id}.json"

    def checkpoint_path(self, trial_id: str) -> Path:
        """Where a trial keeps the state of its training while it runs."""
        return self.path / "checkpoints" / f"{trial_id}.safetensors"

    def make(self) -> None:
        """Make the folder if it is not there.

        Raises
        ------
        ArgumentError
            If the path is a file.
        EncollapseError
            If it cannot be made.
        """
        if files.exists(self.path) and not files.is_dir(self.path):
            raise ArgumentError(f"out: {str(self.path)!r} is a file; give a folder")
        with self.storing():
            self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Say what to do where the system refuses to write."""
        try:
            yield
        except WriteError as error:
            raise unwritable(str(error).partition(": cannot be written")[0], str(error.strerror)) from None
        except OSError as error:
            raise unwritable(error.filename or self.path, error.strerror or str(error)) from None
        except SafetensorError as error:
            raise unwritable(self.path, str(error)) from None

    def require(self) -> None:
        """Raise FileNotFoundError unless the folder holds results."""
        if not files.is_file(self.file):
            raise FileNotFoundError(
                f"{self.path}: holds no study results ({FILE} is not there); "
                "run `encollapse study NAME --out` with this folder first"
            )

    def require_place(self) -> None:
        """Raise unless the folder is still that of which :meth:`driver_lock` made this the driver."""
        if self._place is not None and _place_of(self.path) != self._place:
            raise EncollapseError(
                f"{self.path}: the folder was renamed or removed while its study ran; what had finished is stored "
                "in it: run the same command with --out naming its new place"
            )

    def clean(self) -> None:
        """Remove what a killed driver left half-written beside the files of trials. For the driver alone."""
        with self.storing():
            for folder in ("trials", "checkpoints", "encodings"):
                for left in (self.path / folder).glob(".*"):
                    if not left.is_dir():
                        left.unlink(missing_ok=True)
            (self.path / "checkpoints").mkdir(exist_ok=True)

    def begin(self, trial_id: str) -> None:
        """Note that a trial is handed out.

        Raises
        ------
        EncollapseError
            If the folder is no longer where it was.
        """
        self.require_place()
        with self.storing(), self._begun.open("a", encoding="utf-8") as file:
            file.write(f"{trial_id}\n")

    def begun(self) -> Counter[str]:
        """How often each trial was handed out since nothing was left to do. What is damaged is not counted."""
        try:
            return Counter(self._begun.read_text(encoding="utf-8", errors="replace").split())
        except OSError:
            return Counter()

    def forget_begun(self) -> None:
        """Forget what was handed out: nothing is left to do."""
        if self._begun.is_file():
            self._begun.unlink(missing_ok=True)

    @contextmanager
    def driver_lock(self) -> Iterator[None]:
        """Hold the folder, which is made if it is not there, as its only driver.

        The lock is one of the operating system, taken through SQLite: it ends with the process that
        holds it, however that process ends, so a killed driver blocks nobody.

        Raises
        ------
        EncollapseError
            If another driver holds it, or the folder cannot be written to.
        FileFormatError
            If the file of the lock is something else.
        """
        self.make()
        holder = self.path / "driver.txt"
        with closing(self._locked(holder)):
            with self.storing():
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
            self._place = _place_of(self.path)
            try:
                yield
            finally:
                if _place_of(self.path) == self._place:
                    holder.unlink(missing_ok=True)
                self._place = None

    def _locked(self, holder: Path) -> sqlite3.Connection:
        file = self.path / "driver.lock"
        lock = None
        try:
            lock = sqlite3.connect(file, timeout=0, isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")
            return lock
        except sqlite3.DatabaseError as error:
            if lock is not None:
                lock.close()
            if not isinstance(error, sqlite3.OperationalError):
                raise FileFormatError(
                    f"{file}: not the lock of a driver ({error}); delete it and run the same command"
                ) from None
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise unwritable(file, str(error)) from None
        try:
            who = holder.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            who = "an unknown process"
        raise EncollapseError(
            f"{self.path}: another driver ({who}) is running a study in this folder; "
            "wait for it, stop it, or give another folder with out="
        )


def unwritable(path: str | Path, reason: str) -> EncollapseError:
    """Make the error for a file or a folder that the system does not let us write."""
    return EncollapseError(
        f"{path}: cannot be written ({reason}); make room or give another folder, then run the same command: "
        "finished trials are kept"
    )


def _short(path: Path) -> str:
    """A path that may be too long to be shown whole."""
    text = str(path)
    return repr(text if len(text) <= 120 else f"{text[:50]}...{text[-50:]}")


def _place_of(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of its name, or None where there is none."""
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
