"""Work off the event loop, a client at a time: of several requests of one kind, the last one wins."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from encollapse.explorer.views.bias_path import SupersededError

_MOST_CLIENTS = 256  # pages whose last number is kept, a few bytes each


class QueueFullError(Exception):
    """More work waits than will be done soon: of this page, or of all."""


class RequestQueue:
    """Threads that compute, and the number of the latest request of every client and kind.

    A request carries a number that its page counts up. Work that waits is dropped once a later number has come or
    nobody waits for the answer. Long work asks in between. Clients share nothing but the threads.

    Parameters
    ----------
    threads : int
        How many compute.
    most, most_each : int
        Pieces of work that may wait or run, in all and for one client.
    """

    def __init__(self, threads: int = 4, *, most: int = 64, most_each: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="explorer")
        self._latest: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._most, self._most_each = most, most_each
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    async def run(
        self,
        client: str,
        kind: str,
        order: int,
        work: Callable[[Callable[[], bool]], Any],
        gone: Callable[[], Awaitable[Any]] | None = None,
    ) -> Any:
        """Run ``work(wanted)`` in a thread.

        Raises
        ------
        SupersededError
            If a later request of the same client and kind has come before the work began or ended, or `gone`
            returned, which it does once nobody waits for the answer.
        QueueFullError
            If too much waits already.
        """
        key, left = (client, kind), threading.Event()
        with self._lock:
            self._latest[key] = max(order, self._latest.get(key, order))
            self._latest.move_to_end(key)
            while len(self._latest) > _MOST_CLIENTS:
                self._latest.popitem(last=False)
            if self._held.total() >= self._most or self._held[client] >= self._most_each:
                raise QueueFullError
            self._held[client] += 1

        def wanted() -> bool:
            return not left.is_set() and self._latest.get(key, order) <= order

        def step() -> Any:
            if not wanted():
                raise SupersededError
            return work(wanted)

        task = self._pool.submit(step)
        task.add_done_callback(lambda _: self._release(client))
        return await self._first(task, left, gone)

    async def _first(self, task: Future[Any], left: threading.Event, gone: Callable[[], Awaitable[Any]] | None) -> Any:
        """The result, unless whoever asked leaves before it is there."""
        answer = asyncio.wrap_future(task)
        if gone is None:
            return await answer
        watch = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({answer, watch}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise SupersededError
        finally:
            left.set()
            watch.cancel()
            answer.cancel()  # what waits is dropped with it
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await watch

    def _release(self, client: str) -> None:
        with self._lock:
            self._held[client] -= 1
            self._held += Counter()  # forgets whom nothing is held for

    def close(self) -> None:
        """Drop what waits. What runs ends by itself."""
        self._latest = OrderedDict((key, 2**63) for key in self._latest)
        self._pool.shutdown(wait=False, cancel_futures=True)
