"""A diagnosis as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup

from encollapse._internal import files
from encollapse.report import pages
from encollapse.report.charts import Drawing
from encollapse.report.figures.values import diagnosis_chart
from encollapse.report.tables import Cell, Group, Table

HasParts: TypeAlias = Any
"""A :class:`encollapse.Diagnosis`, which writes its page by this module and so cannot be imported here."""


def diagnosis_page(diagnosis: HasParts, path: str | Path, *, title: str = "Diagnosis of a training") -> Path:
    """Write the page of a diagnosis and return its path.

    Parameters
    ----------
    diagnosis : Diagnosis
        What :func:`encollapse.diagnose` found.
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
    """
    target = files.with_suffix(path, "path", (".html", ".htm"))
    d, drawing = diagnosis, Drawing(diagnosis_chart(diagnosis))
    facts = [
        f"{d.collapse.num_classes} classes, {d.collapse.num_samples} samples",
        f"head {d.head}",
        f"loss: {d.loss}",
        f"decay: {d.decays}",
    ]
    page = pages.render(
        "diagnosis.html.j2",
        title=title,
        facts=facts,
        verdict=d.verdict,
        law=d.law.replace("_", " "),
        reason=d.reason,
        drawing=drawing,
        svg=Markup(drawing.inline_svg()),
        conditions=_conditions(d),
        numbers=_numbers(d),
        missing=[(name, reason) for name, reason in d.missing.items()],
    )
    return files.write_text(target, page)


def _conditions(d: HasParts) -> Table:
    rows = tuple((Cell(c.text), Cell(c.status), Cell(c.detail)) for c in d.conditions)
    return Table((("premise", ""), ("status", ""), ("found", "")), (Group("", rows),), "Premises of the law.")


def _numbers(d: HasParts) -> Table:
    groups = [Group("measured", tuple(_row(name, value) for name, value in d.collapse.values.items()))]
    if d.comparison is not None:
        groups.append(
            Group("prediction against measurement", tuple(_row(row.name, row.value) for row in d.comparison.rows))
        )
    if d.excess is not None:
        shown = d.excess.shown().to_dict()
        groups.append(Group("excess over the minimum", tuple(_row(name, value) for name, value in shown.items())))
    return Table((("quantity", ""), ("value", "")), tuple(groups), "Every number of the diagnosis.")


def _row(name: str, value: float | None) -> tuple[Cell, Cell]:
    return Cell(name), Cell("–" if value is None else f"{value:.4g}")
