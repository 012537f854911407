"""What is left of the loss above the certified minimum, in its parts, and how far the outputs are, along decay time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encollapse._internal.format import number_label
from encollapse.report.charts import Band, Chart, Drawing, Key, Line, Mark, Panel, Points, Scale
from encollapse.report.figures.series import numbered, of_trial, parts
from encollapse.report.style import BLUE, GREY, INK, ORANGE, VERMILLION
from encollapse.study.families import Family, panel_labels
from encollapse.study.labels import encoding_label
from encollapse.study.results import TrialResult
from encollapse.study.trials import kind_of

_NAME = "excess"
_COLUMNS = 4  # what a line of the page holds
_PARTS = (
    ("excess_unbalanced", "layers unbalanced", ORANGE, "s"),
    ("excess_within", "within classes", VERMILLION, "o"),
    ("excess_between", "between classes", BLUE, "^"),
)
_LEAST = 1e-9
"""Shares of the minimum below this are drawn here: with less, rounding of float32 features decides."""


def excess_parts(members: Sequence[Family]) -> list[Drawing]:
    """Parts of the excess and the guarantee against τ, for trainings that differ in their length, or none otherwise."""
    groups: dict[str, list[TrialResult]] = {}
    for result in (result for family in members for result in family.trials):
        if result.record.value("excess") is not None and result.record.decay_time is not None:
            groups.setdefault(kind_of(result.settings, ("epochs", "seed")), []).append(result)
    found = [group for group in groups.values() if len({result.record.decay_time for result in group}) > 1]
    kinds = [{name: value for name, value in group[0].settings.items() if name != "epochs"} for group in found]
    named = zip(map(encoding_label, kinds), panel_labels(kinds, brief=True), strict=True)
    several = len(set(map(encoding_label, kinds))) > 1
    titles = [" · ".join(filter(None, (encoding if several else "", panel))) for encoding, panel in named]
    return numbered([_chart(page) for page in parts(list(zip(titles, found, strict=True)), _COLUMNS)])


def _chart(groups: Sequence[tuple[str, list[TrialResult]]]) -> Chart:
    rows: list[dict[str, Any]] = []
    upper, lower = [], []
    for title, trials in groups:
        ordered = sorted(trials, key=lambda result: result.record.decay_time or 0.0)
        upper.append(Panel(Scale(), Scale("share of the minimum", "log"), _parts(ordered), title))
        lower.append(Panel(Scale("decay time τ"), Scale("distance of the outputs", "log"), _guarantee(ordered)))
        for result in ordered:
            quantities = [*(name for name, *_ in _PARTS), "guarantee", "distance"]
            values = {name: result.record.value(name) for name in quantities}
            rows.append({"panel": title} | of_trial(result) | {"decay_time": result.record.decay_time} | values)
    caption = (
        "What is left after so many decay times τ. Above: the loss over its certified minimum, as a share of the "
        "minimum, in three parts that are never negative: layers out of balance, differences between samples of a "
        "class, class means. Below: the outputs of the training samples against the predicted ones, as a mean squared "
        "distance, or as a mean divergence under cross-entropy. The band is what the loss alone guarantees, and the "
        "marks are what was measured."
    )
    keys = [Key(name, color, marker, filled=True) for _, name, color, marker in _PARTS]
    keys += [Key("guarantee", GREY), Key("measured", INK, "D", filled=True, dash=None)]
    return Chart(
        _NAME,
        caption,
        [*upper, *lower],
        rows,
        columns=len(groups),
        width=8.6 if len(groups) > 2 else 6.4,
        height=2.2,
        keys=keys,
        share="x",
        row_heights=(1.15, 1.0),
    )


def _parts(trials: Sequence[TrialResult]) -> list[Mark]:
    marks: list[Mark] = []
    for name, meaning, color, marker in _PARTS:
        times, shares = [], []
        for result in trials:
            value, least = result.record.value(name), (result.record.excess or {}).get("lower_bound")
            if value is not None and least:
                times.append(result.record.decay_time or 0.0)
                shares.append(max(value / least, _LEAST))
        texts = [f"{meaning} at τ = {number_label(t)}: {share:.2g}" for t, share in zip(times, shares, strict=True)]
        marks.append(Line(times, shares, color, label=meaning))
        marks.append(Points(times, shares, color, marker, filled=True, label=meaning, texts=texts))
    return marks


def _guarantee(trials: Sequence[TrialResult]) -> list[Mark]:
    times = [result.record.decay_time or 0.0 for result in trials]
    bound = [result.record.value("guarantee") or 0.0 for result in trials]
    distance = [result.record.value("distance") or 0.0 for result in trials]
    texts = [
        f"τ = {number_label(t)}: {d:.2g} of at most {b:.2g}" for t, d, b in zip(times, distance, bound, strict=True)
    ]
    floor = [0.5 * min(distance)] * len(times)
    return [
        Band(times, floor, bound, GREY),
        Line(times, bound, GREY, label="guarantee"),
        Points(times, distance, INK, "D", filled=True, label="measured", texts=texts),
    ]
