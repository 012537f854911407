"""Work for process pools that kills its own process; importable by spawned workers."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from encollapse.study.execution.trial import Job, Outcome, Tell, now
from encollapse.study.record import TrialRecord


def fine(job: Job, tell: Tell | None = None) -> Outcome:
    """Return a record that says where it was made."""
    record = TrialRecord(settings={"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})
    return Outcome(record, None, [], {}, 0.0, now(), now(), {})


def dies_for_seed_0(job: Job, tell: Tell | None = None) -> Outcome:
    """Die as if killed from outside, for one seed, every time."""
    if job.settings["seed"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return fine(job, tell)


def dies_once(job: Job, tell: Tell | None = None) -> Outcome:
    """Die for seed 0 unless the marker file named by the data set is there already."""
    marker = Path(job.settings["dataset"]["name"])
    if job.settings["seed"] == 0 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fine(job, tell)


def fails_for_seed_1(job: Job, tell: Tell | None = None) -> Outcome:
    """Fail as if an exception had been raised, for one seed, every time."""
    outcome = fine(job, tell)
    return replace(outcome, record=None, error="ValueError: no") if job.settings["seed"] == 1 else outcome


def begets(job: Job, tell: Tell | None = None) -> Outcome:
    """Start a process and wait for it."""
    child = multiprocessing.get_context("spawn").Process(target=os.getpid)
    child.start()
    child.join()
    outcome = fine(job, tell)
    return replace(outcome, record=TrialRecord(settings={"exitcode": child.exitcode}))


def slow(job: Job, tell: Tell | None = None) -> Outcome:
    """Take a third of a second."""
    time.sleep(0.3)
    return fine(job, tell)


def endless(job: Job, tell: Tell | None = None) -> Outcome:
    """Take longer than anybody waits."""
    time.sleep(1000.0)
    return fine(job, tell)


def endless_for_seed_0(job: Job, tell: Tell | None = None) -> Outcome:
    """Take longer than anybody waits, for one seed."""
    return endless(job, tell) if job.settings["seed"] == 0 else fine(job, tell)


def telling(job: Job, tell: Tell | None = None) -> Outcome:
    """Say once how far it is."""
    assert tell is not None
    time.sleep(0.4)
    tell(3, 7, "half way")
    return fine(job, tell)
