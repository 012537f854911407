"""How far each encoding has collapsed: NC1 to NC3 and the centering of the labels, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence

from encollapse.report.charts import Chart, Drawing, Scale, drawing
from encollapse.report.families import Family
from encollapse.report.figures.dots import dot_panel
from encollapse.report.figures.rows import RowSheet, row_sheets

NAME = "collapse"

QUANTITIES = (
    ("nc1_trace_ratio", "NC1\ntr Σ_W / tr Σ_B"),
    ("nc2_etf", "NC2, simplex\ncentered means, simplex frame"),
    ("shape_error", "NC2, predicted\nmeans, predicted frame"),
    ("nc3_self_duality", "NC3\nclassifier, centered means"),
    ("label_centering", "centering of the labels\n|W μ + b − ē|"),
    ("bias_to_label_mean", "bias from the label mean\n|b − ē|"),
)
"""Panels, with the name of each in the records."""


def collapse_dots(members: Sequence[Family]) -> list[Drawing]:
    """Collapse metrics of every encoding; none where the records hold no metrics."""
    shown = [family for family in members if any(r.record.value(QUANTITIES[0][0]) is not None for r in family.trials)]
    return [drawing(_chart(sheet)) for sheet in row_sheets(shown)] if shown else []


def _chart(sheet: RowSheet) -> Chart:
    quantities = [(sheet.dots(name), meaning) for name, meaning in QUANTITIES]
    panels = [dot_panel(sheet.names, Scale("", "log"), dots, meaning) for dots, meaning in quantities if dots]
    caption = (
        f"Collapse of the trained networks{sheet.of}, one row an encoding, at "
        f"{sheet.at}: means over seeds, bars from the lowest to the highest. "
        "Smaller is more collapsed; NC2 and NC3 are distances. "
        "A simplex frame is the prediction only for encodings whose codewords form one; the distance of the "
        "uncentered means from the frame predicted for the encoding at hand is the third panel. W μ + b − ē vanishes "
        "where the bias is free. Values of exactly 0 have no place on the axis."
    )
    return sheet.chart(NAME, caption, panels, columns=3, room=0.1)
