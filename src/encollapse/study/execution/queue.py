"""What is left to run, and for how long trials may still be handed out."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable

from encollapse._internal import checks
from encollapse.study.trials import Trial

LEAST_GRACE = 60.0
"""Seconds for which trials that run are waited for where nobody says."""


class TrialQueue:
    """Trials in the order in which they are handed out.

    Parameters
    ----------
    trials : iterable of Trial
        Distinct.
    retries : int
        How often a trial is handed out again after it failed.
    max_seconds : float, optional
        Time from now after which no trial is handed out.
    grace : float, optional
        Seconds after `max_seconds` for which trials that run are waited for, by default as many again, but at least
        :data:`LEAST_GRACE`.
    """

    def __init__(
        self, trials: Iterable[Trial], *, retries: int = 0, max_seconds: float | None = None, grace: float | None = None
    ) -> None:
        self._trials = deque(trials)
        self._retries = checks.integer(retries, "retries", minimum=0)
        self._attempts: Counter[str] = Counter()
        self._closing = self._leaving = None
        if max_seconds is not None:
            self._closing = time.monotonic() + checks.nonnegative(max_seconds, "max_seconds")
            usual = max(max_seconds, LEAST_GRACE)
            self._leaving = self._closing + (usual if grace is None else checks.nonnegative(grace, "grace"))

    def __len__(self) -> int:
        return len(self._trials)

    @property
    def open(self) -> bool:
        """Whether there is time to begin another trial."""
        return self._closing is None or time.monotonic() < self._closing

    @property
    def leaving(self) -> bool:
        """Whether it is time to leave what still runs."""
        return self._leaving is not None and time.monotonic() >= self._leaving

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is time to leave what still runs, or None for ever."""
        return None if self._leaving is None else max(self._leaving - time.monotonic(), 0.0)

    @property
    def patience(self) -> float | None:
        """Seconds for which to wait for news before looking at the clock again, or None for ever."""
        known = [moment for moment in (self._closing, self._leaving) if moment is not None]
        ahead = [moment - time.monotonic() for moment in known]
        return min((seconds for seconds in ahead if seconds > 0), default=0.0 if self.leaving else None)

    def take(self) -> Trial | None:
        """Next trial to begin, or None if there is none, or no time for one."""
        if not self._trials or not self.open:
            return None
        trial = self._trials.popleft()
        self._attempts[trial.id] += 1
        return trial

    def try_again(self, trial: Trial) -> bool:
        """Put a failed trial back if it may be tried again."""
        if self._attempts[trial.id] > self._retries or not self.open:
            return False
        self._trials.append(trial)
        return True

    def attempts(self, trial: Trial) -> int:
        """How often the trial has been handed out."""
        return self._attempts[trial.id]
