"""Charts: what a figure shows, told once, drawn by matplotlib for paper and by plotly for the screen."""

from encollapse.report.charts.chart import Chart, Key, Panel, Scale
from encollapse.report.charts.drawing import Drawing, drawing
from encollapse.report.charts.marks import Band, Heat, Line, Mark, Points, Rule, Word

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
