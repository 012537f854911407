"""How far each encoding has collapsed: NC1 to NC3 and the centring of the labels, seeds as error bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encollapse.present import readings
from encollapse.present.charts import Chart, Drawing, Key, Scale, drawing
from encollapse.present.families import Family
from encollapse.present.figures.choice import common_decays, row_pages
from encollapse.present.figures.dots import Dot, dot_panel, height, shifts
from encollapse.present.figures.series import page_name, page_note
from encollapse.present.figures.spread import spread
from encollapse.present.style import MARKERS, shades
from encollapse.study.results import TrialResult
from encollapse.study.trials import number_label

NAME = "collapse"

QUANTITIES = (
    ("nc1_trace_ratio", "NC1\ntr Σ_W / tr Σ_B"),
    ("nc2_etf", "NC2, simplex\ncentred means, simplex frame"),
    ("shape_error", "NC2, predicted\nmeans, predicted frame"),
    ("nc3_self_duality", "NC3\nclassifier, centred means"),
    ("label_centering", "centring of the labels\n|W μ + b − ē|"),
    ("bias_to_label_mean", "bias from the label mean\n|b − ē|"),
)
"""Panels, with the name of each in the records."""

_DECAYS = 5


def collapse_dots(members: Sequence[Family]) -> list[Drawing]:
    """Collapse metrics of every encoding; none where the records hold no metrics."""
    shown = [
        family
        for family in members
        if any(readings.metric(r, QUANTITIES[0][0]) is not None for r in family.trials)
    ]
    if not shown:
        return []
    decays = common_decays(shown, _DECAYS)
    pages = row_pages(shown)
    return [drawing(_chart(*page, decays, number, len(pages))) for number, page in enumerate(pages)]


def _chart(
    title: str, members: list[Family], names: list[str], decays: list[float], page: int, pages: int
) -> Chart:
    keys = decay_keys(decays)
    rows: list[dict[str, Any]] = []
    panels = []
    for name, meaning in QUANTITIES:
        dots = decay_dots(members, names, decays, name, rows)
        if dots:
            panels.append(dot_panel(names, Scale("", "log"), dots, meaning))
    caption = (
        f"Collapse of the trained networks{f', {title}' if title else ''}, one row an encoding, at "
        f"{decays_in_words(decays)}: means over seeds, bars from the lowest to the highest. "
        "Smaller is more collapsed; NC2 and NC3 are distances. "
        "A simplex frame is the prediction only for encodings whose codewords form one; the distance of the "
        "uncentred means from the frame predicted for the encoding at hand is the third panel. W μ + b − ē vanishes "
        f"where the bias is free. Values of exactly 0 have no place on the axis.{page_note(page, pages)}"
    )
    return Chart(
        page_name(NAME, page),
        caption,
        panels,
        rows,
        columns=3,
        height=height(len(names), len(decays)) + 0.1,
        keys=keys if len(decays) > 1 else [],
        share="y",
    )


def decay_keys(decays: Sequence[float]) -> list[Key]:
    """Legend of bias decays: the stronger, the darker."""
    return [
        Key(f"λ_b = {number_label(decay)}", colour, MARKERS[i], filled=True, dash=None)
        for i, (decay, colour) in enumerate(zip(decays, shades(len(decays)), strict=True))
    ]


def decay_dots(
    members: Sequence[Family],
    names: Sequence[str],
    decays: Sequence[float],
    quantity: str,
    rows: list[dict[str, Any]],
    *,
    unit: float = 1.0,
) -> list[Dot]:
    """Dots of one quantity, times `unit`, and its values as rows for the CSV file."""

    def read(result: TrialResult) -> float | None:
        value = readings.value(result, quantity)
        return None if value is None else unit * value

    dots = []
    keys, places = decay_keys(decays), shifts(len(decays))
    for row, (family, label) in enumerate(zip(members, names, strict=True)):
        for decay, key, shift in zip(decays, keys, places, strict=True):
            trials = family.at(decay)
            value = spread(trials, read)
            rows += [
                {
                    "row": label,
                    "panel": family.panel,
                    "bias_decay": decay,
                    "seed": result.settings["seed"],
                    "quantity": quantity,
                    "value": readings.value(result, quantity),
                }
                for result in trials
            ]
            if value is not None:
                dots.append(Dot(row, value, key.colour, key.marker or "o", key.label, True, shift))
    return dots


def decays_in_words(decays: Sequence[float]) -> str:
    """``λ_b = 0, 0.1 and ∞``."""
    names = [number_label(decay) for decay in decays]
    return f"λ_b = {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"λ_b = {names[0]}"
