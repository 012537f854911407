"""The command line: one file a command, which parses, calls one function and renders what comes back."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
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
    return app.run(arguments)
