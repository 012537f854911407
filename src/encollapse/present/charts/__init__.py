"""Charts: what a figure shows, told once, drawn by matplotlib for paper and by plotly for the screen."""

from encollapse.present.charts.chart import (
    Band,
    Chart,
    Heat,
    Key,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Scale,
    Word,
)
from encollapse.present.charts.drawing import Drawing, drawing

__all__ = [
    "Band",
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
    "Word",
    "drawing",
]
