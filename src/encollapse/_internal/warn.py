"""Warnings that point at the line of the reader's own code."""

from __future__ import annotations

import sys
import warnings

from encollapse.errors import EncollapseWarning


def warn(text: str) -> None:
    """Warn at the nearest call that stands outside of this package, as a line inside of it tells nobody anything."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "encollapse":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, EncollapseWarning, stacklevel=level)
