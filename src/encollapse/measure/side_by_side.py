"""Shares of one piece of work in threads of their own, where single operations are too short to be split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

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
        with torch.inference_mode(inference):  # new threads start out without
            return work(start, stop)

    torch.set_num_threads(1)  # new threads start out with that
    try:
        with ThreadPoolExecutor(len(shares) - 1) as pool:
            others = [pool.submit(alone, *share) for share in shares[1:]]
            own = work(*shares[0])
            return [own, *(other.result() for other in others)]
    finally:
        torch.set_num_threads(threads)


def even_shares(count: int, number: int) -> list[tuple[int, int]]:
    """First and one past the last of `number` shares of `count` things."""
    bounds = [count * i // number for i in range(number + 1)]
    return list(pairwise(bounds))
