"""Where trials run: in this process, in a pool of single-threaded processes, or in a given executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from encollapse import _checks
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, UnsupportedError
from encollapse.study.execute import Outcome, execute, lost
from encollapse.study.trials import Trial

Outcomes = Generator[tuple[Trial, Outcome], None, None]
Work = Callable[[Mapping[str, Any]], Outcome]

_DIED = (
    "the worker process died twice in this trial, the second time with no other trial running: killed from "
    "outside, out of memory, or a crash in native code"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MKL_NUM_THREADS": "1"}


def outcomes(
    trials: list[Trial], executor: str | Executor, workers: int | None, work: Work = execute
) -> Outcomes:
    """Run trials and yield each with its outcome as it finishes, in whatever order that is.

    Closing the iterator stops what still runs.

    Raises
    ------
    ArgumentError, ArgumentTypeError, UnsupportedError
        If `executor` is not one that this release has, or `workers` is not above zero.
    """
    count = _workers(workers)
    if isinstance(executor, Executor):
        return _submitted(trials, executor, work)
    if not isinstance(executor, str):
        raise ArgumentTypeError(
            f"executor: expected a name or a concurrent.futures.Executor, got {type(executor).__name__}"
        )
    if executor == "inline":
        return _inline(trials, work)
    if executor == "process":
        return _ProcessRun(trials, min(count, max(len(trials), 1)), work).outcomes()
    if executor in ("dask", "submitit"):
        hint = "dask.distributed's Client.get_executor()" if executor == "dask" else "submitit's executors"
        raise UnsupportedError(
            f"executor: this release has 'process' and 'inline', not {executor!r}; "
            f"any concurrent.futures.Executor can be passed instead, such as {hint}"
        )
    raise ArgumentError(
        f"executor: expected 'process', 'inline' or a concurrent.futures.Executor, got {executor!r}"
    )


def _workers(workers: int | None) -> int:
    if workers is not None:
        return _checks.integer(workers, "workers", minimum=1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _inline(trials: list[Trial], work: Work) -> Outcomes:
    for trial in trials:
        yield trial, work(trial.settings)


def _submitted(trials: list[Trial], executor: Executor, work: Work) -> Outcomes:
    futures = {executor.submit(work, dict(trial.settings)): trial for trial in trials}
    try:
        while futures:
            finished, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in finished:
                yield futures.pop(future), _result(future)
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except Exception as error:  # the executor itself failed: a lost worker, or a result that cannot travel
        return lost(f"the executor lost this trial: {type(error).__name__}: {error}")


class _ProcessRun:
    """A pool that outlives the death of its workers.

    At most `count` trials are handed out at a time, so a worker that dies (out of memory, killed) puts few
    under suspicion. Those are run once more, each alone in a fresh pool, where the blame is certain.
    """

    def __init__(self, trials: list[Trial], count: int, work: Work) -> None:
        self.waiting = list(trials)
        self.suspects: list[Trial] = []
        self.count, self.work = count, work

    def outcomes(self) -> Outcomes:
        while self.waiting:
            yield from self._until_broken()
        while self.suspects:
            yield from self._alone(self.suspects.pop(0))

    def _until_broken(self) -> Outcomes:
        running: dict[Future[Outcome], Trial] = {}
        with _pool(self.count) as pool:
            try:
                while self.waiting or running:
                    while self.waiting and len(running) < self.count:
                        future = pool.submit(self.work, dict(self.waiting[0].settings))
                        running[future] = self.waiting.pop(0)
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in sorted(finished, key=_broke):
                        if _broke(future):
                            raise BrokenProcessPool
                        yield running.pop(future), _result(future)
            except BrokenProcessPool:
                self.suspects.extend(running.values())

    def _alone(self, trial: Trial) -> Outcomes:
        with _pool(1) as pool:
            future = pool.submit(self.work, dict(trial.settings))
            yield trial, lost(_DIED) if _broke(future) else _result(future)


def _broke(future: Future[Outcome]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


@contextmanager
def _pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, which end with this block and with this process, however it ends."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    # Set here, not in the worker: an OpenMP runtime reads it when it is loaded, which may be at once.
    os.environ.update(_ONE_THREAD)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=(reader,))
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise EncollapseError(
                "executor: worker processes do not start; call study.run from a script under "
                "`if __name__ == '__main__':` (and not from standard input), or use executor='inline'"
            ) from None
        yield pool
    finally:
        # Workers leave when the pipe closes, trials that still run included; nothing waits for them.
        writer.close()
        pool.shutdown(wait=False, cancel_futures=True)
        reader.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(alive: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    threading.Thread(target=_leave_with_driver, args=(alive,), daemon=True).start()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _leave_with_driver(alive: Connection) -> None:
    try:
        alive.poll(None)
    finally:
        os._exit(0)
