"""What a report says in words and tables, computed from the records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from encollapse.geometry.comparison import MEANINGS
from encollapse.present.families import Family
from encollapse.present.wording import bias_decay_is, count, fixed, percent, power, short, unbroken
from encollapse.study.results import ERRORS, Results, TrialResult
from encollapse.study.trials import number_label


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, and what marks it."""

    text: str
    worst: bool = False


@dataclass(frozen=True)
class Table:
    """A table as text: column heads (some with an explanation), rows of cells, and what its caption says."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str


_SHORT = {
    "gram_error": "Gram",
    "shape_error": "shape",
    "cosine_error": "cosine",
    "bias_error": "bias",
    "classifier_gram_error": "classifier",
    "outputs_error": "outputs",
    "balance_residual": "balance",
}


def finding(results: Results, members: Sequence[Family]) -> list[str]:
    """Sentences on what came out, led by the largest errors and where they are."""
    sentences = []
    done, failed, missing = len(results.done), len(results.failed), len(results.missing)
    sentences.append(
        f"{count(done, 'network')} {'was' if done == 1 else 'were'} trained and compared with the exact minimiser "
        "of the unrestricted feature model."
    )
    worst = results.worst("gram_error")
    if worst is not None:
        sentences.append(
            f"The Gram matrix of the class means is off by at most {percent(worst.comparison_error('gram_error'))} "
            f"({where(worst, members)})."
        )
    bias = results.worst("bias_error")
    if bias is not None:
        sentences.append(
            f"No entry of a bias is off by more than {power(bias.comparison_error('bias_error'))} "
            f"({where(bias, members)})."
        )
    path = _path_sentence(members)
    if path:
        sentences.append(path)
    restless = sum(not result.record["converged"] for result in results.done)
    if restless:
        sentences.append(
            f"{count(restless, 'network')} stopped before the training was stationary; the table marks them."
        )
    if failed:
        sentences.append(
            f"{count(failed, 'trial')} failed and {'is' if failed == 1 else 'are'} listed below."
        )
    if missing:
        sentences.append(
            f"{count(missing, 'trial')} of the study {'has' if missing == 1 else 'have'} not run yet."
        )
    return sentences


def where(result: TrialResult, members: Sequence[Family]) -> str:
    """Family, bias decay and seed of a trial in words."""
    family = next((f.label for f in members if result in f.trials), result.settings["encoding"]["name"])
    settings = result.settings
    seed = unbroken(f"seed {settings['seed']}")
    return f"{family}, {bias_decay_is(settings['bias_decay'])}, {seed}"


def _path_sentence(members: Sequence[Family]) -> str:
    family = next((f for f in members if len(f.bias_decays) > 2), None)
    if family is None or family.critical is None:
        return ""
    cosines = [
        (result.record["mean_cosine"], (result.record["prediction"] or {}).get("mean_cosine"), result)
        for result in family.trials
    ]
    known = [(m, p, r) for m, p, r in cosines if m is not None and p is not None]
    if len(known) < 2:
        return ""
    (first, _, low), (last, _, high) = known[0], known[-1]
    gap = max(abs(m - p) for m, p, _ in known)
    text = (
        f"For {family.label} the mean cosine of the class means goes from {fixed(first, 3)} at "
        f"{bias_decay_is(low.settings['bias_decay'])} to {fixed(last, 3)} at "
        f"{bias_decay_is(high.settings['bias_decay'])}, within {power(gap)} of the prediction throughout"
    )
    if 0 < family.critical < math.inf:
        text += f"; the theory places the departure at {unbroken(f'λ_b* = {number_label(family.critical)}')}"
    return f"{text}."


def headline(results: Results) -> list[tuple[str, str]]:
    """Return (value, meaning) of the few numbers that a reader wants first."""
    gram, bias = results.worst("gram_error"), results.worst("bias_error")
    gaps = [gap for gap in map(_relative_gap, results.done) if gap is not None]
    numbers = [(str(len(results.done)), "networks trained")]
    if gram is not None:
        numbers.append((percent(gram.comparison_error("gram_error")), "largest error of a Gram matrix"))
    if bias is not None:
        numbers.append((power(bias.comparison_error("bias_error")), "largest error of a bias entry"))
    if gaps:
        numbers.append((power(max(gaps)), "largest relative duality gap of a prediction"))
    return numbers


def _relative_gap(result: TrialResult) -> float | None:
    prediction = result.record["prediction"]
    if prediction is None or prediction["certificate"]["kind"] != "duality_gap" or prediction["loss"] == 0:
        return None
    return abs(float(prediction["certificate"]["gap"]) / float(prediction["loss"]))


def comparison_table(results: Results, members: Sequence[Family]) -> Table:
    """Every comparison, with the largest value of each column marked."""
    worst = {name: results.worst(name) for name in ERRORS}
    panels = any(family.panel for family in members)
    head = [("encoding", ""), *([("data", "")] if panels else []), ("λ_b", ""), ("seed", "")]
    columns = [*head, *((_SHORT[name], MEANINGS[name]) for name in ERRORS)]
    columns += [
        ("excess", "training loss / predicted minimum − 1"),
        ("s", "wall time of the trial"),
    ]
    rows = []
    for family in members:
        for result in family.trials:
            settings = result.settings
            cells = [Cell(family.encoding), *([Cell(family.panel)] if panels else [])]
            cells += [Cell(number_label(settings["bias_decay"])), Cell(str(settings["seed"]))]
            for name in ERRORS:
                value = result.comparison_error(name)
                cells.append(Cell(short(value), worst=result is worst[name] and bool(value)))
            excess = result.record["relative_excess"]
            mark = "" if result.record["converged"] else " †"
            cells += [Cell(short(excess) + mark), Cell(f"{result.row.seconds:.1f}")]
            rows.append(tuple(cells))
    top = worst["gram_error"]
    caption = "Every trained network against its prediction; the largest error of each column is marked."
    if top is not None:
        amount = power(top.comparison_error("gram_error"))
        caption += f" Worst row by Gram error: {where(top, members)}, with {amount}."
    if any(not result.record["converged"] for result in results.done):
        caption += " †: the training stopped before it was stationary."
    return Table(tuple(columns), tuple(rows), caption)


def certificate_table(members: Sequence[Family]) -> Table | None:
    """The evidence for each prediction, seeds taken together; None where there is no prediction."""
    panels = any(family.panel for family in members)
    rows = []
    for family in members:
        seen = {r.settings["bias_decay"]: r for r in reversed(family.trials) if r.record["prediction"]}
        for decay in sorted(seen):
            record = seen[decay].record
            prediction = record["prediction"]
            certificate = prediction["certificate"]
            rows.append(
                tuple(
                    Cell(text)
                    for text in (
                        family.encoding,
                        *([family.panel] if panels else []),
                        number_label(decay),
                        f"{prediction['loss']:#.8g}",
                        f"{certificate['lower_bound']:#.8g}",
                        short(certificate["gap"]),
                        certificate["kind"].replace("_", " "),
                        "holds" if certificate["holds"] else "does not hold",
                        number_label(float(prediction["critical_bias_decay"])),
                    )
                )
            )
    if not rows:
        return None
    columns = (
        ("encoding", ""),
        *([("data", "")] if panels else []),
        ("λ_b", ""),
        ("minimum", "predicted minimum of the objective"),
        ("lower bound", "proved by the dual"),
        ("gap", "minimum − lower bound"),
        ("kind", "kind of evidence"),
        ("verdict", ""),
        ("λ_b*", "critical bias decay"),
    )
    caption = (
        "Certificates of the predictions. A duality gap proves a global minimum: no network with these labels, "
        "counts and decays has a loss below the lower bound."
    )
    return Table(columns, tuple(rows), caption)


def shared_settings(results: Results) -> list[tuple[str, str]]:
    """Settings of the trainings: the value where all agree, the list of values where they differ."""
    found: dict[str, list[str]] = {}
    for result in results.done:
        record = result.record
        values: dict[str, Any] = {
            "data set": record["dataset"],
            "class counts": " ".join(map(str, record["counts"])),
            **record["settings"],
            "threshold c": f"{record['threshold_c']:.6g}",
            "threshold t = c√K": f"{record['threshold_t']:.6g}",
        }
        for name, value in values.items():
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            if text not in found.setdefault(name, []):
                found[name].append(text)
    return [(name.replace("_", " "), "; ".join(texts)) for name, texts in found.items() if name != "progress"]


def versions(results: Results) -> list[tuple[str, str]]:
    """Packages that the trials ran with; several values where trials differ."""
    found: dict[str, list[str]] = {}
    for result in results.trials:
        for name, value in result.row.versions.items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return [(name, ", ".join(values)) for name, values in found.items()]


def error_meanings() -> list[tuple[str, str]]:
    """Column heads of the comparison table with what they measure."""
    named = [(f"{_SHORT[name]} ({name})", meaning) for name, meaning in MEANINGS.items()]
    return [*named, ("excess (relative_excess)", "training loss / predicted minimum − 1")]
