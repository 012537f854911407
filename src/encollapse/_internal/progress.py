"""A progress bar for work that takes long enough to ask for one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_WORTH_SHOWING_SECONDS = 2.0  # below it a bar would flash


def tracked(items: Iterable[T], total: int | None, *, show: bool, text: str = "measuring") -> Iterator[T]:
    """Yield the items. Show a bar on a terminal once more than about two seconds of work are in sight."""
    if not show or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    bar = Progress(console=Console(stderr=True), transient=True)
    task: TaskID | None = None
    started = time.monotonic()
    try:
        for done, item in enumerate(items, start=1):
            yield item
            elapsed = time.monotonic() - started
            expected = elapsed if total is None else elapsed * max(total, done) / done
            if task is not None:
                bar.update(task, completed=done)
            elif expected > _WORTH_SHOWING_SECONDS:
                task = bar.add_task(text, total=total, completed=done)
                bar.start()
    finally:
        if task is not None:
            bar.stop()
