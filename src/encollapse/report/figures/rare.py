"""What is decided about rare classes: accuracy on unseen samples of them, beside that on all, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence

from encollapse.report.charts import Chart, Drawing, Scale, drawing
from encollapse.report.families import Family
from encollapse.report.figures.dots import dot_panel
from encollapse.report.figures.rows import RowSheet, row_sheets

NAME = "rare-accuracy"

_QUANTITIES = (
    ("test_minority_accuracy", "rare classes"),
    ("test_balanced_accuracy", "all classes alike"),
    ("accuracy", "training set"),
)


def rare_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy of rare classes, balanced accuracy and that of the training set; none without a hold-out."""
    shown = [
        family
        for family in members
        if any(result.record.value(_QUANTITIES[0][0]) is not None for result in family.trials)
    ]
    shown.sort(key=lambda family: family.trials[0].settings.get("threshold", 0.0))  # like beside like
    return [drawing(_chart(sheet)) for sheet in row_sheets(shown)] if shown else []


def _chart(sheet: RowSheet) -> Chart:
    scale = Scale("accuracy in %", limits=(-3.0, 103.0))
    panels = [dot_panel(sheet.names, scale, sheet.dots(name, unit=100.0), meaning) for name, meaning in _QUANTITIES]
    caption = (
        f"What the networks decide about rare classes{sheet.of}, at {sheet.at}. "
        "Left and middle: unseen samples, averaged over the classes with less than half the training samples of the "
        "largest, and over all classes. Right: the samples of the training set. Means over seeds, bars from the lowest "
        "to the highest."
    )
    return sheet.chart(NAME, caption, panels, columns=3)
