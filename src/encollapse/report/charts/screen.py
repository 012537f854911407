"""Charts on the screen: plotly's data and layout of a chart, as plain values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from encollapse._internal.format import markup, wrapped
from encollapse.report.charts.chart import Band, Bars, Chart, Heat, Key, Line, Mark, Panel, Points, Rule, Scale
from encollapse.report.charts.paper import line_parts
from encollapse.report.style import DIVERGING, SEQUENTIAL

_DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot"}
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "p": "pentagon",
    "D": "diamond",
    "|": "line-ns",
}
_PAPER = "#ffffff"

Plain = dict[str, Any]

_LONG = 18  # characters of a name that fit beside a panel on a phone


def screen(chart: Chart) -> Plain:
    """Return ``data`` and ``layout`` for plotly, and the ``grid`` from which the page places the panels."""
    data: list[Plain] = []
    layout: Plain = {"annotations": [], "shapes": []}
    for place, panel in enumerate(chart.panels):
        number = "" if place == 0 else str(place + 1)
        layout[f"xaxis{number}"] = _axis(panel.x, f"y{number}")
        layout[f"yaxis{number}"] = _axis(panel.y, f"x{number}", reverse=True)
        if any(isinstance(mark, Heat) for mark in panel.marks) and panel.bare:
            layout[f"yaxis{number}"]["autorange"] = "reversed"  # row 0 at the top
        if panel.bare:
            for side in "xy":
                layout[f"{side}axis{number}"] |= {"showticklabels": False, "ticks": ""}
        if place:
            for side in chart.share:
                layout[f"{side}axis{number}"]["matches"] = side
        if panel.title:
            layout["annotations"].append(_title(panel.title, number))
        for mark in panel.marks:
            _add_mark(data, layout, panel, mark, number)
    names = [name for panel in chart.panels for name in panel.y.names]
    lines = [line for name in names for line in wrapped(name, _LONG).split("\n")]
    data += [_legend_entry(key) for key in chart.keys]
    _color_bar(data, chart)
    return {
        "data": data,
        "layout": layout,
        "grid": {
            "columns": chart.columns,
            "share": chart.share,
            "panels": len(chart.panels),
            "height": chart.height * 96 * (1.4 if _three_lines(names) else 1.0),
            "heights": list(chart.row_heights),
            "long": max(map(len, lines), default=0),
            "bare": all(panel.bare for panel in chart.panels),
            "titles": max(panel.title.count("\n") + bool(panel.title) for panel in chart.panels),
        },
    }


def _three_lines(names: list[str]) -> bool:
    return any(wrapped(name, _LONG).count("\n") > 1 for name in names)


def _axis(scale: Scale, other: str, *, reverse: bool = False) -> Plain:
    axis: Plain = {
        "anchor": other,
        "title": {"text": markup(scale.label), "standoff": 6},
        "exponentformat": "power",
        "tickangle": 0,
    }
    limits = scale.limits
    if scale.kind == "log":
        limits = None if limits is None else (math.log10(limits[0]), math.log10(limits[1]))
        decades = 1.0 if limits is None else limits[1] - limits[0]
        axis |= {"type": "log", "dtick": max(1, math.ceil(decades / 5))}
    elif scale.kind == "category":
        axis |= {
            "tickmode": "array",
            "tickvals": list(range(len(scale.names))),
            "ticktext": [_breaks(wrapped(n, _LONG)) for n in scale.names],
        }
        ends = (-0.5, len(scale.names) - 0.5)
        limits = ends[::-1] if reverse else ends
    elif scale.bias is not None:
        places, names = scale.bias.ticks()
        axis |= {"tickmode": "array", "tickvals": places, "ticktext": names}
        limits = scale.bias.limits
    if scale.ticks:
        names = [f"{value:.4g}" for value in scale.ticks]
        axis |= {"tickmode": "array", "tickvals": list(scale.ticks), "ticktext": names}
    if limits is not None:
        axis["range"] = list(limits)
    return axis


def _breaks(text: str) -> str:
    return markup(text).replace("\n", "<br>")


def _title(text: str, number: str) -> Plain:
    return {
        "name": "title",
        "text": _breaks(text),
        "align": "left",
        "xref": f"x{number} domain",
        "yref": f"y{number} domain",
        "x": 0,
        "y": 1,
        "yshift": 4,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12},
    }


def _color_bar(data: list[Plain], chart: Chart) -> None:
    first = next((trace for trace in data if trace["type"] == "heatmap"), None)
    if first is None or not chart.heat_label:
        return
    bar: Plain = {"title": {"text": markup(chart.heat_label), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    if any(isinstance(mark, Heat) and mark.log for panel in chart.panels for mark in panel.marks):
        powers = range(math.floor(first["zmin"]), math.ceil(first["zmax"]) + 1)
        bar |= {"tickvals": list(powers), "ticktext": [f"10<sup>{p}</sup>" for p in powers]}
    first |= {"showscale": True, "colorbar": bar}


def _add_mark(data: list[Plain], layout: Plain, panel: Panel, mark: Mark, number: str) -> None:
    """Add what a mark of the panel with this number becomes to the traces, or to the layout."""
    on: Plain = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    match mark:
        case Line():
            line = {"color": mark.color, "width": mark.width * 1.4, "dash": _DASHES[mark.dash]}
            group = {"legendgroup": mark.label, "showlegend": False, "name": mark.label}
            for x, y in line_parts(panel.x, mark):
                data.append(
                    on | group | {"type": "scatter", "mode": "lines", "x": _plain(x), "y": _plain(y), "line": line}
                )
        case Band():
            x = [panel.x.place(value) for value in mark.x]
            data.append(
                on
                | {
                    "type": "scatter",
                    "x": _plain([*x, *x[::-1]]),
                    "y": _plain([*mark.low, *list(mark.high)[::-1]]),
                    "fill": "toself",
                    "fillcolor": mark.color,
                    "opacity": 0.18,
                    "mode": "none",
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        case Points():
            data.append(on | _points(panel, mark))
        case Bars():
            bar = {"type": "bar", "x": _plain(mark.x), "y": _plain(mark.y), "width": mark.width, "showlegend": False}
            data.append(on | bar | {"marker": {"color": list(mark.colors)}})
        case Rule():
            _rule(layout, panel, mark, number)
        case Heat():
            data.append(on | _heat(mark))


def _points(panel: Panel, mark: Points) -> Plain:
    x = [panel.x.place(value) for value in mark.x]
    trace: Plain = {
        "type": "scattergl" if len(x) > 3000 else "scatter",
        "mode": "markers",
        "x": _plain(x),
        "y": _plain(mark.y),
        "legendgroup": mark.label,
        "name": markup(mark.label),
        "showlegend": False,
        "opacity": mark.alpha,
        "marker": {
            "symbol": _SYMBOLS[mark.marker],
            "size": mark.size * 1.7,
            "color": mark.color if mark.filled else _PAPER,
            "line": {"color": mark.color, "width": 0 if mark.filled else 1.6},
        },
    }
    if mark.texts is not None:
        trace |= {"text": [markup(text) for text in mark.texts], "hoverinfo": "text"}
    if mark.low is not None and mark.high is not None:
        values = mark.x if mark.across else mark.y
        trace["error_x" if mark.across else "error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [h - v for h, v in zip(mark.high, values, strict=True)],
            "arrayminus": [v - l for l, v in zip(mark.low, values, strict=True)],  # noqa: E741
            "color": mark.color,
            "thickness": 1.2,
            "width": 0,
        }
    return trace


def _rule(layout: Plain, panel: Panel, mark: Rule, number: str) -> None:
    place = mark.value if mark.across else panel.x.place(mark.value)
    along, across = ("x", "y") if mark.across else ("y", "x")
    logarithmic = (panel.y if mark.across else panel.x).kind == "log"
    layout["shapes"].append(
        {
            "type": "line",
            f"{along}ref": f"{along}{number} domain",
            f"{along}0": 0,
            f"{along}1": 1,
            f"{across}ref": f"{across}{number}",
            f"{across}0": place,
            f"{across}1": place,
            "layer": "below",
            "line": {"color": mark.color, "width": 1, "dash": _DASHES[mark.dash]},
        }
    )
    if mark.name:
        layout["annotations"].append(
            {
                "text": markup(mark.name).replace("\n", " "),
                f"{along}ref": f"{along}{number} domain",
                along: 1,
                f"{across}ref": f"{across}{number}",
                across: math.log10(place) if logarithmic else place,
                "xanchor": "left" if mark.after else "right",
                "yanchor": "bottom" if mark.across else "top",
                "showarrow": False,
                "font": {"size": 10, "color": mark.color},
            }
        )


def _heat(heat: Heat) -> Plain:
    palette = DIVERGING if heat.palette == "diverging" else SEQUENTIAL
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log10(heat.values) if heat.log else heat.values
    low, high = (math.log10(v) for v in heat.limits) if heat.log else heat.limits
    trace: Plain = {
        "type": "heatmap",
        "z": [_plain(row) for row in shown.tolist()],
        "zmin": low,
        "zmax": high,
        "colorscale": [[i / 10, to_hex(palette(i / 10))] for i in range(11)],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "customdata": [_plain(row) for row in heat.values.tolist()],
        "hovertemplate": "%{y}, %{x}: %{customdata:.4g}<extra></extra>",
    }
    if heat.texts is not None:
        trace |= {"text": [list(row) for row in heat.texts], "texttemplate": "%{text}", "textfont": {"size": 10}}
    return trace


def _legend_entry(key: Key) -> Plain:
    """A trace without data that stands in the legend for the traces of its group."""
    mode = {(True, True): "lines+markers", (True, False): "lines"}.get(
        (key.dash is not None, key.marker is not None), "markers"
    )
    trace: Plain = {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": mode,
        "name": markup(key.label),
        "legendgroup": key.label,
        "showlegend": True,
        "line": {"color": key.color, "dash": _DASHES[key.dash or "solid"]},
    }
    if key.marker is not None:
        trace["marker"] = {
            "symbol": _SYMBOLS[key.marker],
            "size": 8,
            "color": key.color if key.filled else _PAPER,
            "line": {"color": key.color, "width": 0 if key.filled else 1.6},
        }
    return trace


def _plain(values: Any) -> list[float | None]:
    """Numbers as JSON holds them."""
    return [float(v) if v is not None and math.isfinite(v) else None for v in values]
