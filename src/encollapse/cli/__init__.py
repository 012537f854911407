"""The command line: one file a command, which parses, calls one function and renders what comes back."""

import codecs
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_IN_ASCII = {"λ": "lambda", "√": "sqrt", "∞": "inf", "ē": "e", "≤": "<=", "≥": ">=", "→": "->", "·": "*", "×": "x"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What a stream prints in place of characters that its encoding does not have."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(letter, "?") for letter in text), error.end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    codecs.register_error("encollapse", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="encollapse")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        with _leaving_at_once():
            from encollapse.cli import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        print("error: the command line needs typer, which is not installed", file=sys.stderr)  # noqa: T201
        print("hint: pip install 'encollapse[study]'", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    return app.run(arguments)


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process while modules are loaded: the import system swallows some of its exceptions."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def leave(*_: Any) -> None:
        os.write(2, b"error: interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
