"""What executors tell of the trials that run."""

from __future__ import annotations

from typing import Protocol

from encollapse.study.trials import Trial


class Watcher(Protocol):
    """Somebody who is told what runs."""

    def started(self, trial: Trial) -> None:
        """A trial has begun."""

    def moved(self, trial: Trial, done: int, total: int, note: str) -> None:
        """A training has come so far."""

    def lost(self, trial: Trial) -> None:
        """The worker of a trial died; the trial will be run again."""


class Nobody:
    """A watcher who does not care."""

    def started(self, trial: Trial) -> None:
        """Do nothing."""

    def moved(self, trial: Trial, done: int, total: int, note: str) -> None:
        """Do nothing."""

    def lost(self, trial: Trial) -> None:
        """Do nothing."""
