"""The report of a study: one self-contained page of sections, with its figures and their data beside it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from encollapse._internal import files
from encollapse.errors import ArgumentError
from encollapse.report import figures, summary, tables
from encollapse.report.charts import Drawing
from encollapse.report.pages import interactive_page, render
from encollapse.report.tables import Table
from encollapse.report.varied_settings import named, numeric, varied
from encollapse.study.families import Family, families
from encollapse.study.labels import labels_of
from encollapse.study.results import Results, open_results
from encollapse.study.store.folder import rerun_command

_TEMPLATE = "report.html.j2"
_INLINE = 2_300_000
"""Characters of figures in the page. Further ones stand beside it."""
_OPEN = 2
"""Sheets of histories that stand open. Further ones are folded."""
_LONG = 80
"""Above so many networks the table of all comparisons is folded."""


def report(
    results: Results | str | Path, *, out: str | Path | None = None, grid: tuple[str, str] | None = None
) -> Path:
    """Write the report of a study and return the path of its page.

    The page ``index.html`` is one file that needs no connection. Each figure stands beside it as SVG, PDF and
    PNG, with its numbers as CSV. ``interactive.html`` shows the same figures to point at and to enlarge, with plotly's
    JavaScript beside it. Sections that do not apply to the study are left out. Those about what it varies come first.

    Parameters
    ----------
    results : Results, str or path
        Results of a study, or their folder. Trials may be missing or failed.
    out : str or path, optional
        Folder of the report. Default: ``report`` in the folder of the results.
    grid : (str, str), optional
        The two settings along rows and columns of the error map, such as ``("encoding", "bias_decay")``. Default: the
        two with most values.

    Returns
    -------
    Path
        The page, ``index.html`` in the folder of the report.

    Raises
    ------
    ArgumentError
        If no trial of the study has run, or the study does not vary a setting named in `grid`.
    FileNotFoundError, FileFormatError
        If the folder holds no results that can be read.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> theory = tuple(ec.study.Trial({**trial.settings, "model": "ufm"}) for trial in study.trials[:2])
    >>> results = ec.study.run(replace(study, trials=theory), out="runs/page", executor="inline", progress=False)
    >>> page = ec.report.report(results)
    >>> page.relative_to(results.path).as_posix()
    'report/index.html'
    """
    if not isinstance(results, Results):
        results = open_results(results)
    if not results.trials:
        raise ArgumentError(f"results: no trial in {str(results.path)!r} has finished; run the study first")
    folder = results.path / "report" if out is None else Path(out)
    members = families(results.done)
    made = sections(results, members, grid)
    drawings = [drawing for section in made for drawing in (*section.drawings, *section.folded)]
    for drawing in drawings:
        drawing.save(folder)
    if drawings:
        interactive_page(folder, results.study.title, drawings)
    return files.write_text(folder / "index.html", _page(results, members, made))


def _page(results: Results, members: list[Family], made: Sequence[Section]) -> str:
    study = results.study
    return render(
        _TEMPLATE,
        study=study,
        facts=_facts(results),
        varies=summary.what_varies(results),
        finding=summary.finding(results, members),
        headline=summary.headline(results),
        sections=made,
        inlined=_inlined(
            [drawing for section in made for drawing in section.drawings]
            + [drawing for section in made for drawing in section.folded]
        ),
        comparisons=tables.comparison_table(results, members) if members else None,
        folded=len(results.done) > _LONG,
        certificates=tables.certificate_table(members),
        meanings=tables.error_meanings(),
        times=tables.time_table(members) if members else None,
        names=labels_of(study.trials),
        failed=results.failed,
        missing=results.missing,
        settings=summary.shared_settings(results),
        versions=summary.versions(results),
        command=rerun_command(study.origin, results.path.name),
    )


def _inlined(drawings: Sequence[Drawing]) -> dict[str, Markup]:
    """Figures that the page itself holds, in order, as long as there is room."""
    room, held = _INLINE, {}
    for drawing in drawings:
        text = drawing.inline_svg()
        if len(text) <= room:
            held[drawing.name] = Markup(text)
            room -= len(text)
    return held


def _facts(results: Results) -> list[str]:
    """The line under the title."""
    done = results.done
    facts = [results.study.name]
    if done:
        names = list(dict.fromkeys(result.record.dataset for result in done))
        sizes = list(dict.fromkeys(sum(result.record.counts) for result in done))
        facts.append(f"{', '.join(names)}: {' and '.join(map(str, sizes))} samples")
        what = "training" if any(result.trained for result in done) else "computing"
        facts.append(f"{sum(result.row.seconds for result in done) / 60:.1f} min of {what}")
    finished = max(result.row.finished for result in results.trials)
    if not finished:  # of rows that are damaged nobody knows
        return facts
    return [*facts, datetime.datetime.fromisoformat(finished).strftime("%-d %B %Y")]


@dataclass(frozen=True)
class Section:
    """A heading with its figures and tables. `key` names the setting that it is about, `folded` what comes closed."""

    key: str
    title: str
    drawings: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: list[Drawing] = field(default_factory=list)

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
    curves = figures.transition(members)
    if not curves:  # one bias decay: its matrices stand beside the other comparisons
        return Section("bias_decay", "")
    drawings = [*curves, *figures.gram_matrices(members[0]), *figures.bias_curves(members)]
    return Section("bias_decay", "The bias regularization", drawings)


def _settings(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    found = figures.against_settings(members)
    shown = {str(drawing.rows[0]["setting"]) for drawing in found}
    varied_here = [p for p in numeric(r.settings for f in members for r in f.trials) if p.key in shown]
    return Section(varied_here[0].key if varied_here else "", f"Against {named(varied_here)}", found)


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
    alone = len(members) == 1 and len(members[0].bias_decays) == 1
    matrices = figures.gram_matrices(members[0]) if alone else []
    drawings = [*matrices, *figures.scatter(members), *maps, *figures.error_overview(members)]
    return Section("", "Prediction against measurement", drawings)


def _excess(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    table = tables.excess_table(members)
    return Section(
        "epochs", "What is left above the minimum", figures.excess_parts(members), [] if table is None else [table]
    )


def _dynamics(results: Results, members: Sequence[Family], grid: tuple[str, str] | None) -> Section:
    chosen = figures.dynamics(members)
    folded = [*chosen[_OPEN:], *figures.dynamics(members, rest=True)]
    return Section("", "Along the training", chosen[:_OPEN], folded=folded)


_MAKERS: tuple[Callable[[Results, Sequence[Family], tuple[str, str] | None], Section], ...] = (
    _transition,
    _settings,
    _imbalance,
    _decays,
    _encodings,
    _excess,
    _accuracy_of_theory,
    _dynamics,
)
