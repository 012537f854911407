"""One look for every figure: color-blind safe, quiet, fit for a paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap, to_hex

Dash = Literal["solid", "dashed", "dotted", "dashdot"]

# The palette of Okabe and Ito, told apart under every common color vision deficiency; yellow is left
# out because it vanishes on white.
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, INK, GREY = "#e69f00", "#56b4e9", "#1c1f24", "#6b7280"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "^", "v", "P", "X", "p")
_DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotted", "dashdot")

DIVERGING = LinearSegmentedColormap.from_list("encollapse", [BLUE, "#7fb8d8", "#ffffff", "#eaae7f", VERMILLION])
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "encollapse-sequential", ["#ffffff", "#d6e6f0", "#8fc0dc", "#3f93c4", BLUE, "#0b3c5d"]
)

_RC: Any = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # a page without the first takes the second
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9,
    "axes.titleweight": "regular",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.hinting": "none",  # letters as wide at every resolution, so that what was laid out fits in every file
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.prop_cycle": cycler(color=SERIES),
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Text stays text: editors can change it, search finds it, publishers accept it.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
_PRINT: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.markersize": 4,
}
"""Sizes in points of a figure that is set as wide as a column, 3.35 or 6.9 inches, and not scaled."""


@dataclass(frozen=True)
class Look:
    """How a series looks: told apart by color, by marker and by dashes, so that gray tells them apart too."""

    color: str
    marker: str
    dash: Dash


def looks(number: int) -> list[Look]:
    """Looks of `number` series, pairwise distinct up to 28. Beyond that they start again."""
    size = len(SERIES)
    return [Look(SERIES[i % size], MARKERS[(i + i // size) % size], _DASHES[i % len(_DASHES)]) for i in range(number)]


def shades(number: int) -> list[str]:
    """Colors for an ordered quantity, from light to dark. The lightest still stands out on white."""
    places = np.linspace(0.82, 0.0, number) if number > 1 else [0.35]
    return [str(to_hex(mpl.colormaps["viridis"](float(place)))) for place in places]


@contextmanager
def house_style(name: str = "encollapse", *, print_size: bool = False) -> Iterator[None]:
    """Draw in the house style of encollapse's figures, for figures of your own beside them.

    Inside the context matplotlib draws with the color-blind safe palette (also as its color cycle), thin axes and
    sizes fit for a column of a paper. Outside nothing changes.

    Parameters
    ----------
    name : str
        Seeds the identifiers in SVG files, so that equal data give equal files.
    print_size : bool
        Letters of 7 to 8 points, for a figure that is made as wide as a column of a paper.

    Yields
    ------
    None
        The style holds until the context ends.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from encollapse.report.style import house_style
    >>> with house_style():
    ...     axes = Figure(figsize=(3.4, 2.4), layout="constrained").subplots()
    ...     line = axes.plot([0, 1], [0, 1])[0]
    >>> line.get_color()
    '#0072b2'
    """
    with mpl.rc_context({**_RC, **(_PRINT if print_size else {}), "svg.hashsalt": name}):
        yield
