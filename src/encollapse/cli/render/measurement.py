"""A measurement for the terminal and for ``--json``: metrics by property, classes, and the closest pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from encollapse.cli.render.cells import Narrowing, align_right, plain_table
from encollapse.cli.words import in_words_of_the_command
from encollapse.metrics import METRICS
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

if TYPE_CHECKING:
    from encollapse.measure import Checkpoints, Collapse


def collapse_table(collapse: Collapse, *, per_class: bool = False) -> RenderableType:
    """The summary, and every collapse metric, grouped, with what it means. Below stands what is missing and why."""
    table = Narrowing(_metrics(collapse), 70, _metrics_alone(collapse))
    headline = Text(" · ".join(facts(collapse)), style="bold")
    parts: list[RenderableType] = [headline, "", Text(in_words_of_the_command(collapse.summary())), "", table]
    for reason, names in reasons(collapse).items():
        parts += [
            "",
            Text(f"Without a value, as {in_words_of_the_command(reason)}:"),
            Padding(Text(", ".join(names), style="dim"), (0, 0, 0, 2)),
        ]
    if per_class:
        parts += ["", class_table(collapse)]
    return Group(*parts, "", Text(f"convention: {collapse.convention} · route: {collapse.route}", style="dim"))


def _metrics(collapse: Collapse) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for title, rows in grouped(collapse):
        table.add_row(Text(title, style="bold"))
        for name, value, meaning in rows:
            table.add_row(f"  {name}", Text(number(name, value), style="cyan"), Text(meaning))
    return table


def _metrics_alone(collapse: Collapse) -> RenderableType:
    """The metrics without what they mean, and the titles of their groups apart, which are longer than any name."""
    groups = grouped(collapse)
    names = max((len(name) for _, rows in groups for name, *_ in rows), default=0)
    parts: list[RenderableType] = []
    for title, rows in groups:
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, min_width=names + 2)
        table.add_column(justify="right", no_wrap=True, min_width=10)
        for name, value, _ in rows:
            table.add_row(f"  {name}", Text(number(name, value), style="cyan"))
        parts += [Text(title, style="bold"), table]
    return Group(*parts)


def weight_table(values: Mapping[str, float], missing: Mapping[str, str]) -> RenderableType:
    """What a weight alone tells, with what it means, or why it does not."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in values.items():
        table.add_row(name, Text(number(name, value), style="cyan"), Text(METRICS[name].meaning, style="dim"))
    for name, reason in missing.items():
        table.add_row(name, "-", Text(f"none: {reason}", style="dim"))
    return table


_FILM = ("nc1_trace_ratio", "cdnv", "nc2_etf", "nc3_self_duality", "nc4_agreement", "accuracy")
_FILM_DRIFT = ("means_moved", "features_cka")


def film_table(film: Checkpoints) -> RenderableType:
    """A row a checkpoint, with what tells the most. Below stands what could not be measured."""
    table = Narrowing(_film(film, _FILM, _FILM_DRIFT), 110, _film(film, ("nc1_trace_ratio", "nc2_etf", "accuracy"), ()))
    parts: list[RenderableType] = [table]
    parts += [Text(f"{path}: {reason}", style="dim") for path, reason in film.missing.items()]
    return Group(*parts, Text("drift: since the checkpoint before; every metric is in --json", style="dim"))


def _film(film: Checkpoints, names: Sequence[str], drifts: Sequence[str]) -> Table:
    table = plain_table("step", *names, *drifts, "checkpoint")
    align_right(table, 1 + len(names) + len(drifts))
    for row, drift in zip(film.rows(), film.drift_rows, strict=True):
        values = [row[name] for name in names] + [drift[name] for name in drifts]
        shown = ["–" if value is None else f"{value:.4g}" for value in values]
        table.add_row(str(row["step"]), *shown, Path(row["checkpoint"]).name)
    return table


def class_table(collapse: Collapse) -> RenderableType:
    """Every class, the noisiest first, and the closest pairs."""
    details = class_details(collapse)
    table = Narrowing(_classes(details, range(8)), 68, _classes(details, (0, 1, 3, 4, 6)))
    note = "noise: spread over half the distance to the nearest class mean; 0 is collapsed"
    pairs = plain_table("closest pairs", "distance", "cosine")
    align_right(pairs, 3)
    for first, second, *cells in pair_cells(details):
        pairs.add_row(f"{first} – {second}", *cells)
    return Group(table, Text(note, style="dim"), "", pairs)


def _classes(details: ClassDetails, shown: Sequence[int]) -> Table:
    heads = ("class", "samples", "|m − μ|", "spread", "nearest", "at", "noise", "")
    table = plain_table(*(heads[column] for column in shown))
    align_right(table, len([column for column in shown if heads[column]]))
    for index in by_noise(details):
        cells: tuple[str | Text, ...] = (*class_cells(details, index), Text(_bar(details.noise[index]), style="cyan"))
        table.add_row(*(cells[column] for column in shown))
    return table


def collapse_record(collapse: Collapse, *, per_class: bool) -> Mapping[str, Any]:
    """Plain values for ``--json``."""
    record = collapse.to_dict()
    if per_class:
        details = class_details(collapse)
        record["classes"] = [
            {
                "class": int(details.classes[i]),
                "samples": int(details.counts[i]),
                "norm": float(details.norms[i]),
                "spread": _plain(details.spreads[i]),
                "nearest": int(details.nearest[i]) if details.nearest[i] >= 0 else None,
                "distance": _plain(details.distances[i]),
                "noise": _plain(details.noise[i]),
            }
            for i in range(len(details.classes))
        ]
        record["closest_pairs"] = [
            {"classes": [a, b], "distance": d, "cosine": _plain(c)} for a, b, d, c in details.closest_pairs
        ]
    return record


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _bar(noise: float, width: int = 16) -> str:
    """A bar as long as the noise, full at 2."""
    if not np.isfinite(noise):
        return ""
    eighths = round(8 * width * min(noise / 2, 1.0))
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8].strip())
