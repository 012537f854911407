"""What a chart draws, mark by mark, as plotly's traces, shapes and annotations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from encollapse._internal.format import markup
from encollapse.report.charts import marks
from encollapse.report.charts.chart import Key, Panel
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


def add_mark(data: list[Plain], layout: Plain, panel: Panel, mark: marks.Mark, number: str) -> None:
    """Add what a mark of the panel with this number becomes to the traces, or to the layout."""
    on: Plain = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    match mark:
        case marks.Line():
            line = {"color": mark.color, "width": mark.width * 1.4, "dash": _DASHES[mark.dash]}
            group = {"legendgroup": mark.label, "showlegend": False, "name": mark.label}
            for x, y in line_parts(panel.x, mark):
                data.append(
                    on | group | {"type": "scatter", "mode": "lines", "x": _plain(x), "y": _plain(y), "line": line}
                )
        case marks.Band():
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
        case marks.Points():
            data.append(on | _points(panel, mark))
        case marks.Rule():
            _rule(layout, panel, mark, number)
        case marks.Word():
            layout["annotations"].append(
                {
                    "text": markup(mark.text),
                    "xref": f"x{number} domain",
                    "yref": f"y{number} domain",
                    "x": mark.x,
                    "y": mark.y,
                    "xanchor": mark.align,
                    "showarrow": False,
                    "font": {"size": 10},
                }
            )
        case marks.Heat():
            data.append(on | _heat(mark))


def _points(panel: Panel, mark: marks.Points) -> Plain:
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


def _rule(layout: Plain, panel: Panel, mark: marks.Rule, number: str) -> None:
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


def _heat(heat: marks.Heat) -> Plain:
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


def legend_entry(key: Key) -> Plain:
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
