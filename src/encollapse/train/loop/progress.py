"""How far a training is: a bar where somebody would want one, and word to whoever listens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

PATIENCE_SECONDS = 2.0  # below it a bar would flash

Listener = Callable[[int, int, str], None]
"""Called with what is done, the total, and a word on how things stand."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Tell `listener` of every step of the trainings of this block, whether a bar is shown or not."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Progress:
    """A bar on standard error, shown only on a terminal and only once the work has lasted two seconds."""

    def __init__(self, description: str, total: int, *, enabled: bool = True) -> None:
        self._description = description
        self._total = total
        self._enabled = enabled and sys.stderr.isatty()
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str) -> None:
        """Move the bar to `done` of the total, with a word on how things stand."""
        listener = _listener.get()
        if listener is not None:
            listener(done, self._total, note)
        if not self._enabled or time.monotonic() - self._start < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = self._make()
            self._task = self._bar.add_task(self._description, total=self._total)
            self._bar.start()
        self._bar.update(self._task, completed=done, description=f"{self._description} {note}")

    @staticmethod
    def _make() -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        return Progress(*columns, console=Console(stderr=True), transient=True)
