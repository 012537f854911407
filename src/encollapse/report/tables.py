"""The tables of a report, as text: a group of rows for each family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encollapse._internal.format import count, number_label, percent, power, short
from encollapse._internal.json_values import finite
from encollapse.geometry.comparison import MEANINGS
from encollapse.report.figures.series import common_decays
from encollapse.report.summary import where
from encollapse.report.varied_settings import named, without_axes
from encollapse.study.families import Family, measured_kind
from encollapse.study.results import ERRORS, Results, TrialResult
from encollapse.ufm.excess import without_rounding

_HEADS = {
    "gram_error": "Gram",
    "shape_error": "shape",
    "cosine_error": "cosine",
    "bias_error": "bias",
    "classifier_gram_error": "classifier",
    "outputs_error": "outputs",
    "balance_residual": "balance",
}
_METRICS = (
    ("nc1_trace_ratio", "NC1", "tr Σ_W / tr Σ_B"),
    ("nc2_etf", "NC2 simplex", "centered means against a simplex frame"),
    ("shape_error", "NC2 predicted", "uncentered means against the frame predicted for the encoding"),
    ("nc3_self_duality", "NC3", "classifier against centered means"),
    ("nc4_agreement", "NC4", "share of the training samples that the nearest class mean decides alike"),
    ("test_nc4_agreement", "NC4 test", "the same on the hold-out"),
    ("label_centering", "|W μ + b − ē|", "centering of the labels"),
    ("bias_to_label_mean", "|b − ē|", "distance of the bias from the label mean"),
    ("accuracy", "accuracy", "on the training set, nearest codeword"),
    ("test_accuracy", "test accuracy", "on the hold-out"),
)
_SHARES = ("nc4_agreement", "test_nc4_agreement", "accuracy", "test_accuracy")
_MOST_DECAYS = 3  # columns that a page holds beside the others


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, and whether it is the largest of its column."""

    text: str
    worst: bool = False


@dataclass(frozen=True)
class Group:
    """Rows of one family under its label."""

    label: str
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.rows)


@dataclass(frozen=True)
class Table:
    """Column heads with what they mean, groups of rows, and a caption. In a `named` one each row begins with a name."""

    columns: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]
    caption: str
    named: bool = False

    @property
    def compact(self) -> Table:
        """The same with the label of a group in its row, where there are several groups and each has a single row."""
        if len(self.groups) < 2 or any(group.size != 1 for group in self.groups):
            return self
        rows = tuple((Cell(group.label), *group.rows[0]) for group in self.groups)
        return Table((("", ""), *self.columns), (Group("", rows),), self.caption, True)


def comparison_table(results: Results, members: Sequence[Family]) -> Table:
    """Every comparison, with the largest value of each column marked."""
    worst = {name: results.worst(name) for name in ERRORS}
    columns = (
        ("λ_b", "bias decay"),
        ("seed", ""),
        *((_HEADS[name], MEANINGS[name]) for name in ERRORS),
        ("excess loss", "training loss / predicted minimum − 1"),
        ("seconds", "wall time of the trial"),
    )
    groups = tuple(
        Group(family.label, tuple(_comparison_row(result, worst) for result in family.trials)) for family in members
    )
    what = measured_kind(results.done, plural=False)
    caption = f"Every {what} against its prediction. The largest error of each column is marked."
    top = worst["gram_error"]
    if top is not None:
        amount = power(top.comparison_error("gram_error"))
        caption += f" Worst row by Gram error: {where(top, members)}, with {amount}."
    if any(result.stopped_early for result in results.done):
        caption += " †: the training stopped before it was stationary."
    return Table(columns, groups, caption).compact


def _comparison_row(result: TrialResult, worst: dict[str, TrialResult | None]) -> tuple[Cell, ...]:
    mark = "† " if result.stopped_early else ""
    errors = [(name, result.comparison_error(name)) for name in ERRORS]
    return (
        Cell(number_label(result.settings["bias_decay"])),
        Cell(str(result.settings["seed"])),
        *(Cell(short(value), worst=result is worst[name] and bool(value)) for name, value in errors),
        Cell(mark + short(result.record.relative_excess)),
        Cell(f"{result.row.seconds:.1f}"),
    )


def certificate_table(members: Sequence[Family]) -> Table | None:
    """The evidence for each prediction, seeds taken together, or None where there is no prediction."""
    columns = (
        ("λ_b", "bias decay"),
        ("minimum", "predicted minimum of the objective"),
        ("lower bound", "proved by the dual"),
        ("gap", "minimum − lower bound"),
        ("kind", "kind of evidence"),
        ("verdict", ""),
        ("λ_b*", "critical bias decay"),
    )
    groups = tuple(group for group in map(_certificate_group, members) if group.rows)
    caption = (
        "Certificates of the predictions. A duality gap proves a global minimum: no network with these labels, "
        "counts and decays has a loss below the lower bound."
    )
    if any(row[-1].text == "0" for group in groups for row in group.rows):
        caption += " λ_b* = 0 means that every bias decay above 0 turns the class means, as imbalance makes it."
    return Table(columns, groups, caption).compact if groups else None


def _certificate_group(family: Family) -> Group:
    by_decay = {
        float(result.settings["bias_decay"]): result.record.prediction
        for result in reversed(family.trials)
        if result.record.prediction is not None
    }
    rows = []
    for decay in sorted(by_decay):
        prediction = by_decay[decay]
        certificate = prediction.certificate
        texts = (
            number_label(decay),
            _exact(prediction.loss),
            _exact(certificate.lower_bound),
            short(finite(certificate.gap)),
            certificate.kind.replace("_", " "),
            "holds" if certificate.holds else "does not hold",
            number_label(prediction.critical_bias_decay),
        )
        rows.append(tuple(Cell(text) for text in texts))
    return Group(family.label, tuple(rows))


def excess_table(members: Sequence[Family]) -> Table | None:
    """Where the excess of every network lies, and its guarantee, or None unless some network has a decay time."""
    known = [f for f in members if any(r.record.value("excess") is not None for r in f.trials)]
    if not any(r.record.decay_time is not None for f in known for r in f.trials):
        return None
    columns = (
        ("seed", ""),
        ("τ", "decay time"),
        ("Gram", MEANINGS["gram_error"]),
        ("excess", "loss over the certified minimum, as a share of it"),
        ("unbalanced", "share of the excess: layers out of balance"),
        ("within", "share of the excess: differences between samples of a class"),
        ("between", "share of the excess: class means"),
        ("distance", "of the outputs from the predicted ones"),
        ("guarantee", "what the loss alone guarantees of that distance"),
    )
    groups = tuple(
        Group(family.label, tuple(_excess_row(r) for r in family.trials if r.record.value("excess") is not None))
        for family in known
    )
    broken = sum(_violated(result) for family in known for result in family.trials)
    caption = (
        "Excess of every trained network over the certified minimum, the share of each part in it, and the guarantee "
        f"on the outputs, which {'no network' if not broken else count(broken, 'network')} violates."
    )
    return Table(columns, groups, caption).compact


def _excess_row(result: TrialResult) -> tuple[Cell, ...]:
    record = result.record
    total, least = record.value("excess"), (record.excess or {}).get("lower_bound")
    parts = [record.value(f"excess_{part}") for part in ("unbalanced", "within", "between")]
    loss = record.loss or 0.0
    shares = [None if part is None else without_rounding(part, loss) for part in parts]
    return (
        Cell(str(result.settings["seed"])),
        Cell(number_label(record.decay_time)),
        Cell(short(record.value("gram_error"))),
        Cell(percent(total / least) if total is not None and least else "–"),
        *(Cell(percent(share / total) if share is not None and total else "–") for share in shares),
        Cell(short(record.value("distance"))),
        Cell(short(record.value("guarantee")), worst=_violated(result)),
    )


def _violated(result: TrialResult) -> bool:
    distance, bound = result.record.value("distance"), result.record.value("guarantee")
    return distance is not None and bound is not None and distance > bound


def collapse_table(members: Sequence[Family]) -> Table | None:
    """Means over seeds with their standard deviation, or None where the records hold no metrics."""
    trials = [result for family in members for result in family.trials]
    known = [c for c in _METRICS if any(result.record.value(c[0]) is not None for result in trials)]
    if not any(name == "nc1_trace_ratio" for name, *_ in known):
        return None
    decays = common_decays(members, _MOST_DECAYS)
    groups = []
    for family in members:
        lines = [(decay, family.at(decay)) for decay in decays if family.at(decay)]
        rows = tuple(
            (Cell(number_label(decay)), Cell(str(len(own))), *(Cell(_mean_cell(own, name)) for name, *_ in known))
            for decay, own in lines
        )
        if rows:
            groups.append(Group(family.label, rows))
    columns = (("λ_b", "bias decay"), ("seeds", ""), *((head, meaning) for _, head, meaning in known))
    what = named(without_axes(family.trials[0].settings for family in members))
    caption = f"Collapse by {what} and bias decay: mean over seeds ± standard deviation where there are several."
    return Table(columns, tuple(groups), caption).compact


def _mean_cell(trials: Sequence[TrialResult], name: str) -> str:
    values = [v for result in trials if (v := result.record.value(name)) is not None]
    if not values:
        return "–"
    if name in _SHARES:
        mean = f"{100 * np.mean(values):.2f} %"
        return mean if len(values) < 2 else f"{mean[:-2]} ± {100 * np.std(values, ddof=1):.2f} %"
    mean = short(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {short(float(np.std(values, ddof=1)))}"


def time_table(members: Sequence[Family]) -> Table:
    """Wall times of the trials, by family."""
    one = "network" if all(result.trained for family in members for result in family.trials) else "trial"
    columns = (("", ""), (f"{one}s", ""), ("mean", f"seconds a {one}"), ("longest", ""), ("all", "minutes"))
    rows = []
    for family in members:
        seconds = [result.row.seconds for result in family.trials]
        texts = (
            family.label,
            str(len(seconds)),
            f"{sum(seconds) / len(seconds):.1f} s",
            f"{max(seconds):.1f} s",
            f"{sum(seconds) / 60:.1f} min",
        )
        rows.append(tuple(Cell(text) for text in texts))
    caption = "Wall time of the trials as each worker saw it, loading and measuring included."
    return Table(columns, (Group("", tuple(rows)),), caption, True)


def _exact(value: float | None) -> str:
    """Eight digits, or a dash where there is no number."""
    return f"{value:#.8g}" if finite(value) is not None else "–"


def error_meanings() -> list[tuple[str, str]]:
    """Column heads of the comparison table with what they measure."""
    return [(f"{_HEADS[name]} ({name})", meaning) for name, meaning in MEANINGS.items()]
