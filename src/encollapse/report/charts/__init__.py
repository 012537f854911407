"""Charts: what a figure shows, told once, drawn by matplotlib for paper and by plotly for the screen."""

from encollapse.report.charts.chart import (
    Band,
    Bars,
    BiasAxis,
    Chart,
    Heat,
    Key,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Scale,
    beside,
)
from encollapse.report.charts.drawing import Drawing

__all__ = [
    "Band",
    "Bars",
    "BiasAxis",
    "Chart",
    "Drawing",
    "Heat",
    "Key",
    "Line",
    "Mark",
    "Panel",
    "Points",
    "Rule",
    "Scale",
    "beside",
]
