"""A measurement as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from encollapse._internal import files
from encollapse._internal.format import fixed, percent, power
from encollapse.report.figures.measured import cosine_figure, spread_figure
from encollapse.report.measurement_facts import (
    ClassDetails,
    by_noise,
    class_cells,
    class_details,
    facts,
    grouped,
    number,
    pair_cells,
    reasons,
)
from encollapse.report.pages import render
from encollapse.report.tables import Cell, Group, Table

if TYPE_CHECKING:
    from encollapse.measure import Collapse

_CLASSES = 200
"""The class table stops there."""


def measurement_page(collapse: Collapse, path: str | Path, *, title: str = "Collapse of class features") -> Path:
    """Write the page of a measurement and return its path. It loads nothing from the internet.

    Parameters
    ----------
    collapse : Collapse
        What was measured.
    path : str or Path
        An ``.html`` file, which appears whole or not at all.
    title : str
        Heading of the page.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        If `path` does not end in ``.html``.

    Examples
    --------
    >>> import encollapse as ec
    >>> features, labels = [[2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 5.0]], [0, 0, 1, 1]
    >>> collapse = ec.measure.collapse(features, labels)
    >>> ec.report.measurement_page(collapse, "collapse.html", title="Two classes").name
    'collapse.html'
    """
    target = files.with_suffix(path, "path", (".html", ".htm"))
    details = class_details(collapse)
    drawings = [drawing for drawing in (cosine_figure(details), spread_figure(details)) if drawing is not None]
    page = render(
        "measurement.html.j2",
        title=title,
        facts=facts(collapse),
        finding=finding(collapse, details),
        headline=_headline(collapse),
        drawings=[(drawing, Markup(drawing.inline_svg())) for drawing in drawings],
        metrics=_metrics(collapse),
        missing=[(", ".join(names), reason) for reason, names in reasons(collapse).items()],
        details=[
            ("Classes, the noisiest first", _classes(details)),
            *([("Closest pairs", _pairs(details))] if len(details.classes) > 1 else []),
        ],
        convention=collapse.convention,
        route=collapse.route,
    )
    return files.write_text(target, page)


def finding(collapse: Collapse, details: ClassDetails) -> list[str]:
    """Sentences on what came out. Nothing is said that the numbers do not show."""
    text = []
    if collapse.nc1_normalized is not None:
        text.append(
            f"{percent(collapse.nc1_normalized)} of the variance of the features is within classes, the rest "
            "between them."
        )
        ratio, floor = collapse.nc1_trace_ratio, collapse.floor
        if ratio is not None and floor is not None and ratio <= floor:
            text.append("That is at the rounding of the features themselves.")
    if details.closest_pairs:
        first, second, distance, cosine = details.closest_pairs[0]
        angle = "" if np.isnan(cosine) else f", cosine {fixed(cosine, 3)}"
        text.append(f"The closest class means are those of {first} and {second} (distance {power(distance)}{angle}).")
    known = np.isfinite(details.noise)
    if known.any():
        overlapping = int((details.noise[known] > 1).sum())
        worst = by_noise(details)[0]
        text.append(
            f"The noisiest class is {details.classes[worst]}, with a spread of {power(float(details.noise[worst]))} "
            f"times half the distance to its nearest neighbor; {overlapping} of {int(known.sum())} classes "
            "exceed 1."
        )
    return text


def _headline(collapse: Collapse) -> list[tuple[str, str]]:
    chosen = (
        ("nc1_normalized", "share of variance within classes"),
        ("cdnv", "class-distance normalized variance"),
        ("nc2_etf", "distance of the means from a simplex frame"),
        ("nc3_self_duality", "distance of classifier from means"),
        ("nc4_agreement", "classifier agrees with the nearest mean"),
    )
    found = ((name, collapse.values.get(name), meaning) for name, meaning in chosen)
    return [(number(name, value), meaning) for name, value, meaning in found if value is not None]


def _metrics(collapse: Collapse) -> Table:
    columns = (("metric", ""), ("value", ""), ("", ""))
    groups = tuple(
        Group(title, tuple((Cell(name), Cell(number(name, value)), Cell(meaning)) for name, value, meaning in rows))
        for title, rows in grouped(collapse)
    )
    return Table(columns, groups, "Values by the question that they ask.")


def _classes(details: ClassDetails) -> Table:
    columns = (
        ("class", ""),
        ("samples", ""),
        ("|m − μ|", "distance of the class mean from the global mean"),
        ("spread", "root mean square distance of a sample from its class mean"),
        ("nearest", "class with the nearest mean"),
        ("at", "distance to it"),
        ("noise", "spread over half that distance"),
    )
    order = by_noise(details)
    rows = tuple(tuple(Cell(text) for text in class_cells(details, index)) for index in order[:_CLASSES])
    more = f"The first {_CLASSES} of {len(order)}. " if len(order) > _CLASSES else ""
    caption = f"{more}Noise: spread over half the distance to the nearest class mean."
    return Table(columns, (Group("", rows),), caption)


def _pairs(details: ClassDetails) -> Table:
    columns = (("class", ""), ("class", ""), ("distance", "between the means"), ("cosine", "of centered means"))
    rows = tuple(tuple(map(Cell, cells)) for cells in pair_cells(details))
    return Table(columns, (Group("", rows),), "Pairs of classes whose means are closest.")
