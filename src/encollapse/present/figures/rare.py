"""What is decided about rare classes: accuracy on unseen samples of them, beside that on all, seeds as error bars."""

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

NAME = "rare-accuracy"

_QUANTITIES = (
    ("test_minority_accuracy", "rare classes"),
    ("test_balanced_accuracy", "all classes alike"),
    ("accuracy", "training set"),
)
_DECAYS = 5


def rare_dots(members: Sequence[Family]) -> list[Drawing]:
    """Accuracy of rare classes, balanced accuracy and that of the training set; none without a hold-out."""
    shown = [
        family
        for family in members
        if any(readings.value(result, _QUANTITIES[0][0]) is not None for result in family.trials)
    ]
    if not shown:
        return []
    shown.sort(key=lambda family: family.trials[0].settings.get("threshold", 0.0))  # like beside like
    decays = common_decays(shown, _DECAYS)
    pages = row_pages(shown)
    return [drawing(_chart(*page, decays, number, len(pages))) for number, page in enumerate(pages)]


def _chart(
    title: str, members: list[Family], names: list[str], decays: list[float], page: int, pages: int
) -> Chart:
    rows: list[dict[str, Any]] = []
    panels: list[Panel] = []
    for name, meaning in _QUANTITIES:
        dots = decay_dots(members, names, decays, name, rows, unit=100.0)
        panels.append(dot_panel(names, Scale("accuracy in %", limits=(-3.0, 103.0)), dots, meaning))
    caption = (
        f"What the networks decide about rare classes{f', {title}' if title else ''}, at {decays_in_words(decays)}. "
        "Left and middle: unseen samples, averaged over the classes with less than half the training samples of the "
        "largest, and over all classes. Right: the samples of the training set. Means over seeds, bars from the lowest "
        f"to the highest.{page_note(page, pages)}"
    )
    return Chart(
        page_name(NAME, page),
        caption,
        panels,
        rows,
        columns=3,
        height=height(len(names), len(decays)),
        keys=decay_keys(decays) if len(decays) > 1 else [],
        share="y",
    )
