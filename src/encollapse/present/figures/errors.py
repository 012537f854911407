"""Every error at a glance: one line a family, one mark a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse.present.families import Family
from encollapse.present.figures.figure import Drawing
from encollapse.present.style import BLUE, GREY, VERMILLION, house_style, panels

NAME = "errors"

_SHOWN = (
    ("gram_error", "Gram matrix, relative", BLUE, "o", -0.14),
    ("bias_error", "bias, largest entry", VERMILLION, "s", 0.14),
)


def error_overview(members: Sequence[Family]) -> Drawing | None:
    """Gram and bias errors of every trained network on a logarithmic axis; None if there are none."""
    rows: list[dict[str, Any]] = [
        {
            "family": family.label,
            "trial": result.id,
            "bias_decay": result.settings["bias_decay"],
            "seed": result.settings["seed"],
            "error": name,
            "value": result.comparison_error(name),
        }
        for family in members
        for result in family.trials
        for name, *_ in _SHOWN
        # An error of exactly 0 is that of a bias which does not exist; a logarithmic axis has no place for it.
        if result.comparison_error(name)
    ]
    if not rows:
        return None
    labels = [family.label for family in members]
    with house_style(NAME):
        figure, grid = panels(1, width=7.2, height=0.9 + 0.34 * len(labels))
        axes = grid[0][0]
        for name, meaning, colour, marker, shift in _SHOWN:
            own = [row for row in rows if row["error"] == name]
            axes.plot(
                [row["value"] for row in own],
                [labels.index(row["family"]) + shift for row in own],
                linestyle="none",
                marker=marker,
                color=colour,
                alpha=0.75,
                markeredgewidth=0,
                label=meaning,
            )
        axes.set_xscale("log")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.5)
        for y in np.arange(0.5, len(labels) - 1):
            axes.axhline(y, color=GREY, alpha=0.25, linewidth=0.5)
        axes.set_xlabel("error of the trained network against the exact minimiser")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.2)
    caption = (
        "Errors of every trained network against its prediction. Circles: relative error of the Gram matrix of the "
        "class means. Squares: largest error of a bias entry, in units of the labels."
    )
    return Drawing(NAME, caption, figure, rows)
