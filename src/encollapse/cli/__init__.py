"""The command line: one file a command, which parses, calls one function and renders what comes back."""

import codecs
import io
import sys
from collections.abc import Sequence

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
