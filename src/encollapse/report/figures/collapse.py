"""What came of each family of trainings: how far it has collapsed, and what it decides, also about rare classes."""

from __future__ import annotations

from collections.abc import Sequence

from encollapse.report.charts import Chart, Drawing, Panel, Scale
from encollapse.report.figures.rows import RowSheet, dot_panel, row_sheets
from encollapse.report.figures.series import Spread, numbered
from encollapse.study.families import Family

_COLLAPSE = "collapse"

_OF_COLLAPSE = (
    ("nc1_trace_ratio", "NC1\ntr Σ_W / tr Σ_B"),
    ("nc2_etf", "NC2, simplex\ncentered means"),
    ("shape_error", "NC2, predicted\nuncentered means"),
    ("nc3_self_duality", "NC3\nclassifier, centered means"),
    ("label_centering", "centering of the labels\n|W μ + b − ē|"),
    ("bias_to_label_mean", "bias from the label mean\n|b − ē|"),
)
"""Panels, with the name of each in the records."""


def collapse_dots(members: Sequence[Family]) -> list[Drawing]:
    """Collapse metrics of every encoding, or none where the records hold no metrics, as exact minimizers need none."""
    known = (f for f in members if any(r.record.value(_OF_COLLAPSE[0][0]) is not None for r in f.trials))
    shown = [family for family in known if family.trained]
    return numbered([_collapse_chart(sheet) for sheet in row_sheets(shown)])


def _collapse_chart(sheet: RowSheet) -> Chart:
    quantities = [(sheet.dots(name), meaning) for name, meaning in _OF_COLLAPSE]
    panels = [dot_panel(sheet.names, Scale("", "log"), dots, meaning) for dots, meaning in quantities if dots]
    caption = (
        f"Collapse of the trained networks{sheet.of}, {sheet.each}, at "
        f"{sheet.at}: means over seeds, bars from the lowest to the highest. "
        "Smaller is more collapsed. NC2 and NC3 are distances. "
        "A simplex frame is the prediction only for encodings whose codewords form one. The distance of the "
        "uncentered means from the frame predicted for the encoding at hand is the third panel. W μ + b − ē vanishes "
        "where the bias is free. Values of exactly 0 have no place on the axis."
    )
    return sheet.chart(_COLLAPSE, caption, panels, columns=3, room=0.1)


_DECISIONS = "decisions"

_OF_DECISIONS = (
    ("accuracy", "accuracy on the training set"),
    ("test_accuracy", "accuracy on the hold-out"),
    ("nc4_agreement", "NC4 on the training set"),
    ("test_nc4_agreement", "NC4 on the hold-out"),
)


def decision_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy and NC4 of the networks of every encoding, of those that the records hold, or none."""
    members = [family for family in members if family.trained]
    known = [q for q in _OF_DECISIONS if any(r.record.value(q[0]) is not None for f in members for r in f.trials)]
    return numbered([_decision_chart(sheet, known) for sheet in row_sheets(members)]) if known else []


def _decision_chart(sheet: RowSheet, known: Sequence[tuple[str, str]]) -> Chart:
    panels: list[Panel] = []
    for name, meaning in known:
        dots = sheet.dots(name, unit=100.0)
        scale = Scale("%", limits=percent_limits([dot.value for dot in dots]))
        panels.append(dot_panel(sheet.names, scale, dots, meaning))
    absent = [meaning for q, meaning in _OF_DECISIONS if (q, meaning) not in known]
    note = f" Not in the records: {'; '.join(absent)}." if absent else ""
    caption = (
        f"What the networks decide{sheet.of}, {sheet.each}, at {sheet.at}: "
        "means over seeds, bars from the lowest to the highest. Accuracy is that of the nearest codeword. NC4 is the "
        f"share of samples on which it agrees with the nearest class mean.{note}"
    )
    return sheet.chart(_DECISIONS, caption, panels, columns=min(2, len(panels)))


def percent_limits(values: Sequence[Spread]) -> tuple[float, float]:
    """Limits of an axis of shares: room around the values, and none beyond 0 and 100 % but for half a mark."""
    low = min((value.low for value in values), default=100.0)
    high = max((value.high for value in values), default=100.0)
    margin = max(0.06 * (high - low), 1.0)
    left, right = max(low - margin, 0.0), min(high + margin, 100.0)
    mark = 0.03 * (right - left)
    return left - mark * (low <= mark), right + mark * (high >= 100.0 - mark)


_RARE = "rare-accuracy"

_OF_RARE = (
    ("test_minority_accuracy", "rare classes"),
    ("test_balanced_accuracy", "all classes alike"),
    ("accuracy", "training set"),
)


def rare_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy of rare classes, balanced accuracy and that of the training set, or none without a hold-out."""
    shown = [
        family for family in members if any(result.record.value(_OF_RARE[0][0]) is not None for result in family.trials)
    ]
    shown.sort(key=lambda family: family.trials[0].settings.get("relative_threshold", 0.0))  # like beside like
    return numbered([_rare_chart(sheet) for sheet in row_sheets(shown)])


def _rare_chart(sheet: RowSheet) -> Chart:
    scale = Scale("accuracy in %", limits=(-3.0, 103.0))
    panels = [dot_panel(sheet.names, scale, sheet.dots(name, unit=100.0), meaning) for name, meaning in _OF_RARE]
    caption = (
        f"What the networks decide about rare classes{sheet.of}, at {sheet.at}. "
        "Left and middle: unseen samples, averaged over the classes with less than half the training samples of the "
        "largest, and over all classes. Right: the samples of the training set. Means over seeds, bars from the lowest "
        "to the highest."
    )
    return sheet.chart(_RARE, caption, panels, columns=3)
