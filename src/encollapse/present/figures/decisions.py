"""What the networks decide: accuracy, and agreement with the nearest class mean, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encollapse.present import readings
from encollapse.present.charts import Chart, Drawing, Panel, Scale, drawing
from encollapse.present.families import Family
from encollapse.present.figures.choice import common_decays, row_pages
from encollapse.present.figures.collapse import decay_dots, decay_keys, decays_in_words
from encollapse.present.figures.dots import dot_panel, height
from encollapse.present.figures.series import page_name, page_note

NAME = "decisions"

_QUANTITIES = (
    ("accuracy", "accuracy on the training set"),
    ("test_accuracy", "accuracy on the hold-out"),
    ("nc4_agreement", "NC4 on the training set"),
    ("test_nc4_agreement", "NC4 on the hold-out"),
)
_DECAYS = 5


def decision_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy and NC4 of every encoding, of those that the records hold; none where they hold none."""
    known = [
        q for q in _QUANTITIES if any(readings.value(r, q[0]) is not None for f in members for r in f.trials)
    ]
    if not known:
        return []
    decays = common_decays(members, _DECAYS)
    pages = row_pages(members)
    return [drawing(_chart(*page, known, decays, number, len(pages))) for number, page in enumerate(pages)]


def _chart(
    title: str,
    members: list[Family],
    names: list[str],
    known: Sequence[tuple[str, str]],
    decays: list[float],
    page: int,
    pages: int,
) -> Chart:
    rows: list[dict[str, Any]] = []
    panels: list[Panel] = []
    for name, meaning in known:
        dots = decay_dots(members, names, decays, name, rows, unit=100.0)
        low = min((dot.value.low for dot in dots), default=100.0)
        high = max((dot.value.high for dot in dots), default=100.0)
        margin = max(0.06 * (high - low), 0.3)
        panels.append(dot_panel(names, Scale("%", limits=(low - margin, high + margin)), dots, meaning))
    absent = [meaning for q, meaning in _QUANTITIES if (q, meaning) not in known]
    note = f" Not in the records: {'; '.join(absent)}." if absent else ""
    caption = (
        f"What the networks decide{f', {title}' if title else ''}, one row an encoding, at {decays_in_words(decays)}: "
        "means over seeds, bars from the lowest to the highest. Accuracy is that of the nearest codeword; NC4 is the "
        f"share of samples on which it agrees with the nearest class mean.{note}{page_note(page, pages)}"
    )
    return Chart(
        page_name(NAME, page),
        caption,
        panels,
        rows,
        columns=min(2, len(panels)),
        height=height(len(names), len(decays)),
        keys=decay_keys(decays) if len(decays) > 1 else [],
        share="y",
    )
