"""A limit to the time of a block of Python, in whatever thread it runs."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

_AGAIN_SECONDS = 0.5
"""After which a block that has swallowed its interruption is interrupted again."""


class OutOfTime(BaseException):
    """The time of a block is over. No `Exception`: what trials run may catch those."""


def time_limit(seconds: float | None) -> AbstractContextManager[None]:
    """Raise :class:`OutOfTime` in the block after so many seconds. None is no limit.

    In the main thread a signal interrupts whatever Python waits for. In other threads, and on Windows, the exception
    is raised between two instructions of Python. Neither ends a call of native code that never returns. Imports are
    waited for: modules that are loaded by half cannot be loaded again.
    """
    if seconds is None:
        return nullcontext()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _by_signal(seconds)
    return _by_exception(seconds)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded in a frame or in what has called it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    running = True

    def over(_: int, frame: FrameType | None) -> None:
        if running:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            if not _importing(frame):
                raise OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


@contextmanager
def _by_exception(seconds: float) -> Iterator[None]:
    thread, guard, over = ctypes.c_ulong(threading.get_ident()), threading.Lock(), threading.Event()

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            with guard:
                if not over.is_set() and not _importing(sys._current_frames().get(thread.value)):
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))
            wait = _AGAIN_SECONDS

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with guard:  # what was asked for and has not been raised yet is taken back
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
