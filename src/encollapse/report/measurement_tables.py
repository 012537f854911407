"""A measurement in tables: metrics by what they ask, classes, and the closest pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from encollapse._internal.format import count, fixed
from encollapse.report.cells import Narrowing
from encollapse.report.class_details import ClassDetails, class_details

if TYPE_CHECKING:
    from encollapse.measure import Collapse

SHARES = ("nc4_agreement", "ncc_accuracy", "accuracy")
_GROUPS = (
    ("Within-class spread (NC1)", ("nc1", "cdnv", "vci", "floor")),
    ("Frame of the class means (NC2)", ("nc2", "gnc2")),
    ("Classifier against class means (NC3)", ("nc3", "unc3", "balance")),
    ("Decisions (NC4)", ("nc4", "ncc_accuracy", "accuracy")),
    ("Bias and labels", ("bias", "label")),
)


def grouped(collapse: Collapse) -> list[tuple[str, list[tuple[str, float, str]]]]:
    """Metrics that have a value, (name, value, meaning), under the question that they ask."""
    from encollapse.measure.result import MEANINGS

    left = {name: value for name, value in collapse.values.items() if value is not None}
    groups = []
    for title, starts in (*_GROUPS, ("Further", ("",))):
        names = [name for name in left if name.startswith(starts)]
        if names:
            groups.append((title, [(name, left.pop(name), MEANINGS[name]) for name in names]))
    return groups


def reasons(collapse: Collapse) -> dict[str, list[str]]:
    """Metrics without a value, by the reason."""
    found: dict[str, list[str]] = {}
    for name, value in collapse.values.items():
        if value is None:
            found.setdefault(collapse.missing.get(name, "not computed"), []).append(name)
    return found


def number(name: str, value: float) -> str:
    """A value as tables show it: shares as percentages, all else in four digits."""
    if name in SHARES:
        return f"{100 * value:.2f} %"
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def facts(collapse: Collapse) -> list[str]:
    """Sizes in a line."""
    geometry = collapse.geometry
    seen = geometry.counts[geometry.present]
    classes = count(collapse.num_classes, "class").replace("classs", "classes")
    if len(seen) < collapse.num_classes:
        classes += f", {collapse.num_classes - len(seen)} without samples"
    spread = f"{seen.min()}" if seen.min() == seen.max() else f"{seen.min()} to {seen.max()}"
    dims = geometry.provenance.get("feature_dim")
    return [
        f"{collapse.num_samples} samples",
        f"{classes}, {spread} samples each",
        *([f"{dims} features"] if dims else []),
    ]


def collapse_table(collapse: Collapse, *, per_class: bool = False) -> RenderableType:
    """Every collapse metric, grouped, with what it means; below, what is missing and why."""
    table = Narrowing(_metrics(collapse, meanings=True), 70, _metrics(collapse, meanings=False))
    parts: list[RenderableType] = [Text(" · ".join(facts(collapse)), style="bold"), "", table]
    for reason, names in reasons(collapse).items():
        parts += [
            "",
            Text(f"Without a value, as {reason}:"),
            Padding(Text(", ".join(names), style="dim"), (0, 0, 0, 2)),
        ]
    if per_class:
        parts += ["", class_table(collapse)]
    return Group(*parts, "", Text(f"convention: {collapse.convention} · route: {collapse.route}", style="dim"))


def _metrics(collapse: Collapse, *, meanings: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if meanings:
        table.add_column(overflow="fold", style="dim")
    for title, rows in grouped(collapse):
        table.add_row(Text(title, style="bold"))
        for name, value, meaning in rows:
            cells = (f"  {name}", Text(number(name, value), style="cyan"), Text(meaning))
            table.add_row(*cells[: 3 if meanings else 2])
    return table


def class_table(collapse: Collapse) -> RenderableType:
    """Every class, the noisiest first, and the closest pairs."""
    details = class_details(collapse)
    table = Narrowing(_classes(details, range(8)), 68, _classes(details, (0, 1, 3, 4, 6)))
    note = "noise: spread over half the distance to the nearest class mean; 0 is collapsed"
    pairs = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for head in ("closest pairs", "distance", "cosine"):
        pairs.add_column(head, justify="right")
    for first, second, distance, cosine in details.closest_pairs:
        pairs.add_row(f"{first} – {second}", f"{distance:.4g}", _cosine(cosine))
    return Group(table, Text(note, style="dim"), "", pairs)


def _classes(details: ClassDetails, shown: Sequence[int]) -> Table:
    heads = ("class", "samples", "|m − μ|", "spread", "nearest", "at", "noise", "")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in shown:
        table.add_column(heads[column], justify="right" if heads[column] else "left")
    for index in by_noise(details):
        cells: tuple[str | Text, ...] = (*class_cells(details, index), Text(_bar(details.noise[index]), style="cyan"))
        table.add_row(*(cells[column] for column in shown))
    return table


def by_noise(details: ClassDetails) -> list[int]:
    """Positions of the classes, the noisiest first."""
    return [int(i) for i in np.argsort(-np.nan_to_num(details.noise, nan=-1.0), kind="stable")]


def class_cells(details: ClassDetails, index: int) -> tuple[str, ...]:
    """Class, samples, distance from the mean, spread, nearest class, its distance, noise."""
    return (
        str(details.classes[index]),
        str(details.counts[index]),
        f"{details.norms[index]:.4g}",
        f"{details.spreads[index]:.4g}",
        str(details.nearest[index]) if details.nearest[index] >= 0 else "–",
        f"{details.distances[index]:.4g}",
        f"{details.noise[index]:.3f}" if np.isfinite(details.noise[index]) else "–",
    )


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


def _cosine(value: float) -> str:
    return "–" if np.isnan(value) else fixed(value, 4)


def _bar(noise: float, width: int = 16) -> str:
    """A bar as long as the noise, full at 2."""
    if not np.isfinite(noise):
        return ""
    eighths = round(8 * width * min(noise / 2, 1.0))
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8].strip())
