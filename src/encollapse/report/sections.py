"""Sections of a report: figures and tables on one question, those about what the study varies first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from encollapse.report import figures, tables
from encollapse.report.charts import Drawing
from encollapse.report.tables import Table
from encollapse.report.varied_settings import varied
from encollapse.study.families import Family
from encollapse.study.results import Results


@dataclass(frozen=True)
class Section:
    """A heading with its figures and tables; `key` names the setting that it is about."""

    key: str
    title: str
    drawings: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.drawings and not self.tables


def sections(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> list[Section]:
    """Make the sections that the study has data for."""
    if not members:
        return []
    found = [section for section in (make(results, members, grid) for make in _MAKERS) if not section.empty]
    number = {p.key: len(p.values) for p in varied(result.settings for result in results.done)}
    if any(family.has_rare_classes for family in members):
        number["counts"] = number.get("dataset", 1) + 1
    return sorted(found, key=lambda section: -number.get(section.key, 0))


def _transition(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    return Section(
        "bias_decay",
        "The bias regularization",
        [*figures.transition(members), *_one(figures.gram_matrices(members[0])), *figures.bias_curves(members)],
    )


def _imbalance(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    drawings = [*figures.rare_dots(members), *figures.imbalance(members)]
    return Section("counts", "Rare and frequent classes", drawings)


def _decays(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    return Section("train.decay", "Where the weight decay acts", figures.weight_decay_dots(members))


def _encodings(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    table = tables.collapse_table(members)
    return Section(
        "encoding",
        "Collapse and decisions",
        [*figures.collapse_dots(members), *figures.decision_dots(members), *figures.gram_encodings(members)],
        [] if table is None else [table],
    )


def _accuracy_of_theory(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    maps = figures.error_maps(results.done, grid)
    drawings = [*_one(figures.scatter(members)), *maps, *figures.error_overview(members)]
    return Section("", "Prediction against measurement", drawings)


def _dynamics(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    return Section("", "Along the training", figures.dynamics(members))


def _one(drawing: Drawing | None) -> list[Drawing]:
    return [] if drawing is None else [drawing]


_MAKERS: tuple[Callable[[Results, Sequence[Family], tuple[str, str] | None], Section], ...] = (
    _transition,
    _imbalance,
    _decays,
    _encodings,
    _accuracy_of_theory,
    _dynamics,
)
