"""Manners of the command line: results as tables or JSON, errors and warnings as a line and a hint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, EncollapseWarning, FileFormatError

if TYPE_CHECKING:
    from rich.console import RenderableType


_PATHS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def explain(error: Exception) -> int:
    """Say on standard error what went wrong and what to do; return the exit code."""
    usage = getattr(error, "format_message", None)
    if usage is not None:
        context = getattr(error, "ctx", None)
        command = "encollapse" if context is None else context.command_path
        complain(usage().rstrip("."), f"{command} --help")
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, _PATHS) and error.filename is not None:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        text, hint = f"{error.filename}: {reason}", "check the path"
    elif isinstance(error, EncollapseError | FileNotFoundError):
        text, _, hint = str(error).partition("; ")
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        text, hint = f"{where}{error.strerror}", ""
    else:
        text = f"{type(error).__name__}: {error}"
        hint = "run again with --debug for the traceback"
    complain(text, hint)
    return 2 if isinstance(error, (ArgumentError, ArgumentTypeError, FileFormatError, *_PATHS)) else 1


def complain(text: str, hint: str, *, kind: str = "error") -> None:
    """Print an error in one line, and a hint in the next, on standard error."""
    typer.echo(f"{kind}: {' '.join(text.split())}", err=True)
    if hint:
        typer.echo(f"hint: {' '.join(hint.split())}", err=True)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show our warnings as a line and a hint too."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, EncollapseWarning):
                text, _, hint = str(message).partition("; ")
                complain(text, hint, kind="warning")
            else:
                default(message, category, *where, **more)

        warnings.showwarning = show_warning
        yield


def show(table: Callable[[], RenderableType], record: Callable[[], Any], as_json: bool) -> None:
    """Print a table, or its record as JSON; only what is asked for is made."""
    if as_json:
        typer.echo(json.dumps(record(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False, soft_wrap=False).print(table(), crop=False)
