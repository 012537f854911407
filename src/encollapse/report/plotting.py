"""`plot`: the picture of any result by one call, for a screen or in the true size of a paper's column."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from encollapse._internal import checks
from encollapse._internal.format import wrapped
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.geometry.frames import gram_cosines
from encollapse.report import figures
from encollapse.report.charts import Chart, Drawing, Heat
from encollapse.report.charts.paper import draw_into, figure_of
from encollapse.report.figures import values
from encollapse.report.figures.dynamics import run_chart
from encollapse.report.style import DIVERGING, house_style
from encollapse.study.families import families

WIDTHS = {"one": 3.35, "two": 6.9}
"""Widths of one and of two columns of a paper, in inches: 85 and 175 mm."""

_LONG = 24  # characters of a name that leave no room beside them in one column
_TALLEST, _LOWEST = 9.0, 0.8  # inches of a printed page for a figure, and of a row that can still be read
_NARROWEST, _NARROWEST_NAMED, _NARROWEST_BARE = 2.2, 3.0, 1.5  # inches of a panel: with axes, with names, a matrix

OF_RESULTS: dict[str, Callable[[Any], Sequence[Drawing]]] = {
    "transition": figures.transition,
    "against": figures.against_settings,
    "collapse": figures.collapse_dots,
    "errors": figures.error_overview,
    "bias": figures.bias_curves,
    "gram-matrices": lambda members: figures.gram_matrices(members[0]),
    "gram-encodings": figures.gram_encodings,
    "decisions": figures.decision_dots,
    "rare-accuracy": figures.rare_dots,
    "imbalance": figures.imbalance,
    "weight-decay": figures.weight_decay_dots,
    "scatter": figures.scatter,
    "dynamics": figures.dynamics,
}
"""Figures of a study by name. The first that there is data for is drawn by default."""

CHARTS: dict[str, Callable[[Any], Chart]] = {
    "Encoding": values.encoding_chart,
    "ClassGeometry": values.geometry_chart,
    "Solution": values.solution_chart,
    "BiasPath": values.path_chart,
    "Collapse": values.collapse_chart,
    "Comparison": values.comparison_chart,
    "Plan": values.plan_chart,
    "Diagnosis": values.diagnosis_chart,
    "Checkpoints": lambda film: film.drawing().chart,
    "Run": run_chart,
}
"""What draws a class, by its name, so that none of them is imported here. Another class enters by a line."""


class _HouseFigure(Figure):
    """A figure whose files are written in the house style, whatever style is set then: text stays text."""

    def savefig(self, *args: Any, **options: Any) -> None:
        """As of any figure."""
        with house_style():
            super().savefig(*args, **options)


def plot(
    x: Any,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    style: str = "screen",
    width: str | float | None = None,
    panels: Sequence[int | str] | None = None,
    figure: str | None = None,
    animate: bool = False,
    out: str | Path | None = None,
) -> Any:
    """Draw a result: what its picture shows depends on what it is.

    An encoding, a geometry and a minimizer show their matrices, a bias path and a study their transition, a
    measurement its metrics, a comparison its errors, a plan its trials, a run its history, a diagnosis prediction and
    measurement. Every result has this function as its method ``plot``.

    Parameters
    ----------
    x : Encoding, ClassGeometry, Solution, BiasPath, Collapse, Comparison, Run, Results, Plan, Diagnosis or Checkpoints
        What to draw.
    ax : matplotlib Axes or several of them, optional
        What to draw into. One takes the first panel, several take as many. Default a new figure of pyplot.
    style : {"screen", "paper"}
        ``"paper"`` draws in the true size of a column with letters of 7 to 8 points, to be included unscaled.
    width : {"one", "two"} or float, optional
        Columns of the paper that the figure spans, 3.35 or 6.9 inches wide, or its width in inches. Default: that of
        the picture, on paper one column for one panel and two for more.
    panels : sequence of int or str, optional
        Which panels to draw, by place or by the beginning of title or axis label. Default: all.
    figure : str, optional
        Of a study: which of its figures, such as ``"collapse"`` or ``"scatter"``. Default ``"transition"`` where
        the bias decay varies, else ``"against"`` what does.
    animate : bool
        Of a run with frames: the class means along the training, as an animation.
    out : path, optional
        Also write the picture to this .svg, .pdf or .png file, and its numbers beside it as .csv.

    Returns
    -------
    matplotlib Axes or Figure
        The axes where there is one panel, else the figure. With `ax` what was given, with `animate` a
        ``matplotlib.animation.FuncAnimation``, which has a method ``save``.

    Raises
    ------
    ArgumentTypeError
        If there is no picture of such a value.
    ArgumentError
        If an option names a panel or figure that there is not, or does not go with `x`.

    Examples
    --------
    >>> import encollapse as ec
    >>> axes = ec.plot(ec.encodings.simplex(4), style="paper")
    >>> axes.images[0].get_array().shape, f"{axes.figure.get_figwidth():.2f} inches"
    ((4, 4), '3.35 inches')
    """
    checks.choice(style, "style", ("screen", "paper"))
    if animate:
        return _film(x)
    chart = _chosen(_chart(x, figure), panels)
    if ax is not None:
        return _into(chart, ax)
    paper = style == "paper"
    inches = _inches(width, _columns(chart) if paper else None)
    if inches is not None:
        chart = fitted(chart, inches)
    drawn = figure_of(chart, make=_make, print_size=paper)
    if out is not None:
        Drawing(chart, drawn).save_as(out)
    return drawn.axes[0] if len(chart.panels) == 1 else drawn


def plot_metrics(steps: Sequence[Any], ax: Any = None) -> tuple[Figure, Any]:
    """Draw values of metrics, of one step or several, and return figure and axes, as torchmetrics has it."""
    chart = values.metrics_chart(steps)
    if ax is not None:
        return np.ravel(np.asarray(ax, dtype=object))[0].figure, _into(chart, ax)
    drawn = figure_of(chart, make=_make)
    return drawn, drawn.axes[0] if len(drawn.axes) == 1 else drawn.axes


def _make(**options: Any) -> Figure:
    return plt.figure(FigureClass=_HouseFigure, **options)


def _chart(x: Any, figure: str | None) -> Chart:
    kinds = [kind.__name__ for kind in type(x).__mro__]
    if "Results" in kinds:
        return _of_results(x, figure)
    if figure is not None:
        raise ArgumentError(f"figure: only the results of a study have several, got {figure!r} for a {kinds[0]}")
    for kind in kinds:
        if kind in CHARTS:
            return CHARTS[kind](x)
    raise ArgumentTypeError(f"x: expected one of {', '.join([*CHARTS, 'Results'])}, got {kinds[0]}")


def _of_results(results: Any, figure: str | None) -> Chart:
    if not results.done:
        raise ArgumentError("x: no trial of these results has finished; run the study first")
    members = families(results.done)
    names = list(OF_RESULTS) if figure is None else [checks.choice(figure, "figure", tuple(OF_RESULTS))]
    for name in names:
        drawings = OF_RESULTS[name](members)
        if drawings:
            return drawings[0].chart
    raise ArgumentError(f"figure: the results hold no data for {' or '.join(names)}")


def _chosen(chart: Chart, wanted: Sequence[int | str] | None) -> Chart:
    if wanted is None:
        return chart
    number = len(chart.panels)
    names = [" ".join(f"{p.title or p.y.label or p.x.label}".split()) for p in chart.panels]
    places = []
    for name in wanted:
        found = [i for i, known in enumerate(names) if isinstance(name, str) and known.lower().startswith(name.lower())]
        if isinstance(name, int) and -number <= name < number:
            found = [name % number]
        if not found:
            raise ArgumentError(f"panels: there is no {name!r}; there are {', '.join(map(repr, names))}")
        places.append(found[0])
    if not places:
        raise ArgumentError("panels: expected at least one, got none")
    shown = [chart.panels[i] for i in places]
    columns = min(chart.columns, len(shown))
    heats = any(isinstance(mark, Heat) for panel in shown for mark in panel.marks)
    share = chart.share if len(shown) > 1 else ""
    each = chart.width / chart.columns
    return replace(
        chart,
        panels=shown,
        columns=columns,
        width=max(each * columns, 3.4) if columns < chart.columns else chart.width,
        heat_label=chart.heat_label if heats else "",
        share=share,
        row_heights=(),
    )


def _into(chart: Chart, ax: Any) -> Any:
    given = [a for a in np.ravel(np.asarray(ax, dtype=object)) if a is not None]
    if not given or not all(isinstance(a, Axes) for a in given):
        raise ArgumentTypeError(f"ax: expected matplotlib Axes, or several of them, got {ax!r}")
    if len(given) > 1 and len(given) != len(chart.panels):
        raise ArgumentError(f"ax: expected one, or as many as there are panels, {len(chart.panels)}, got {len(given)}")
    draw_into(replace(chart, panels=chart.panels[: len(given)]), given)
    return ax


def _inches(width: str | float | None, default: str | None) -> float | None:
    wanted = default if width is None else width
    if isinstance(wanted, str):
        return WIDTHS[checks.choice(wanted, "width", tuple(WIDTHS))]
    return None if wanted is None else checks.positive(wanted, "width")


def _columns(chart: Chart) -> str:
    """One column for one panel whose rows have short names, else two."""
    long = any(len(name) > _LONG for panel in chart.panels for name in panel.y.names)
    return "one" if len(chart.panels) == 1 and not long else "two"


def fitted(chart: Chart, width: float) -> Chart:
    """The chart in a figure of this width in inches, with as many panels in a row as can be read."""
    grid = len(chart.panels) > chart.columns and (bool(chart.row_heights) or all(p.bare for p in chart.panels))
    columns = chart.columns
    if not grid:  # rows that belong together stay as they are
        named = any(p.y.kind == "category" for p in chart.panels)
        bare = all(p.bare for p in chart.panels)
        least = _NARROWEST_BARE if bare else _NARROWEST_NAMED if named else _NARROWEST
        columns = max(1, min(chart.columns, int(width / least)))
    each = width / columns
    squares = any(p.square for p in chart.panels)
    named_rows = any(p.y.kind == "category" for p in chart.panels)
    height = each - 0.35 if squares else chart.height if named_rows else min(chart.height, max(1.5, 0.72 * each))
    if not squares and not named_rows:
        height = min(height, max(_LOWEST, _TALLEST / math.ceil(len(chart.panels) / columns)))
    panels = chart.panels
    if named_rows and each < WIDTHS["two"] / 2 + 0.5:  # names that would leave no room to what they name
        panels = [replace(p, y=replace(p.y, names=tuple(map(_in_lines, p.y.names)))) for p in panels]
    return replace(chart, width=width, columns=columns, height=height, panels=panels)


def _in_lines(name: str) -> str:
    """A name in lines that leave room beside it, broken at a bracket only where nothing else makes it short enough."""
    lines = wrapped(name, _LONG, brackets=False)
    return lines if max(map(len, lines.split("\n"))) <= _LONG else wrapped(name, _LONG)


def _film(run: Any) -> Any:
    """The class means along a training, in the plane in which they end up, with their cosines beside them."""
    from matplotlib.animation import FuncAnimation

    frames = getattr(run, "frames", ())
    if len(frames) < 2:
        raise ArgumentError("animate: expected a run with frames; train with keep_frames=True (--frames)")
    means = [np.asarray(frame.class_means, dtype=float) for frame in frames]
    last = means[-1] - means[-1].mean(axis=1, keepdims=True)
    plane = np.linalg.svd(last, full_matrices=False)[0][:, :2]
    places = np.stack([plane.T @ each for each in means])  # (frames, 2, classes)
    classes = places.shape[2]
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.5), layout="constrained")
        trails = [left.plot([], [], color="#8fc0dc", linewidth=0.9)[0] for _ in range(classes)]
        dots = left.scatter(*places[0], c=np.arange(classes), cmap="viridis", zorder=3)
        reach = 1.1 * float(np.abs(places).max()) or 1.0
        left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        left.axhline(0, color="#dfe3e8", linewidth=0.8, zorder=0)
        left.axvline(0, color="#dfe3e8", linewidth=0.8, zorder=0)
        image = right.imshow(gram_cosines(means[0].T @ means[0]), cmap=DIVERGING, vmin=-1, vmax=1)
        right.set(xticks=[], yticks=[], title="cosines of class means")
        figure.colorbar(image, ax=right, shrink=0.8)

    def show(number: int) -> list[Any]:
        dots.set_offsets(places[number].T)
        for k, trail in enumerate(trails):
            trail.set_data(places[: number + 1, 0, k], places[: number + 1, 1, k])
        image.set_data(gram_cosines(means[number].T @ means[number]))
        left.set_title(f"class means, {_passes(frames[number].epoch)}", fontsize=9, loc="left")
        return [dots, image, *trails]

    show(0)
    return FuncAnimation(figure, show, frames=len(frames), interval=max(40, math.ceil(6000 / len(frames))))


def _passes(epoch: int) -> str:
    return f"after {epoch} pass{'' if epoch == 1 else 'es'}"
