"""Work for process pools that kills its own process; importable by spawned workers."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encollapse.study.execute import Outcome, now


def fine(settings: Mapping[str, Any]) -> Outcome:
    """Return a record that says where it was made."""
    record = {
        "comparison": None,
        "seed": settings["seed"],
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
    }
    return Outcome(record, None, None, None, 0.0, now(), now(), {})


def dies_for_seed_0(settings: Mapping[str, Any]) -> Outcome:
    """Die as if killed from outside, for one seed, every time."""
    if settings["seed"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return fine(settings)


def dies_once(settings: Mapping[str, Any]) -> Outcome:
    """Die for seed 0 unless the marker file named by the data set is there already."""
    marker = Path(settings["dataset"]["name"])
    if settings["seed"] == 0 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fine(settings)
