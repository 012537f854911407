"""What the networks decide: accuracy, and agreement with the nearest class mean, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence

from encollapse.report.charts import Chart, Drawing, Panel, Scale, drawing
from encollapse.report.families import Family
from encollapse.report.figures.dots import dot_panel
from encollapse.report.figures.rows import RowSheet, row_sheets
from encollapse.report.figures.spread import Spread

NAME = "decisions"

_QUANTITIES = (
    ("accuracy", "accuracy on the training set"),
    ("test_accuracy", "accuracy on the hold-out"),
    ("nc4_agreement", "NC4 on the training set"),
    ("test_nc4_agreement", "NC4 on the hold-out"),
)


def decision_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy and NC4 of every encoding, of those that the records hold; none where they hold none."""
    known = [q for q in _QUANTITIES if any(r.record.value(q[0]) is not None for f in members for r in f.trials)]
    return [drawing(_chart(sheet, known)) for sheet in row_sheets(members)] if known else []


def _chart(sheet: RowSheet, known: Sequence[tuple[str, str]]) -> Chart:
    panels: list[Panel] = []
    for name, meaning in known:
        dots = sheet.dots(name, unit=100.0)
        scale = Scale("%", limits=percent_limits([dot.value for dot in dots]))
        panels.append(dot_panel(sheet.names, scale, dots, meaning))
    absent = [meaning for q, meaning in _QUANTITIES if (q, meaning) not in known]
    note = f" Not in the records: {'; '.join(absent)}." if absent else ""
    caption = (
        f"What the networks decide{sheet.of}, one row an encoding, at {sheet.at}: "
        "means over seeds, bars from the lowest to the highest. Accuracy is that of the nearest codeword; NC4 is the "
        f"share of samples on which it agrees with the nearest class mean.{note}"
    )
    return sheet.chart(NAME, caption, panels, columns=min(2, len(panels)))


def percent_limits(values: Sequence[Spread]) -> tuple[float, float]:
    """Limits of an axis of shares: room around the values, and none beyond 0 and 100 % but for half a mark."""
    low = min((value.low for value in values), default=100.0)
    high = max((value.high for value in values), default=100.0)
    margin = max(0.06 * (high - low), 1.0)
    left, right = max(low - margin, 0.0), min(high + margin, 100.0)
    mark = 0.03 * (right - left)
    return left - mark * (low <= mark), right + mark * (high >= 100.0 - mark)
