"""Gram matrices of the class means, predicted above and measured below."""

from __future__ import annotations

from typing import Any

import numpy as np

from encollapse.present.families import Family
from encollapse.present.figures.figure import Drawing
from encollapse.present.style import DIVERGING, GREY, house_style, panels
from encollapse.present.wording import power
from encollapse.study.results import TrialResult
from encollapse.study.trials import number_label

NAME = "gram-matrices"


def gram_matrices(family: Family, *, columns: int = 4) -> Drawing | None:
    """Uncentred Gram matrices at up to `columns` bias decays, all on one diverging colour scale.

    Returns
    -------
    Drawing or None
        None if the theory has no prediction for this family.
    """
    chosen = chosen_trials(family, columns)
    pairs = [
        (predicted.feature_gram, measured.feature_gram)
        for predicted, measured in (result.geometries() for result in chosen)
        if predicted is not None
    ]
    if len(pairs) < len(chosen):
        return None
    limit = max(float(np.nanmax(np.abs(gram))) for pair in pairs for gram in pair) or 1.0
    rows: list[dict[str, Any]] = []
    with house_style(NAME):
        figure, grid = panels(len(chosen), 2, width=1.75 * len(chosen) + 0.9, height=3.75)
        for column, (result, pair) in enumerate(zip(chosen, pairs, strict=True)):
            decay = result.settings["bias_decay"]
            for row, (kind, gram) in enumerate(zip(("predicted", "measured"), pair, strict=True)):
                axes = grid[row][column]
                image = axes.imshow(gram, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="none")
                # Without it, equal pictures would share an identifier in the page.
                image.set_gid(f"{kind}-{column}")
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set(visible=True, linewidth=0.6, color=GREY)
                rows += _rows(kind, result, gram)
            grid[0][column].set_title(f"$\\lambda_b$ = {number_label(decay)}", loc="center")
            error = result.comparison_error("gram_error")
            text = "no Gram error" if error is None else f"Gram error {power(error)}"
            grid[1][column].set_xlabel(text, fontsize=7.5, color=GREY)
        for row, kind in enumerate(("predicted", "measured")):
            grid[row][0].set_ylabel(kind)
        bar = figure.colorbar(image, ax=[axes for line in grid for axes in line], shrink=0.75, aspect=28)
        bar.outline.set(linewidth=0.5, edgecolor=GREY)
        bar.ax.tick_params(width=0.5, length=2)
        bar.set_label("inner product of class means")
    seeds = {result.settings["seed"] for result in chosen}
    seed = f", seed {seeds.pop()}" if len(seeds) == 1 else ""
    caption = (
        f"Gram matrices of the uncentred class means, {family.label}{seed}: predicted by the exact minimiser "
        "(above) and measured on the trained network (below), one row and column a class, all on one scale. "
        "The Gram error is |G_meas − G_pred| / |G_pred| in the Frobenius norm."
    )
    return Drawing(NAME, caption, figure, rows)


def chosen_trials(family: Family, columns: int) -> list[TrialResult]:
    """One trial (the first seed) at each of up to `columns` bias decays: both ends, and what is critical."""
    decays = family.bias_decays
    first = {float(result.settings["bias_decay"]): result for result in reversed(family.trials)}
    if len(decays) <= columns:
        return [first[decay] for decay in decays]
    picked = {0, len(decays) - 1}
    critical = family.critical
    if critical is not None:
        picked.add(int(np.argmin([abs(decay - critical) for decay in decays])))
    spread = np.rint(np.linspace(0, len(decays) - 1, 2 * columns)).astype(int).tolist()
    while len(picked) < columns:
        # The candidate that is farthest from everything picked so far.
        picked.add(max(spread, key=lambda i: min(abs(i - p) for p in picked)))
    return [first[decays[index]] for index in sorted(picked)]


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
