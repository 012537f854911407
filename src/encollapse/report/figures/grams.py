"""Gram matrices of the class means, predicted above and measured below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal.format import number_label, power, wrapped
from encollapse._internal.typing import FloatArray
from encollapse.report.charts import Chart, Drawing, Heat, Panel, Scale
from encollapse.report.figures.series import chosen_decays, common_decays, numbered, parts, spread_out
from encollapse.report.varied_settings import named, without_axes
from encollapse.study.families import Family, measured_kind
from encollapse.study.results import TrialResult

NAME = "gram-matrices"
OF_ENCODINGS = "gram-encodings"

_COLUMNS = 7  # what a line of the page holds
_LINE, _SHORT = 105, 14  # characters of titles side by side on that line, and what a name may have without a break
_NARROW = 3.3
"""Inches below which a single matrix would leave no room for the words beside it."""


def gram_matrices(family: Family, *, columns: int = 5) -> list[Drawing]:
    """Uncentered Gram matrices at up to `columns` bias decays on one color scale, or none without a prediction."""
    chosen = chosen_trials(family, columns)
    titles = [f"λ_b = {number_label(result.settings['bias_decay'])}" for result in chosen]
    pairs = _pairs(chosen)
    if pairs is None:
        return []
    seeds = {result.settings["seed"] for result in chosen}
    seed = f", seed {seeds.pop()}" if len(seeds) == 1 else ""
    caption = (
        f"Gram matrices of the uncentered class means, {family.label}{seed}: predicted by the exact minimizer "
        f"(above) and measured on the {measured_kind(chosen, plural=False)} (below), one row and column a class, "
        "all on one scale. The Gram error is |G_meas − G_pred| / |G_pred| in the Frobenius norm."
    )
    limit = max(float(np.nanmax(np.abs(gram))) for pair in pairs for gram in pair) or 1.0
    return [Drawing(_chart(NAME, caption, chosen, titles, pairs, [limit] * len(pairs)))]


def gram_encodings(members: Sequence[Family]) -> list[Drawing]:
    """Gram matrices of each encoding, or with one encoding of each setting, at one bias decay, or none below two.

    Each has its own scale.
    """
    encodings = {family.encoding for family in members}
    by_encoding = len(encodings) > 1
    first = {family.encoding if by_encoding else family.panel: family for family in reversed(members)}
    if len(first) < 2:
        return []
    decay = common_decays(list(first.values()), 2)[-1]
    names = list(dict.fromkeys(family.encoding if by_encoding else family.panel for family in members))
    number = len(names)
    if not by_encoding:
        names = [names[i] for i in spread_out(len(names), _COLUMNS)]
    shown = [(name, first[name].at(decay)[0]) for name in names if first[name].at(decay)]
    found = [(name, result, pair[0]) for name, result in shown if (pair := _pairs([result]))]
    what = "encoding" if by_encoding else named(without_axes(family.trials[0].settings for family in first.values()))
    of = f"each {what}" if len(names) == number else f"{len(names)} of {number} choices of {what}"
    made = []
    for part in parts(found, _COLUMNS):
        chosen, pairs = [result for _, result, _ in part], [pair for *_, pair in part]
        panel = first[part[0][0]].panel if by_encoding else ""
        caption = (
            f"Gram matrices of the uncentered class means for {of}, λ_b = {number_label(decay)}"
            f"{f', {panel}' if panel else ''}, first seed: predicted (above) and measured (below). Blue is negative, "
            f"orange positive. Each column has its own scale."
        )
        limits = [max(float(np.nanmax(np.abs(gram))) for gram in pair) or 1.0 for pair in pairs]
        titles = [wrapped(name, max(_SHORT, int(_LINE / len(part)))) for name, *_ in part]
        made.append(_chart(OF_ENCODINGS, caption, chosen, titles, pairs, limits))
    return numbered(made)


def chosen_trials(family: Family, columns: int) -> list[TrialResult]:
    """One trial (the first seed) at each of up to `columns` bias decays: both ends, and what is critical."""
    return [family.at(decay)[0] for decay in chosen_decays(family, columns)]


def _pairs(chosen: Sequence[TrialResult]) -> list[tuple[FloatArray, FloatArray]] | None:
    pairs = [
        (predicted.feature_gram, measured.feature_gram)
        for predicted, measured in (result.geometries() for result in chosen)
        if predicted is not None
    ]
    return pairs if len(pairs) == len(chosen) else None


def _chart(
    name: str,
    caption: str,
    chosen: Sequence[TrialResult],
    titles: Sequence[str],
    pairs: Sequence[tuple[FloatArray, FloatArray]],
    limits: Sequence[float],
) -> Chart:
    rows: list[dict[str, Any]] = []
    panels = []
    one_scale = len(set(limits)) == 1
    for row, kind in enumerate(("predicted", "measured")):
        for column, (result, pair) in enumerate(zip(chosen, pairs, strict=True)):
            rows += _rows(kind, result, pair[row])
            limit = limits[column]
            value = result.comparison_error("gram_error")
            error = "" if value is None else f"{'Gram ' if len(chosen) < 6 else ''}error {power(value)}"
            panels.append(
                Panel(
                    Scale(error if row else ""),
                    Scale("" if column else kind),
                    [Heat(np.asarray(pair[row]), (-limit, limit), "diverging")],
                    "" if row else titles[column],
                    bare=True,
                    square=True,
                )
            )
    width = min(8.6, 1.65 * len(chosen) + (0.9 if one_scale else 0.3))
    height = (width - 0.9 * one_scale) / len(chosen) - 0.02
    return Chart(
        name,
        caption,
        panels,
        rows,
        columns=len(chosen),
        width=max(width, _NARROW),
        height=height,
        heat_label="inner product of class means" if one_scale else "",
    )


def _rows(kind: str, result: TrialResult, gram: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "trial": result.id,
            "bias_decay": result.settings["bias_decay"],
            "class_1": k,
            "class_2": l,
            "inner_product": float(gram[k, l]),
        }
        for k in range(len(gram))
        for l in range(len(gram))  # noqa: E741 (the notation table's letters)
    ]
