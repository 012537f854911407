"""One look for every figure: colour-blind safe, quiet, fit for a paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# The palette of Okabe and Ito, told apart under every common colour vision deficiency; yellow is left
# out because it vanishes on white.
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, INK, GREY = "#e69f00", "#56b4e9", "#1c1f24", "#6b7280"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "^", "v", "P", "X", "p")

DIVERGING = LinearSegmentedColormap.from_list(
    "encollapse", [BLUE, "#7fb8d8", "#ffffff", "#eaae7f", VERMILLION]
)

_RC: Any = {
    "font.family": ["DejaVu Sans"],
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
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
}


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """Draw in the house style; `name` seeds the identifiers in SVG, so equal data give equal files."""
    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        yield


def panels(columns: int, rows: int = 1, *, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure with a grid of axes, `width` and `height` in inches, without pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]
