"""A figure with the data that it shows, and how it is written to disk."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from encollapse._internal import files
from encollapse.report.charts.chart import Chart
from encollapse.report.charts.paper import figure_of
from encollapse.report.style import house_style

_LONG = re.compile(r"(\d\.\d\d)\d+")
_PATHS = re.compile(r'\b(?:d|x|y|x1|x2|y1|y2|points)="[^"]*"')
_ENLARGED = 1.45
"""How many times as large as on paper a figure may stand in a page."""
_DPI = 200  # of PNG files: sharp on dense screens, and in print at half the width
# Without a date and the maker's address a file depends on the data alone.
_FORMATS: dict[str, tuple[Callable[[Figure], Any], dict[str, None]]] = {
    ".svg": (FigureCanvasSVG, {"Date": None, "Creator": None}),
    ".png": (FigureCanvasAgg, {"Software": None}),
    ".pdf": (FigureCanvasPdf, {"CreationDate": None}),
}


@dataclass(frozen=True)
class Drawing:
    """One figure of a report: a chart on paper.

    Attributes
    ----------
    chart : Chart
        What the figure is drawn from.
    drawn : Figure, optional
        Its picture, where it is drawn already.
    """

    chart: Chart
    drawn: Figure | None = None

    @property
    def name(self) -> str:
        """Stem of its files."""
        return self.chart.name

    @property
    def caption(self) -> str:
        """What it shows and how to read it, in plain text."""
        return self.chart.caption

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The numbers in it, one mapping a row of its CSV file, all with the same keys."""
        return self.chart.rows

    @cached_property
    def figure(self) -> Figure:
        """The picture, drawn when it is first asked for."""
        return figure_of(self.chart) if self.drawn is None else self.drawn

    def save(self, folder: Path) -> None:
        """Write ``name.svg``, ``name.pdf``, ``name.png`` and ``name.csv`` into a folder."""
        files.write_text(folder / f"{self.name}.svg", self._svg)
        for suffix in (".pdf", ".png"):
            with files.atomic(folder / f"{self.name}{suffix}") as temporary:
                self._print(temporary, suffix)
        files.write_text(folder / f"{self.name}.csv", self.csv())

    def save_as(self, path: str | Path) -> Path:
        """Write the picture into one file, by its suffix, and its numbers beside it as ``.csv``.

        Raises
        ------
        ArgumentError
            If the suffix is none of .svg, .png and .pdf.
        """
        target = files.with_suffix(path, "out", tuple(_FORMATS))
        with files.atomic(target) as temporary:
            self._print(temporary, target.suffix)
        files.write_text(target.with_suffix(".csv"), self.csv())
        return target

    def _print(self, file: Any, suffix: str) -> None:
        """Write the picture. A figure of our own is drawn once. ``savefig`` draws it twice, to learn its size."""
        kind, metadata = _FORMATS[suffix]
        figure = self.figure
        with house_style(self.name):
            if self.drawn is not None:
                figure.savefig(file, format=suffix[1:], dpi=_DPI, metadata=metadata)
                return
            size, figure.dpi = figure.dpi, _DPI
            getattr(kind(figure), f"print_{suffix[1:]}")(file, metadata=metadata)
            figure.dpi = size

    def csv(self) -> str:
        """The numbers of the figure as CSV text. Floats are written so that they can be read back exactly."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return buffer.getvalue()

    def inline_svg(self) -> str:
        """SVG to stand inside a page: no XML header, and identifiers that no other figure has."""
        text = self._svg
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        # A hundredth of a point is finer than any screen.
        text = _PATHS.sub(lambda found: _LONG.sub(r"\1", found.group()), text)
        # Letters of a narrow figure shall not be larger than those of the page.
        text = text.replace("<svg", f'<svg style="--widest: {_ENLARGED * self.figure.get_figwidth():.2f}in"', 1)
        return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)

    @cached_property
    def _svg(self) -> str:
        buffer = io.StringIO()
        self._print(buffer, ".svg")
        return buffer.getvalue()
