"""Work for process pools that kills its own process; importable by spawned workers."""

import os
import signal
from pathlib import Path

from encollapse.study.execute import Job, Outcome, Tell, now


def fine(job: Job, tell: Tell | None = None) -> Outcome:
    """Return a record that says where it was made."""
    record = {
        "comparison": None,
        "seed": job.settings["seed"],
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
    }
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
