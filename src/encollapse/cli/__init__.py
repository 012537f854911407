"""The command line: one file a command, which parses, calls one function and renders what comes back."""

from encollapse.cli._app import app, main, run

__all__ = ["app", "main", "run"]
