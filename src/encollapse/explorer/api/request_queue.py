"""Work off the event loop, a client at a time: of several requests of one kind, the last one wins."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from encollapse.explorer.views.bias_path import SupersededError

_MOST_CLIENTS = 256


class RequestQueue:
    """Threads that compute, and the number of the latest request of every client and kind.

    A request carries a number that its page counts up. Work that waits is dropped once a later number has come;
    long work asks in between. Clients share nothing but the threads.
    """

    def __init__(self, threads: int = 4) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="explorer")
        self._latest: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    async def run(self, client: str, kind: str, order: int, work: Callable[[Callable[[], bool]], Any]) -> Any:
        """Run ``work(wanted)`` in a thread.

        Raises
        ------
        SupersededError
            If a later request of the same client and kind has come before the work began or ended.
        """
        key = (client, kind)
        with self._lock:
            self._latest[key] = max(order, self._latest.get(key, order))
            self._latest.move_to_end(key)
            while len(self._latest) > _MOST_CLIENTS:
                self._latest.popitem(last=False)

        def wanted() -> bool:
            return self._latest.get(key, order) <= order

        def step() -> Any:
            if not wanted():
                raise SupersededError
            return work(wanted)

        return await asyncio.get_running_loop().run_in_executor(self._pool, step)

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._latest = OrderedDict((key, 2**63) for key in self._latest)
        self._pool.shutdown(wait=False, cancel_futures=True)
