"""Charts on the screen: plotly's data and layout of a chart, as plain values."""

from __future__ import annotations

import math

from encollapse._internal.format import markup, wrapped
from encollapse.report.charts import marks
from encollapse.report.charts.chart import Chart, Scale
from encollapse.report.charts.traces import Plain, add_mark, legend_entry

_LONG = 18  # characters of a name that fit beside a panel on a phone


def screen(chart: Chart) -> Plain:
    """Return ``data`` and ``layout`` for plotly, and the ``grid`` from which the page places the panels."""
    data: list[Plain] = []
    layout: Plain = {"annotations": [], "shapes": []}
    for place, panel in enumerate(chart.panels):
        number = "" if place == 0 else str(place + 1)
        layout[f"xaxis{number}"] = _axis(panel.x, f"y{number}")
        layout[f"yaxis{number}"] = _axis(panel.y, f"x{number}", reverse=True)
        if any(isinstance(mark, marks.Heat) for mark in panel.marks) and panel.bare:
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
            add_mark(data, layout, panel, mark, number)
    names = [name for panel in chart.panels for name in panel.y.names]
    lines = [line for name in names for line in wrapped(name, _LONG).split("\n")]
    data += [legend_entry(key) for key in chart.keys]
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
    if any(isinstance(mark, marks.Heat) and mark.log for panel in chart.panels for mark in panel.marks):
        powers = range(math.floor(first["zmin"]), math.ceil(first["zmax"]) + 1)
        bar |= {"tickvals": list(powers), "ticktext": [f"10<sup>{p}</sup>" for p in powers]}
    first |= {"showscale": True, "colorbar": bar}
