"""Tables for the terminal."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from encollapse import ufm
from encollapse._internal.format import count, short
from encollapse.cli.render.cells import Narrowing, align_right, fact_table, plain_table
from encollapse.cli.render.records import EXAMPLE_CLASSES
from encollapse.encodings.registry import ENCODINGS
from encollapse.geometry import ClassGeometry, Comparison, compare
from encollapse.report import facts
from encollapse.study.labels import labels_of
from encollapse.study.results import Results
from encollapse.study.study import Study

if TYPE_CHECKING:
    from encollapse.train import Run

_LONG = 40  # characters above which an example is left to --json


def encodings_table() -> RenderableType:
    """Every encoding of the catalog with an example of how to ask for it."""
    table = plain_table("encoding", "what it is", f"options, say for {EXAMPLE_CLASSES} classes")
    narrow = plain_table("encoding", "what it is")
    for name, entry in ENCODINGS.items():
        options = " ".join(f"--option {_option(o, v)}" for o, v in entry.example_for(EXAMPLE_CLASSES).items())
        shown = Text(name, style="bold", no_wrap=True), entry.summary.replace("`", "")
        table.add_row(*shown, options or "none needed")
        narrow.add_row(*shown)
    table.columns[0].min_width = narrow.columns[0].min_width = max(map(len, ENCODINGS))
    return Narrowing(table, 60, narrow)


def solution_table(solution: ufm.Solution) -> RenderableType:
    """A prediction in a column of names and values."""
    return _with_status(facts.solution_pairs(solution), "status", solution.status.success, "bold red")


def _with_status(pairs: Sequence[tuple[str, str]], name: str, good: bool, style: str) -> RenderableType:
    """Facts, one of them in color where it is no good news."""
    return fact_table([(n, Text(v, style="" if n != name or good else style)) for n, v in pairs])


def design_table(solution: ufm.Solution, target: ClassGeometry, saved: str) -> RenderableType:
    """A designed encoding by its minimizer: what it is, and the proof that it has the target's geometry."""
    problem = solution.problem
    lengths = np.linalg.norm(problem.encoding.codewords, axis=0)
    success, error = solution.status.success, compare(target, solution.geometry).gram_error
    proof = f"solved again, it has the target's Gram matrix to a relative error of {short(error)}"
    pairs: list[tuple[str, Any]] = [
        ("encoding", f"{problem.code_dim} outputs for {problem.num_classes} classes, saved as {saved}"),
        ("counts", facts.counts_of(problem.counts)),
        ("decays", facts.decays_of(problem)),
        ("rank of target", f"{solution.rank}"),
        ("codeword lengths", facts.vector(lengths)),
        ("|b|", "no bias" if math.isinf(problem.bias_decay) else f"{np.linalg.norm(solution.bias):.6g}"),
        ("threshold c", f"{problem.threshold:.6g}"),
        ("singular values", facts.vector(solution.singular_values)),
        ("cosines of means", facts.cosine_range(solution.geometry.cosines())),
        ("round trip", Text(proof, style="" if success else "bold red")),
        ("certificate", str(solution.certificate)),
    ]
    return fact_table(pairs)


def studies_table(studies: Sequence[Study]) -> RenderableType:
    """Built-in studies with the question of each."""
    table, narrow = plain_table("study", "trials", "what it asks"), plain_table("study", "what it asks")
    for study in studies:
        name = Text(study.name, style="bold", no_wrap=True)
        table.add_row(name, str(len(study.trials)), study.title)
        narrow.add_row(name, study.title)
    table.columns[1].justify = "right"
    table.columns[0].min_width = narrow.columns[0].min_width = max(len(study.name) for study in studies)
    return Narrowing(table, 60, narrow)


def path_table(path: ufm.BiasPath) -> RenderableType:
    """The transition: mean cosine and bias along the bias decay."""
    rows = facts.path_rows(path)
    word = next((row[-1] for row in rows if row[-1]), "")

    def made(heads: tuple[str, ...], marks: bool, places: Sequence[int] = (0, 1, 2, 3)) -> RenderableType:
        table = plain_table(*heads)
        for row in rows:
            table.add_row(*(row[i] for i in places), *row[4:] * marks, style="bold" if row[-1] else "")
        align_right(table, 4)
        said = [f"bold: the {word} bias decay"] if word and not marks else []
        said += facts.path_notes(rows)
        return Group(table, *(Text(text, style="dim") for text in said)) if said else table

    heads = ("λ_b", "mean cosine", "|bias|", "minimum")
    narrow = made(("λ_b", "cosine", "|bias|", "minimum"), marks=False)
    narrowest = made(("λ_b", "cosine", "minimum"), marks=False, places=(0, 1, 3))
    return Narrowing(made((*heads, ""), marks=True), 58, Narrowing(narrow, 48, narrowest))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Every error of a comparison, with what it means or why it is missing."""
    table, narrow = plain_table("prediction against measurement", "error", ""), plain_table("error", "")
    for row in comparison.rows:
        table.add_row(row.name, short(row.value), row.reason or row.meaning)
        narrow.add_row(row.name, short(row.value))
    table.columns[1].justify = narrow.columns[1].justify = "right"
    return Group(Narrowing(table, 66, narrow), *(Text(f"note: {note}") for note in comparison.notes))


def run_table(run: Run, folder: Path | None = None) -> RenderableType:
    """A trained network: how the training ended, what was measured, where it is, and the comparison."""
    written = [] if folder is None else [("folder", str(folder))]
    parts: list[RenderableType] = [_with_status([*facts.run_pairs(run), *written], "training", run.converged, "yellow")]
    if run.comparison is not None:
        parts += ["", comparison_table(run.comparison)]
    missing = [Text(f"{name}: none, {reason}", style="dim") for name, reason in run.missing.items()]
    return Group(*parts, *missing)


def results_table(results: Results) -> RenderableType:
    """A study in a few lines: what is stored, the worst comparison, what failed."""
    names = labels_of(results.study.trials)
    stored = f"{count(len(results.done), 'trial')} done"
    if results.failed:
        stored += f", {len(results.failed)} failed"
    if results.missing:
        stored += f", {len(results.missing)} not run"
    pairs: list[tuple[str, Any]] = [("study", f"{results.study.name}: {stored}")]
    for name in ("gram_error", "bias_error"):
        worst = results.worst(name)
        if worst is not None:
            early = ", not stationary" if worst.stopped_early else ""
            pairs.append((f"worst {name}", f"{short(worst.comparison_error(name))}{early}  {names[worst.id]}"))
    restless = sum(result.stopped_early for result in results.done)
    if restless:
        text = f"{restless} of {len(results.done)} stopped before they were stationary; raise epochs or finish"
        pairs.append(("training", Text(text, style="yellow")))
    for result in results.failed:
        pairs.append(("failed", Text(f"{names[result.id]}: {result.reason}", style="red")))
    pairs.append(("folder", str(results.path)))
    return fact_table(pairs)


def _option(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{name}={value:g}"
    text = json.dumps(value, separators=(",", ":"))
    return shlex.quote(f"{name}={text}") if len(text) <= _LONG else f"{name}=[...] (see --json)"
