"""Trials on machines that somebody else provides: any executor of `concurrent.futures`, Dask, submitit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any, TypeVar

from encollapse._internal.extras import needed_by
from encollapse.errors import ArgumentError, EncollapseError
from encollapse.study.execution.display import Observer
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import JobOf, Outcome, execute_single_threaded, lost
from encollapse.study.trials import Trial

T = TypeVar("T")
Outcomes = Generator[tuple[Trial, Outcome], None, None]

_AHEAD = 2
"""Trials a Dask worker has at hand, the one that it runs included."""

_POLL_SECONDS = 0.2  # far below the time of a trial


def submitted(
    queue: TrialQueue,
    executor: Executor,
    most: Callable[[], int | None],
    job_of: JobOf,
    work: Callable[..., Outcome],
    observer: Observer,
) -> Outcomes:
    """Keep at most so many trials in an executor. None hands out all at once."""

    def finished(running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        return wait(running, queue.patience, FIRST_COMPLETED).done

    return _handed_out(queue, lambda trial: executor.submit(work, job_of(trial)), finished, most, observer)


def _handed_out(
    queue: TrialQueue,
    submit: Callable[[Trial], T],
    finished: Callable[[Collection[T]], Collection[T]],
    most: Callable[[], int | None],
    observer: Observer,
) -> Outcomes:
    """Keep at most so many trials running. `finished` waits a while for one of them and says which have ended."""
    running: dict[Any, Trial] = {}
    try:
        while True:
            limit = most()
            while limit is None or len(running) < limit:
                trial = queue.take()
                if trial is None:
                    break
                running[submit(trial)] = trial
                observer.started(trial)
            if not running:
                return
            for future in finished(running):
                yield running.pop(future), _result(future)
            if queue.leaving:
                return
    finally:
        for future in running:
            future.cancel()


def _result(future: Any) -> Outcome:
    try:
        outcome: Outcome = future.result()
    except Exception as error:  # the executor itself failed: a lost worker, or a result that cannot travel
        return lost(f"the executor lost this trial: {type(error).__name__}: {error}")
    return outcome


def on_dask(queue: TrialQueue, workers: int, options: Mapping[str, Any], job_of: JobOf, observer: Observer) -> Outcomes:
    """Run on the Dask cluster at the option ``address``, and without one on a cluster of processes of this machine.

    Dask itself runs a trial again whose worker has died, three times.
    """
    unknown = [name for name in options if name not in ("address", "timeout")]
    if unknown:
        raise ArgumentError(f"executor_options: dask has no option {unknown[0]!r}; it has: address, timeout")
    with needed_by("executor='dask'", "dask"):
        import distributed

    untyped: Any = distributed

    def run() -> Outcomes:
        address = options.get("address")
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        cluster = None
        if address is None:
            cluster = untyped.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=one_thread
            )
        try:
            try:
                client = untyped.Client(cluster or address, timeout=options.get("timeout", 10), set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise EncollapseError(
                    f"address: no Dask scheduler answers at {address!r} ({error}); "
                    "start one with `dask scheduler`, or leave the address out"
                ) from None
            with client:
                yield from submitted(
                    queue,
                    client.get_executor(pure=False),
                    lambda: _AHEAD * max(len(client.nthreads()), 1),
                    job_of,
                    execute_single_threaded,
                    observer,
                )
        finally:
            if cluster is not None:
                cluster.close()

    return run()


def on_submitit(
    queue: TrialQueue, workers: int | None, options: Mapping[str, Any], folder: Path, job_of: JobOf, observer: Observer
) -> Outcomes:
    """Run each trial as a job of a batch system, at most `workers` at a time where given.

    ``cluster`` is ``"slurm"``, ``"local"`` or ``"debug"`` (default: Slurm where it is there, else local). The
    other options are submitit's parameters, such as ``timeout_min`` and ``slurm_partition``.
    """
    with needed_by("executor='submitit'", "submitit"):
        import submitit
    parameters = dict(options)
    cluster = parameters.pop("cluster", None)
    try:
        executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=cluster)
        executor.update_parameters(**{"cpus_per_task": 1, **parameters})
    except (ValueError, TypeError, NameError, RuntimeError) as error:
        raise ArgumentError(f"executor_options: submitit does not take them ({error})") from None

    def finished(running: Collection[Any]) -> Collection[Any]:
        # A job of the cluster "debug" runs when its result is asked for.
        ended = [job for job in running if executor.cluster == "debug" or job.done()]
        if not ended:
            time.sleep(_POLL_SECONDS)
        return ended

    return _handed_out(
        queue,
        lambda trial: executor.submit(execute_single_threaded, job_of(trial)),
        finished,
        lambda: workers,
        observer,
    )
