"""`Shown`: what results have in common for the eye, a picture by one call and a table in print and in notebooks."""

from __future__ import annotations

import importlib
from typing import Any


class Shown:
    """A value that draws itself, prints as a table, and shows that table in a notebook.

    Rooms below the report may not import it, so it is looked up by name when something is asked of it.
    """

    __slots__ = ()

    def plot(self, *, ax: Any = None, style: str = "screen", **options: Any) -> Any:
        """Draw this by one call: :func:`encollapse.plot` says what comes out and which options there are.

        Parameters
        ----------
        ax : matplotlib Axes or several of them, optional
            What to draw into. Default: a new figure.
        style : {"screen", "paper"}
            Sizes for a screen, or for a column of a paper.
        **options
            Further options of :func:`encollapse.plot`.

        Returns
        -------
        matplotlib Axes or Figure
            The axes where there is one panel, else the figure.
        """
        return importlib.import_module("encollapse.report").plot(self, ax=ax, style=style, **options)

    def to_latex(self) -> str:
        """The table that ``print`` gives as a LaTeX tabular with the rules of booktabs.

        Returns
        -------
        str
            To stand in a ``table`` environment.
        """
        return str(_facts().latex(self))

    def __str__(self) -> str:
        return str(_facts().text(self))

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        return str(_facts().html(self))


def _facts() -> Any:
    return importlib.import_module("encollapse.report.facts")
