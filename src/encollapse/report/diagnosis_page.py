"""A diagnosis as a figure and as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from markupsafe import Markup

from encollapse._internal import files
from encollapse._internal.typing import FloatArray
from encollapse.report import pages, style
from encollapse.report.charts import Drawing
from encollapse.report.style import BLUE, DIVERGING, GREEN, GREY, VERMILLION, house_style
from encollapse.report.tables import Cell, Group, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HasParts: TypeAlias = Any
"""A :class:`encollapse.Diagnosis`, which draws itself by this module and so cannot be imported here."""

_LARGEST = 200
"""Classes of a Gram matrix that is drawn."""


def diagnosis_figure(diagnosis: HasParts) -> Figure:
    """Draw predicted and measured cosines of the class means, and the parts of the excess.

    Parameters
    ----------
    diagnosis : Diagnosis
        What :func:`encollapse.diagnose` found.

    Returns
    -------
    matplotlib.figure.Figure
        Two matrices, or one without a prediction, and the bars of the excess where it is known.
    """
    return _drawing(diagnosis).figure


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
    d, drawing = diagnosis, _drawing(diagnosis)
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
        groups.append(Group("excess over the minimum", tuple(_row(n, v) for n, v in d.excess.to_dict().items())))
    return Table((("quantity", ""), ("value", "")), tuple(groups), "Every number of the diagnosis.")


def _row(name: str, value: float | None) -> tuple[Cell, Cell]:
    return Cell(name), Cell("–" if value is None else f"{value:.4g}")


def _drawing(d: HasParts) -> Drawing:
    shown = [("measured", d.collapse.geometry.cosines())]
    if d.prediction is not None:
        shown.insert(0, ("predicted", d.prediction.geometry.cosines()))
    count = len(shown) + (d.excess is not None)
    with house_style("diagnosis"):
        figure, grid = style.panels(count, width=2.9 * count, height=2.9)
        axes = list(grid[0])
        for axis, (name, cosines) in zip(axes, shown, strict=False):
            _matrix(axis, cosines[:_LARGEST, :_LARGEST], f"cosines, {name}")
        if d.excess is not None:
            _parts(axes[-1], d)
    caption = "Cosines between the class means, uncentered" + (": predicted and measured." if d.prediction else ".")
    if d.excess is not None:
        caption += " Right: where the excess of the loss over the certified minimum lies."
    rows = [
        {"class_1": i, "class_2": j} | {name: float(cosines[i, j]) for name, cosines in shown}
        for i in range(min(len(shown[0][1]), _LARGEST))
        for j in range(i)
    ]
    return Drawing("diagnosis", caption, figure, rows)


def _matrix(axis: object, cosines: FloatArray, title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    image = axis.imshow(np.asarray(cosines), cmap=DIVERGING, vmin=-1, vmax=1, interpolation="none")
    axis.set_title(title, fontsize=8)
    axis.set_xlabel("class")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(visible=True, linewidth=0.6, color=GREY)
    bar = axis.figure.colorbar(image, ax=axis, shrink=0.75)
    bar.outline.set(linewidth=0.5, edgecolor=GREY)


def _parts(axis: object, d: HasParts) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    e = d.excess
    assert e is not None
    names = ("unbalanced\nlayers", "within\nclasses", "between\nclasses")
    values = (e.unbalanced, e.within, e.between)
    axis.bar(range(3), [max(value, 0.0) for value in values], color=(BLUE, VERMILLION, GREEN), width=0.65)
    axis.set_xticks(range(3), names)
    axis.tick_params(axis="x", length=0, labelsize=7)
    axis.set_title(f"excess {e.total:.3g} over the minimum {e.lower_bound:.3g}", fontsize=8)
