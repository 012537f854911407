"""Work handed to an executor, and its results in order."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from encollapse._internal import checks
from encollapse.errors import EncollapseError

Result = TypeVar("Result")


def in_order(
    executor: Executor | None, work: Callable[..., Result], pieces: Sequence[Any], *arguments: Any
) -> Iterator[Result]:
    """Yield ``work(piece, *arguments)`` in the order of the pieces, so that sums come out alike every time.

    Only a few results for each worker are on their way at once, which bounds the memory they take.

    Raises
    ------
    EncollapseError
        If a worker process died.
    """
    if executor is None:
        yield from (work(piece, *arguments) for piece in pieces)
        return
    cure = "for Dask pass Client.get_executor()"
    checks.instance(executor, "executor", Executor, what="a concurrent.futures.Executor", why=cure)
    waiting, running = iter(pieces), deque[Future[Result]]()
    try:
        for piece in itertools.islice(waiting, 2 * _workers(executor)):
            running.append(executor.submit(work, piece, *arguments))
        while running:
            yield running.popleft().result()
            running.extend(executor.submit(work, piece, *arguments) for piece in itertools.islice(waiting, 1))
    except BrokenProcessPool:
        raise EncollapseError(
            "executor: a worker process died: out of memory, killed from outside, or started from a script "
            "without `if __name__ == '__main__':`; use fewer workers, or executor=None"
        ) from None
    finally:
        for future in running:
            future.cancel()


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes with one thread each, for :func:`encollapse.measure.measure_shards`.

    Parameters
    ----------
    workers : int
        How many.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        The processes. They end with the context, and at once after an error.

    Raises
    ------
    ArgumentError
        If `workers` is below one.

    Examples
    --------
    In a script, below ``if __name__ == "__main__":``, as the processes import it:

    >>> import encollapse as ec
    >>> with ec.measure.process_pool(4) as pool:  # doctest: +SKIP
    ...     measured = ec.measure.measure_shards("shards", executor=pool)
    """
    count = checks.integer(workers, "workers", minimum=1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_one_thread) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _workers(executor: Executor) -> int:
    known = getattr(executor, "_max_workers", None)
    return known if isinstance(known, int) else max(8, os.cpu_count() or 1)
