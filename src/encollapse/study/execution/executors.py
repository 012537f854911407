"""Where trials run: in this process, in worker processes, or on machines that somebody else provides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.study.execution.display import Observer
from encollapse.study.execution.futures import Outcomes, on_dask, on_submitit, submitted
from encollapse.study.execution.process_pool import WorkerPool
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import Job, JobOf, Work, execute
from encollapse.study.trials import Trial

NAMES = ("process", "inline", "dask", "submitit")
"""Executors that can be asked for by name."""


def job_of(trial: Trial) -> Job:
    """The job of a trial that keeps no state on the way."""
    return Job(trial.settings)


def outcomes(
    queue: TrialQueue,
    executor: str | Executor,
    workers: int | None,
    *,
    work: Work = execute,
    job_of: JobOf = job_of,
    observer: Observer | None = None,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Outcomes:
    """Run trials and yield each with its outcome as it finishes, in whatever order that is.

    Closing the iterator stops what still runs. A trial that is put back into `queue` is run again.

    Parameters
    ----------
    options : mapping, optional
        Options of an executor by name: ``address`` of a Dask scheduler, parameters of submitit.
    folder : path, optional
        Where submitit keeps its files.

    Raises
    ------
    ArgumentError, ArgumentTypeError, MissingDependencyError
        If `executor` is not one that there is, `workers` is not above zero, or an option is unknown.
    """
    count = None if workers is None else checks.integer(workers, "workers", minimum=1)
    observer = observer or Observer()
    given = dict(options or {})
    if isinstance(executor, Executor):
        _no_options(given, "an executor that is given")
        return submitted(queue, executor, lambda: count, job_of, work, observer)
    if not isinstance(executor, str):
        raise ArgumentTypeError(
            f"executor: expected a name or a concurrent.futures.Executor, got {type(executor).__name__}"
        )
    if executor in ("inline", "process"):
        _no_options(given, repr(executor))
    if executor == "inline":
        return _inline(queue, job_of, work, observer)
    if executor == "process":
        return WorkerPool(queue, count or cpus(), job_of, work, observer).outcomes()
    if executor == "dask":
        return on_dask(queue, count or cpus(), given, job_of, observer)
    if executor == "submitit":
        return on_submitit(queue, count, given, folder or Path.cwd(), job_of, observer)
    names = ", ".join(map(repr, NAMES))
    raise ArgumentError(f"executor: expected one of {names} or a concurrent.futures.Executor, got {executor!r}")


def _no_options(given: Mapping[str, Any], executor: str) -> None:
    if given:
        raise ArgumentError(
            f"executor_options: {executor} has no option {next(iter(given))!r}; options are for dask and submitit"
        )


def cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _inline(queue: TrialQueue, job_of: JobOf, work: Work, observer: Observer) -> Outcomes:
    while (trial := queue.take()) is not None:
        observer.started(trial)
        job, left = job_of(trial), queue.seconds_left
        leaves = left is not None and (job.seconds is None or left < job.seconds)
        outcome = work(replace(job, seconds=left) if leaves else job, partial(observer.moved, trial))
        if leaves and outcome.lost:
            return
        yield trial, outcome
