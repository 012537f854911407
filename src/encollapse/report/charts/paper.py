"""Charts on paper: a matplotlib figure of a chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from encollapse._internal.format import SUPERSCRIPTS, mathematics, number_label, wrapped
from encollapse.report.charts.chart import Band, Bars, Chart, Heat, Key, Line, Mark, Panel, Points, Rule, Scale, beside
from encollapse.report.style import DIVERGING, GREY, INK, SEQUENTIAL, Dash, house_style

_STUB = 0.16  # half the length, in decades, of the line that stands for the value at 0 or ∞
_TOUCH = 3.0  # points of the screen between two tick labels that are still told apart
_MANY = 250  # points above which a mark is stored as pixels
_DASHES: dict[Dash, Any] = {
    "solid": "solid",
    "dashed": (0, (4, 2.5)),
    "dotted": (0, (1, 2)),
    "dashdot": (0, (5, 2, 1, 2)),
}


_TITLE = 5
"""Lines of a title at most: its last words may be all that tells a panel from the next."""


def figure_of(chart: Chart, *, make: Callable[..., Figure] = Figure, print_size: bool = False) -> Figure:
    """Draw a chart.

    Parameters
    ----------
    chart : Chart
        What is drawn.
    make : callable
        Makes the figure, such as ``matplotlib.pyplot.figure``.
    print_size : bool
        Whether letters have the sizes that a column of a paper asks for, else those of a page on a screen.
    """
    rows = math.ceil(len(chart.panels) / chart.columns)
    with house_style(chart.name, print_size=print_size):
        figure = make(figsize=(chart.width, chart.height * rows + 0.5), layout="constrained")
        ratios = list(chart.row_heights) or [1.0] * rows
        grid = figure.subplots(
            rows,
            chart.columns,
            squeeze=False,
            sharex="x" in chart.share,
            sharey="y" in chart.share,
            height_ratios=ratios,
        )
        all_axes = list(grid.flat)
        for place, (axes, panel) in enumerate(zip(all_axes, chart.panels, strict=False)):
            # A character of a title takes about 0.07 inches.
            room = max(int(chart.width / chart.columns / 0.07) - 6, 12)
            _panel(axes, panel, f"{chart.name}-{place}", ticks=5 if chart.columns < 3 else 4, room=room)
            # Else ticks that come while a file is written have the size of that time.
            axes.tick_params(which="both", labelsize=mpl.rcParams["xtick.labelsize"])
            below = place + chart.columns
            if place % chart.columns and panel.y.label == chart.panels[place - 1].y.label:
                axes.set_ylabel("")
            if below < len(chart.panels) and panel.x.label == chart.panels[below].x.label:
                axes.set_xlabel("")
            elif "x" in chart.share:
                axes.xaxis.set_tick_params(labelbottom=True)
        for axes in all_axes[len(chart.panels) :]:
            axes.remove()
        bar = _color_bar(figure, all_axes[: len(chart.panels)], chart) if chart.heat_label else None
        if chart.keys:
            handles = [_handle(key) for key in chart.keys]
            columns = _key_columns(chart)
            figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=2.2)
        # Laid out once; every file of the figure would do it again.
        figure.draw_without_rendering()
        _part_ticks(figure, all_axes, chart)
        figure.set_layout_engine("none")
        if bar is not None:
            _shorten(bar, all_axes[: len(chart.panels)])
    return figure


def draw_into(chart: Chart, all_axes: Sequence[Axes]) -> None:
    """Draw the panels of a chart into axes of one's own, with the legend in the first of them.

    Names of lines stand beside the axes only where a layout makes room for them, else within.
    """
    with house_style(chart.name):
        for place, (axes, panel) in enumerate(zip(all_axes, chart.panels, strict=True)):
            of: Any = axes.get_figure()
            within = of.get_layout_engine() is None
            _panel(axes, panel, f"{chart.name}-{place}", ticks=5, room=40, within=within)
        if chart.heat_label and any(axes.get_images() for axes in all_axes):
            figure: Any = all_axes[0].get_figure()
            _color_bar(figure, all_axes, chart)
        if chart.keys:
            all_axes[0].legend(handles=[_handle(key) for key in chart.keys], handlelength=2.2)


def _part_ticks(figure: Figure, all_axes: Sequence[Axes], chart: Chart) -> None:
    """Where tick labels touch their neighbors, turn names, and leave out some of the numbers, but not the ends."""
    turned = False
    for axes, panel in zip(all_axes, chart.panels, strict=False):
        labels = [label for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
        boxes = sorted(((label.get_window_extent(), label) for label in labels), key=lambda pair: pair[0].x0)
        if not any(one.x1 + _TOUCH > other.x0 for (one, _), (other, _) in pairwise(boxes)):
            continue
        if panel.x.kind == "category":
            for label in axes.get_xticklabels():
                label.set(rotation=40, ha="right", rotation_mode="anchor")
            turned = True
            continue
        (last, _), end = boxes[0], boxes[-1][0]
        for box, label in boxes[1:-1]:
            if box.x0 < last.x1 + _TOUCH or box.x1 + _TOUCH > end.x0:
                label.set_visible(False)
            else:
                last = box
    if turned:
        figure.draw_without_rendering()


def _panel(axes: Axes, panel: Panel, name: str, *, ticks: int, room: int, within: bool = False) -> None:
    if panel.title:
        axes.set_title(mathematics(wrapped(panel.title, room, _TITLE)), loc="center" if panel.bare else "left")
    _scale(axes, panel.x, "x")
    _scale(axes, panel.y, "y")
    for number, mark in enumerate(panel.marks):
        _mark(axes, panel, mark, f"{name}-{number}", within=within)
    for axis, scale in ((axes.xaxis, panel.x), (axes.yaxis, panel.y)):
        if scale.kind == "linear" and not scale.ticks:
            axis.set_major_locator(MaxNLocator(ticks))
            axis.set_major_formatter(_formatter())
    if panel.bare:
        axes.set(xticks=[], yticks=[])
    if panel.square:
        axes.set_box_aspect(1)
    if any(isinstance(mark, Heat) for mark in panel.marks):
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.6, color=GREY)


def _formatter() -> ScalarFormatter:
    """Plain numbers between 0.001 and 10,000, else a power of ten beside the axis."""
    formatter = ScalarFormatter(useMathText=True, useOffset=False)
    formatter.set_powerlimits((-3, 4))
    return formatter


def _scale(axes: Axes, scale: Scale, side: str) -> None:
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_label_text(mathematics(scale.label))
    set_limits: Any = axes.set_xlim if side == "x" else axes.set_ylim
    if scale.kind == "log":
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        axis.set_major_formatter(FuncFormatter(lambda value, _: _decade(value)))
        axis.set_minor_formatter(NullFormatter())
        if scale.ticks:
            axis.set_minor_locator(NullLocator())
    elif scale.kind == "category":
        names = [beside(name) if side == "y" else name for name in scale.names]
        axis.set_ticks(list(range(len(names))), [mathematics(name) for name in names])
        if side == "y":
            for label in axis.get_ticklabels():
                label.set_linespacing(1.0)
        ends = (-0.5, len(scale.names) - 0.5)
        set_limits(ends if side == "x" else ends[::-1])
        axis.set_tick_params(length=0)
    elif scale.bias is not None:
        places, names = scale.bias.ticks()
        axis.set_ticks(places, names)
        axis.set_ticks(scale.bias.minor_ticks(), minor=True)
        axis.set_tick_params(which="minor", length=2, width=0.5)
        set_limits(scale.bias.limits)
        for middle in scale.bias.breaks:
            _break(axes, middle)
    if scale.ticks:
        axis.set_ticks(scale.ticks, [number_label(value) for value in scale.ticks])
    if scale.limits is not None:
        set_limits(scale.limits)


def _decade(value: float) -> str:
    """A tick of a logarithmic axis in plain letters, which are laid out many times faster than a formula."""
    if value <= 0:
        return ""
    exponent = round(math.log10(value))
    whole = math.isclose(value, 10.0**exponent, rel_tol=1e-9)
    return f"10{str(exponent).translate(SUPERSCRIPTS)}" if whole else number_label(value)


def _break(axes: Axes, middle: float) -> None:
    style: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
    axes.plot([middle - 0.05, middle + 0.05], [0, 0], color="white", linewidth=3, **style)
    for x in (middle - 0.05, middle + 0.05):
        axes.plot([x - 0.035, x + 0.035], [-0.018, 0.018], color=GREY, linewidth=0.8, **style)


def _mark(axes: Axes, panel: Panel, mark: Mark, name: str, *, within: bool) -> None:
    match mark:
        case Line():
            for x, y in line_parts(panel.x, mark):
                style = _DASHES[mark.dash]
                axes.plot(x, y, color=mark.color, linestyle=style, linewidth=mark.width, zorder=3)
        case Band():
            x = [panel.x.place(value) for value in mark.x]
            axes.fill_between(x, mark.low, mark.high, color=mark.color, alpha=0.18, linewidth=0, zorder=2)
        case Bars():
            axes.bar(list(mark.x), list(mark.y), mark.width, color=list(mark.colors), zorder=3)
        case Points():
            _points(axes, panel, mark)
        case Rule():
            _rule(axes, panel, mark, within=within)
        case Heat():
            _heat(axes, mark, name)


def line_parts(scale: Scale, line: Line) -> list[tuple[list[float], list[float]]]:
    """Pieces of a curve as coordinates: on a bias axis the finite part, and a stub at 0 and at ∞."""
    if scale.bias is None:
        return [(list(line.x), list(line.y))]
    finite = [(scale.place(x), y) for x, y in zip(line.x, line.y, strict=True) if 0 < x < math.inf]
    parts = [([x for x, _ in finite], [y for _, y in finite])]
    for x, y in zip(line.x, line.y, strict=True):
        if x == 0 or math.isinf(x):
            place = scale.place(x)
            parts.append(([place - _STUB, place + _STUB], [y, y]))
    return parts


def _points(axes: Axes, panel: Panel, mark: Points) -> None:
    x = [panel.x.place(value) for value in mark.x]
    if mark.low is not None and mark.high is not None:
        style: dict[str, Any] = {"color": mark.color, "linewidth": 1.0, "zorder": 3.5}
        if mark.across:
            axes.hlines(mark.y, list(mark.low), list(mark.high), **style)
        else:
            axes.vlines(x, list(mark.low), list(mark.high), **style)
    axes.plot(
        x,
        mark.y,
        linestyle="none",
        marker=mark.marker,
        color=mark.color,
        markersize=mark.size,
        markerfacecolor=mark.color if mark.filled else "white",
        markeredgewidth=0 if mark.filled else 1.2,
        alpha=mark.alpha,
        zorder=4,
        rasterized=len(x) > _MANY,
    )


def _rule(axes: Axes, panel: Panel, mark: Rule, *, within: bool) -> None:
    across = mark.across
    place = mark.value if across else panel.x.place(mark.value)
    draw: Any = axes.axhline if across else axes.axvline
    draw(place, color=mark.color, linewidth=0.8, linestyle=_DASHES[mark.dash], zorder=1)
    if not mark.name:
        return
    # Where the name stands in the axes, a shift in points, and the sides at which it holds on there.
    if across:
        shift, sides = ((-2, 1.5), ("right", "bottom")) if within else ((4, 0), ("left", "center"))
    else:
        shift, sides = ((4, -2), ("left", "top")) if mark.after else ((-4, -2), ("right", "top"))
    axes.annotate(
        mathematics(mark.name.replace("\n", " ") if across and within else mark.name),
        (1.0, place) if across else (place, 1.0),
        xycoords=("axes fraction", "data") if across else ("data", "axes fraction"),
        xytext=shift,
        textcoords="offset points",
        horizontalalignment=sides[0],
        verticalalignment=sides[1],
        linespacing=1.1,
        color=mark.color,
        fontsize=7.5,
        zorder=5,
        # A curve that passes behind the name leaves it readable.
        bbox=None if across else {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )


def _heat(axes: Axes, heat: Heat, name: str) -> None:
    norm = LogNorm(*heat.limits) if heat.log else Normalize(*heat.limits)
    palette = DIVERGING if heat.palette == "diverging" else SEQUENTIAL
    image = axes.imshow(heat.values, cmap=palette, norm=norm, interpolation="none", aspect="auto")
    image.set_gid(name)  # without it, equal pictures would share an identifier in a page
    if heat.texts is None:
        return
    for row, texts in enumerate(heat.texts):
        for column, text in enumerate(texts):
            value = heat.values[row, column]
            dark = np.isfinite(value) and _luminance(palette(norm(value))) < 0.45
            color = "white" if dark else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)


def _luminance(color: Sequence[float]) -> float:
    red, green, blue = color[:3]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _color_bar(figure: Figure, all_axes: Sequence[Axes], chart: Chart) -> Axes:
    shown = [axes for axes in all_axes if axes.get_images()]
    bar = figure.colorbar(shown[0].get_images()[0], ax=shown, shrink=0.85, aspect=28, pad=0.02)
    bar.outline.set(linewidth=0.5, edgecolor=GREY)
    bar.ax.tick_params(which="both", width=0.5, length=2)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(mathematics(chart.heat_label))
    return bar.ax


def _shorten(bar: Axes, all_axes: Sequence[Axes]) -> None:
    """Make a color bar no taller than the matrices beside it, which are square and may not fill their place."""
    boxes = [axes.get_position() for axes in all_axes if axes.get_images()]
    low, high, own = min(box.y0 for box in boxes), max(box.y1 for box in boxes), bar.get_position()
    if own.height > high - low:
        bar.set_axes_locator(None)  # type: ignore[arg-type]
        bar.set_box_aspect(None)
        bar.set_position((own.x0, low, own.width, high - low))


def _key_columns(chart: Chart) -> int:
    """All entries of the legend in a row where they fit, else as many as the longest allows."""
    widths = [0.075 * len(key.label) + 0.55 for key in chart.keys]  # inches, roughly
    return len(widths) if sum(widths) <= chart.width else max(1, int(chart.width / max(widths)))


def _handle(key: Key) -> Line2D:
    return Line2D(
        [],
        [],
        color=key.color,
        label=mathematics(key.label),
        linestyle="none" if key.dash is None else _DASHES[key.dash],
        marker=key.marker,
        markerfacecolor=key.color if key.filled else "white",
        markeredgewidth=0 if key.filled else 1.2,
    )
