"""What a figure shows where it cannot show all: bias decays, families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from encollapse.report.figures.series import parts
from encollapse.study.families import Family, by_panel

ROWS = 18
"""Rows of a dot plot."""


def spread_out(number: int, wanted: int, *, also: Sequence[int] = ()) -> list[int]:
    """Positions of `wanted` out of `number`: both ends, those in `also`, and what lies farthest from them."""
    if number <= wanted:
        return list(range(number))
    picked = {0, number - 1, *also}
    candidates = np.rint(np.linspace(0, number - 1, 2 * wanted)).astype(int).tolist()
    while len(picked) < wanted:
        picked.add(max(candidates, key=lambda i: min(abs(i - p) for p in picked)))
    return sorted(picked)


def chosen_decays(family: Family, wanted: int) -> list[float]:
    """Up to `wanted` bias decays of a family: both ends, and the one closest to the critical."""
    decays, critical = family.bias_decays, family.critical
    also = [] if critical is None else [int(np.argmin([abs(decay - critical) for decay in decays]))]
    return [decays[i] for i in spread_out(len(decays), wanted, also=also)]


def common_decays(members: Sequence[Family], wanted: int) -> list[float]:
    """Up to `wanted` bias decays, ends included, of those that most families have."""
    found = Counter(decay for family in members for decay in family.bias_decays)
    most = max(found.values())
    shared = sorted(decay for decay, number in found.items() if 2 * number > most)
    return [shared[i] for i in spread_out(len(shared), wanted)]


def others(members: Sequence[Family], decays: Sequence[float]) -> str:
    """Say how many bias decays a figure leaves out, at the end of a caption."""
    left = {decay for family in members for decay in family.bias_decays} - set(decays)
    return f" Not shown: {len(left)} other value{'s' if len(left) > 1 else ''} of λ_b." if left else ""


def row_pages(members: Sequence[Family]) -> list[tuple[str, list[Family], list[str]]]:
    """Families as the rows of dot plots: (title, families, names of the rows) of each sheet."""
    if len(members) <= ROWS:
        kinds, encodings = by_panel(members), {family.encoding for family in members}
        if len(kinds) == 1:
            names = [family.encoding for family in members]
        else:
            names = [family.panel if len(encodings) == 1 else family.label for family in members]
        return [("", list(members), names)]
    pages = []
    for title, group in by_panel(members).items():
        for part in parts(group, ROWS):
            pages.append((title, list(part), [family.encoding for family in part]))
    if all(len(group) == 1 for _, group, _ in pages):
        return [("", list(part), [family.label for family in part]) for part in parts(members, ROWS)]
    return pages
