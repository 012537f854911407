"""Worker processes of one thread each, every one on its own pipe, so that a death costs its own trial only.

`concurrent.futures.ProcessPoolExecutor` was considered and does not do here, for four reasons:

* When one of its workers dies, the whole pool is broken: every trial that runs or waits fails with
  `BrokenProcessPool`, and nothing says which of them killed its worker. Here that trial alone is run again.
* It cannot stop a task that runs (before Python 3.14). Ctrl-C and the end of the grace would wait for whole trainings.
* Its workers share one queue, and live on when the driver is killed. Here a pipe that closes ends each of them.
* A task returns once. How far a training has come would need a channel of its own beside the pool.

An executor of the user's is taken all the same (:mod:`encollapse.study.execution.futures`), with these limits.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from encollapse.errors import EncollapseError
from encollapse.study.execution.display import Observer
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import JobOf, Outcome, Work, lost, out_of_time
from encollapse.study.trials import Trial

_DIED = (
    "the worker process died twice in this trial, the second time with no other trial running: killed from "
    "outside, out of memory, or a crash in native code"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MKL_NUM_THREADS": "1"}
_FALSE_STARTS = 5
"""Workers that may die in a row before they are ready."""

_MARGIN_SECONDS = 5.0
"""Time for a worker to stop a trial at its limit by itself, after which it is killed: native code may never return."""

_NEWS_SECONDS = 0.25
"""Least time between two words of a worker on how far its training is."""

_context = multiprocessing.get_context("spawn")


class _Worker:
    """A process and the trial that it runs, if any."""

    def __init__(self, work: Work) -> None:
        self.connection, theirs = _context.Pipe()
        # The other end of this pipe is never written to: it closes when the driver ends, however it ends.
        alive, self._alive = _context.Pipe(duplex=False)
        self.process: BaseProcess = _context.Process(target=_serve, args=(work, theirs, alive))
        # Not a daemon in the sense of multiprocessing: a training on several devices has processes of its own.
        with _one_thread():
            self.process.start()
        theirs.close()
        alive.close()
        self.ready = False
        self.trial: Trial | None = None
        self.limit: float | None = None
        self.deadline = math.inf

    def end(self) -> None:
        """Kill the process and take its pipes away."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        self._alive.close()


class WorkerPool:
    """At most `count` processes that take trials from `queue`.

    A trial whose worker dies is run once more when nothing else is left to run, alone: if its worker dies
    again, memory that another trial took is no excuse.
    """

    def __init__(self, queue: TrialQueue, count: int, job_of: JobOf, work: Work, observer: Observer) -> None:
        self.queue, self.count, self.job_of, self.work, self.observer = queue, count, job_of, work, observer
        self.workers: list[_Worker] = []
        self.suspects: list[Trial] = []
        self.deaths: Counter[str] = Counter()
        self.false_starts = 0

    def outcomes(self) -> Generator[tuple[Trial, Outcome], None, None]:
        """Run everything. Closing the iterator kills the workers."""
        try:
            while True:
                self._hand_out()
                if not any(worker.trial for worker in self.workers) and not self._wanted():
                    return
                by_connection = {worker.connection: worker for worker in self.workers}
                for connection in wait(list(by_connection), self._patience()):
                    assert isinstance(connection, Connection)
                    yield from self._news(by_connection[connection])
                for worker in [worker for worker in self.workers if worker.deadline <= time.monotonic()]:
                    yield from self._stop(worker)
                if self.queue.leaving:
                    return
        finally:
            for worker in self.workers:
                worker.end()

    def _patience(self) -> float | None:
        """Seconds for which to wait for news: until the queue or a deadline wants to be looked at, or None for ever."""
        ahead = [worker.deadline - time.monotonic() for worker in self.workers if worker.deadline < math.inf]
        known = [seconds for seconds in (self.queue.patience, *ahead) if seconds is not None]
        return max(min(known), 0.0) if known else None

    def _wanted(self) -> bool:
        return self.queue.open and (len(self.queue) > 0 or bool(self.suspects))

    def _hand_out(self) -> None:
        busy = sum(worker.trial is not None for worker in self.workers)
        wanted = min(self.count, busy + len(self.queue)) if self.queue.open else busy
        if wanted == 0 and self._wanted():
            wanted = 1  # for a suspect
        while len(self.workers) < wanted:
            with _interrupts_held():  # until the worker is in the list of those that are ended
                self.workers.append(_Worker(self.work))
        for worker in self.workers:
            if worker.ready and worker.trial is None:
                self._give(worker)

    def _give(self, worker: _Worker) -> None:
        trial = self.queue.take()
        if trial is None and self.suspects and self.queue.open:
            if any(other.trial for other in self.workers):
                return
            trial = self.suspects.pop(0)
        if trial is None:
            return
        worker.trial, job = trial, self.job_of(trial)
        self.observer.started(trial)
        worker.limit = job.seconds
        worker.deadline = math.inf if job.seconds is None else time.monotonic() + job.seconds + _MARGIN_SECONDS
        with suppress(OSError):  # it died just now; its pipe will say so
            worker.connection.send(job)

    def _news(self, worker: _Worker) -> Iterator[tuple[Trial, Outcome]]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._died(worker)
            return
        if message is None:
            worker.ready, self.false_starts = True, 0
            return
        assert worker.trial is not None
        if isinstance(message, Outcome):
            trial, worker.trial, worker.deadline = worker.trial, None, math.inf
            if message.lost:
                self._end(worker)  # it was interrupted anywhere: perhaps half-way through loading a module
            else:
                self._give(worker)  # before the outcome is stored: the worker need not wait for that
            yield trial, message
        else:
            self.observer.moved(worker.trial, *message)

    def _end(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def _stop(self, worker: _Worker) -> Iterator[tuple[Trial, Outcome]]:
        """Kill a worker whose trial is over its time."""
        self._end(worker)
        assert worker.trial is not None
        yield worker.trial, lost(out_of_time(worker.limit))

    def _died(self, worker: _Worker) -> Iterator[tuple[Trial, Outcome]]:
        self._end(worker)
        if not worker.ready:
            self._false_start(worker.process.exitcode)
        trial = worker.trial
        if trial is None:
            return
        self.deaths[trial.id] += 1
        if self.deaths[trial.id] > 1:
            yield trial, lost(_DIED)
        else:
            self.suspects.append(trial)
            self.observer.lost(trial)

    def _false_start(self, exitcode: int | None) -> None:
        self.false_starts += 1
        killed = exitcode is not None and exitcode < 0
        if not killed or self.false_starts >= _FALSE_STARTS:
            raise EncollapseError(
                "executor: worker processes do not start; call study.run from a script under "
                "`if __name__ == '__main__':` (and not from standard input), or use executor='inline'"
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Set what a process started here inherits: an OpenMP runtime reads it when it is loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C back while a process is started: it inherits that, and prints no traceback where it is still loading.

    It reaches this process afterwards. Another thread of this process, a progress bar's perhaps, may still take the
    signal, and Python then calls the handler in the main thread: so that waits too.
    """
    came: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    mine = handler is not None and threading.current_thread() is threading.main_thread()
    if mine:
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        resource_tracker.ensure_running()  # which would end the block: its start lets signals through
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        if mine:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _serve(work: Work, connection: Connection, alive: Connection) -> None:
    """Run trials as they come, until the driver closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_driver, args=(alive,), daemon=True).start()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    last = 0.0

    def tell(done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _NEWS_SECONDS:
            last = time.monotonic()
            connection.send((done, total, note))

    with suppress(EOFError, ConnectionError):  # the driver has closed the pipe, or has ended
        connection.send(None)
        while True:
            job = connection.recv()
            last = time.monotonic()
            connection.send(work(job, tell))


def _leave_with_driver(alive: Connection) -> None:
    try:
        alive.poll(None)
    finally:
        os._exit(0)
