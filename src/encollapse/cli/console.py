"""Manners of the command line: results as tables or JSON, errors and warnings as a line and a hint."""

from __future__ import annotations

import json
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from encollapse.cli.words import advice, in_words_of_the_command
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseError, EncollapseWarning, FileFormatError

if TYPE_CHECKING:
    from rich.console import RenderableType


_PATHS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def explain(error: Exception) -> int:
    """Say on standard error what went wrong and what to do, and return the exit code."""
    usage = getattr(error, "format_message", None)
    if usage is not None:
        context = getattr(error, "ctx", None)
        command = "encollapse" if context is None else context.command_path
        complain(usage().rstrip("."), _hint(usage(), getattr(context, "params", {})) or f"{command} --help")
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, _PATHS) and error.filename is not None:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        text, hint = f"{error.filename}: {reason}", "check the path"
    elif isinstance(error, EncollapseError | FileNotFoundError):
        text, hint = _parts(error)
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        text, hint = f"{where}{error.strerror}", ""
    elif isinstance(error, MemoryError):
        text = f"memory ran out: {error}" if str(error) else "memory ran out"
        hint = "free memory, raise the limit of this process, or give the command less at a time"
    else:
        text = f"{type(error).__name__}: {error}"
        hint = "run again with --debug for the traceback"
    complain(text, hint)
    return 2 if isinstance(error, (ArgumentError, ArgumentTypeError, FileFormatError, *_PATHS)) else 1


def _parts(message: object) -> tuple[str, str]:
    """What a message of ours says and what it advises, in words of the command."""
    text, _, hint = str(message).partition("; ")
    return in_words_of_the_command(text), advice(hint)


def _hint(text: str, given: Mapping[str, Any]) -> str:
    """What to do about two mistakes that people make, or empty for all others."""
    if "'--bias-decay'" in text:
        return "no bias at all is --bias-decay inf, and a bias that costs nothing is --bias-decay 0"
    if "'--json' does not take a value" in text or ("unexpected extra argument" in text and given.get("as_json")):
        return "--json takes no value and prints to standard output; write it to a file with > FILE"
    return ""


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
                text, hint = _parts(message)
                complain(text, hint, kind="warning")
            else:
                default(message, category, *where, **more)

        warnings.showwarning = show_warning
        yield


def show(table: Callable[[], RenderableType], record: Callable[[], Any], as_json: bool) -> None:
    """Print a table, or its record as JSON. Only what is asked for is made."""
    if as_json:
        typer.echo(json.dumps(record(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False, soft_wrap=False).print(table(), crop=False)


def narrow_list(formatter: Any, rows: Sequence[tuple[str, str]], *_: int, **__: int) -> None:
    """Write options one above the other, each with its help below it, in lines that cut no word."""
    for name, about in rows:
        formatter.write(f"{' ' * formatter.current_indent}{name}\n")
        with formatter.indentation():
            narrow_text(formatter, about)


def narrow_text(formatter: Any, text: str) -> None:
    """Write paragraphs in lines that cut no word, so that an example can be copied."""
    indent = " " * formatter.current_indent
    wrapped = [
        textwrap.fill(
            " ".join(paragraph.split()),
            formatter.width,
            break_long_words=False,
            break_on_hyphens=False,
            initial_indent=indent,
            subsequent_indent=indent,
        )
        for paragraph in text.split("\n\n")
    ]
    formatter.write("\n\n".join(wrapped) + "\n")
