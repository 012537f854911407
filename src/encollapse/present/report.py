"""The report of a study: one self-contained page, with its figures and their data beside it."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path

from markupsafe import Markup

from encollapse import _files
from encollapse.errors import ArgumentError
from encollapse.present import pages, summary, tables
from encollapse.present.families import Family, families
from encollapse.present.figures import Drawing, bias_curves, error_overview, gram_matrices, transition
from encollapse.study.results import Results, open_results

_TEMPLATE = "report.html.j2"


def report(results: Results | str | Path, *, out: str | Path | None = None) -> Path:
    """Write the report of a study and return the path of its page.

    The page is one HTML file that asks nothing of the network. Each figure stands beside it as SVG and
    PNG, with its numbers as CSV. Sections that do not apply to the study are left out.

    Parameters
    ----------
    results : Results, str or path
        Results of a study, or their folder; trials may be missing or failed.
    out : str or path, optional
        Folder of the report; default ``report`` in the folder of the results.

    Raises
    ------
    ArgumentError
        If no trial of the study has run.
    FileNotFoundError, FileFormatError
        If the folder holds no results that can be read.
    """
    if not isinstance(results, Results):
        results = open_results(results)
    if not results.trials:
        raise ArgumentError(f"results: no trial in {str(results.path)!r} has finished; run the study first")
    folder = results.path / "report" if out is None else Path(out)
    members = families(results.done)
    drawings = _drawings(members)
    for drawing in drawings:
        drawing.save(folder)
    return _files.write_text(folder / "index.html", _page(results, members, drawings))


def _drawings(members: list[Family]) -> list[Drawing]:
    if not members:
        return []
    made = [transition(members), gram_matrices(members[0]), bias_curves(members), error_overview(members)]
    return [drawing for drawing in made if drawing is not None]


def _page(results: Results, members: list[Family], drawings: list[Drawing]) -> str:
    study = results.study
    return pages.render(
        _TEMPLATE,
        study=study,
        facts=_facts(results),
        finding=summary.finding(results, members),
        headline=summary.headline(results),
        drawings=[(drawing, Markup(drawing.inline_svg())) for drawing in drawings],
        comparisons=tables.comparison_table(results, members) if members else None,
        certificates=tables.certificate_table(members),
        meanings=tables.error_meanings(),
        failed=results.failed,
        missing=results.missing,
        settings=summary.shared_settings(results),
        versions=summary.versions(results),
        command=f"encollapse study {shlex.quote(study.origin)} --out {shlex.quote(results.path.name)}",
    )


def _facts(results: Results) -> list[str]:
    """The line under the title."""
    done = results.done
    facts = [results.study.name]
    if done:
        names = list(dict.fromkeys(str(result.record["dataset"]) for result in done))
        sizes = list(dict.fromkeys(sum(result.record["counts"]) for result in done))
        facts.append(f"{', '.join(names)}: {' and '.join(map(str, sizes))} samples")
        facts.append(f"{sum(result.row.seconds for result in done) / 60:.1f} min of training")
    finished = max(result.row.finished for result in results.trials)
    return [*facts, datetime.datetime.fromisoformat(finished).strftime("%-d %B %Y")]
