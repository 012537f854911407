"""Who has the cores: shares of one piece of work in threads of their own, or one library alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")


def side_by_side(work: Callable[[int, int], T], shares: Sequence[tuple[int, int]]) -> list[T]:
    """Results of ``work(start, stop)`` for each share, at the same time, every one in a single thread.

    torch splits each operation over its threads, which for operations on a tile that fits the cache costs
    as much as it gains.
    """
    if len(shares) == 1:
        return [work(*shares[0])]
    inference, threads = torch.is_inference_mode_enabled(), torch.get_num_threads()

    def alone(start: int, stop: int) -> T:
        with torch.inference_mode(inference):  # threads of a pool start out without
            return work(start, stop)

    pool = _pool(os.getpid(), len(shares) - 1)
    torch.set_num_threads(1)
    try:
        others = [pool.submit(alone, *share) for share in shares[1:]]
        try:
            own = work(*shares[0])
        finally:
            wait(others)
        return [own, *(other.result() for other in others)]
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(process: int, number: int) -> ThreadPoolExecutor:
    """Return threads that stay: the first operation of torch in a new one costs as much as a tile.

    Threads do not survive a fork, so that each process has its own.
    """
    return ThreadPoolExecutor(number, f"encollapse-{process}", initializer=torch.set_num_threads, initargs=(1,))


def even_shares(count: int, number: int) -> list[tuple[int, int]]:
    """First and one past the last of `number` shares of `count` things."""
    bounds = [count * i // number for i in range(number + 1)]
    return list(pairwise(bounds))


@contextmanager
def brief_operations(there_are: bool) -> Iterator[int]:
    """Give the number of threads to share work over, with torch's own operations in one if `there_are` only short ones.

    A thread of torch spins for milliseconds after an operation, on the core that the next share of work wants.
    """
    threads = torch.get_num_threads()
    if not there_are:
        yield threads
        return
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_library() -> Iterator[None]:
    """Leave the cores to torch: numpy's linear algebra in a single thread for as long as the context lasts.

    Its threads keep spinning for a while after each operation, also after the shortest, and torch's next product
    then takes three times as long. Of contexts at the same time in several threads the last one to end gives
    numpy its threads back.
    """
    with _LOCK:
        if not _LIMITS:
            _LIMITS.append(_numpys_threads().limit(limits=1))
        else:
            _LIMITS.append(_LIMITS[0])
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                limit.restore_original_limits()


_LOCK = Lock()
_LIMITS: list[Any] = []


@cache
def _numpys_threads() -> ThreadpoolController:
    """Return the thread pools of numpy's and scipy's linear algebra, and not one that torch has of the same kind."""
    every = ThreadpoolController()
    found = [
        library["filepath"]
        for library in every.info()
        if library["internal_api"] == "openblas" and "torch" not in Path(library["filepath"]).parts
    ]
    return every.select(filepath=found)
