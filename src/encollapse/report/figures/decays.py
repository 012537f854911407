"""Explicit regularization of the features against plain and decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from encollapse.geometry.comparison import MEANINGS
from encollapse.report.charts import Chart, Drawing, Key, Panel, Scale
from encollapse.report.figures.rows import Dot, dot_panel, height, shifts
from encollapse.report.figures.series import PANELS, numbered, of_trial, parts, spread
from encollapse.report.style import BLUE, MARKERS, PURPLE, VERMILLION
from encollapse.study.families import Family
from encollapse.study.labels import encoding_label, features_label
from encollapse.study.results import TrialResult

NAME = "weight-decay"

KINDS = {
    "ufm": ("explicit on the features", BLUE),
    "plain": ("plain weight decay", VERMILLION),
    "decoupled": ("decoupled weight decay", PURPLE),
}
"""Kinds of regularization with their names and colors."""

_NAMES = {
    "gram_error": "Gram matrix",
    "shape_error": "its shape",
    "cosine_error": "cosines, largest",
    "bias_error": "bias, largest entry",
    "classifier_gram_error": "classifier's Gram matrix",
    "outputs_error": "outputs at the means",
    "balance_residual": "balance of the layers",
}


def weight_decay_dots(members: Sequence[Family]) -> list[Drawing]:
    """Distance of each compared quantity from its prediction, by the kind of decay, or none where one kind was used."""
    trials = [result for family in members for result in family.trials]
    if len({result.decay for result in trials}) < 2:
        return []
    groups: dict[str, list[TrialResult]] = {}
    for result in trials:
        groups.setdefault(_title(result, trials), []).append(result)
    return numbered([_chart(page) for page in parts(list(groups.items()), PANELS)])


def _title(result: TrialResult, trials: Sequence[TrialResult]) -> str:
    """What tells panels apart: data set, model, features and encoding, as far as they vary."""
    reads: tuple[Callable[[TrialResult], str], ...] = (
        lambda r: r.record.dataset,
        lambda r: str(r.settings["model"]),
        lambda r: features_label(r.settings),
        lambda r: encoding_label(r.settings),
    )
    return ", ".join(read(result) for read in reads if len({read(other) for other in trials}) > 1)


def _chart(groups: Sequence[tuple[str, list[TrialResult]]]) -> Chart:
    rows: list[dict[str, Any]] = []
    kinds = [kind for kind in KINDS if any(r.decay == kind for _, g in groups for r in g)]
    panels = [_panel(title, trials, kinds, rows) for title, trials in groups]
    caption = (
        "Distance of trained networks from their prediction, by where the weight decay acts: on features and last "
        "layer (what the theory assumes), on all parameters (plain), or beside the gradient (decoupled). Marks: mean "
        "over all else that varies, with bars from the lowest to the highest. Where no law holds, as under decoupled "
        "decay, the distance is that from the minimum at the decays read off the trained network."
    )
    keys = [Key(KINDS[k][0], KINDS[k][1], MARKERS[list(KINDS).index(k)], filled=True, dash=None) for k in kinds]
    return Chart(
        NAME,
        caption,
        panels,
        rows,
        columns=min(len(panels), 2 if len(panels) in (2, 4) else 3),
        width=8.6 if len(panels) > 1 else 7.2,
        height=height(list(_NAMES.values()), len(kinds)),
        keys=keys,
        share="xy" if len(panels) > 1 else "",
    )


def _panel(title: str, trials: Sequence[TrialResult], kinds: Sequence[str], rows: list[dict[str, Any]]) -> Panel:
    dots = []
    for row, name in enumerate(MEANINGS):
        for kind, shift in zip(kinds, shifts(len(kinds)), strict=True):
            own = [result for result in trials if result.decay == kind]
            rows += [
                {"panel": title, "decay": kind, "quantity": name}
                | of_trial(result)
                | {"value": result.record.value(name)}
                for result in own
            ]
            # The error of a bias that does not exist is exactly 0.
            value = spread([r for r in own if r.record.value(name)], lambda r: r.record.value(name))  # noqa: B023
            if value is not None:
                label, color = KINDS[kind]
                dots.append(Dot(row, value, color, MARKERS[list(KINDS).index(kind)], label, True, shift))
    names = [_NAMES.get(name, name) for name in MEANINGS]
    return dot_panel(names, Scale("distance from the prediction", "log"), dots, title)
