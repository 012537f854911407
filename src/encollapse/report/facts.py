"""What a result is in a table: the same facts in print, in notebooks, in LaTeX and on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from encollapse._internal.format import count, fixed, number_label, short
from encollapse.geometry.frames import gram_cosines
from encollapse.metrics import METRICS
from encollapse.report import fact_formats
from encollapse.report.fact_formats import Facts, Row

MOST_PAIRED = 2000
"""Classes up to which means are shown pair by pair."""

_SHOWN = 10  # different entries of a vector before it is cut

Pairs = list[tuple[str, str]]


def facts(x: Any) -> Facts:
    """The facts of a result, by the name of its class."""
    for kind in type(x).__mro__:
        if kind.__name__ in FACTS:
            return FACTS[kind.__name__](x)
    return Facts([("value", repr(x))])


def text(x: Any) -> str:
    """The table of a result in lines of plain text."""
    return fact_formats.text(facts(x))


def html(x: Any) -> str:
    """The table of a result for a notebook."""
    return fact_formats.html(facts(x))


def latex(x: Any) -> str:
    """The table of a result as a LaTeX tabular, all rows of it without their meanings. It needs booktabs."""
    return fact_formats.latex(facts(x))


def vector(values: np.ndarray[Any, Any]) -> str:
    """A few entries of a vector, equal neighbors together, and how many there are."""
    rounding = 1e-12 * np.abs(values).max(initial=0.0)
    steps = np.cumsum(np.abs(np.diff(values, prepend=values[:1])) > rounding)
    runs = [[float(values[i]) for i in run] for _, run in groupby(range(len(values)), key=steps.__getitem__)]
    shown = [f"{run[0]:.6g}" + (f" ({len(run)} times)" if len(run) > 1 else "") for run in runs[:_SHOWN]]
    joined = "  ".join(shown)
    return joined if len(runs) <= _SHOWN else f"{joined}  … ({len(values)} in all)"


def cosine_range(cosines: np.ndarray[Any, Any]) -> str:
    """Mean and range of the cosines above the diagonal."""
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    known = pairs[~np.isnan(pairs)]
    if not len(known):
        return _NO_COSINE
    low, high = float(known.min()), float(known.max())
    undefined = f"; undefined for {count(len(pairs) - len(known), 'pair')}" if len(known) < len(pairs) else ""
    if high - low < 1e-9:
        return f"{fixed(low, 6)} for every pair{undefined}"
    return f"mean {fixed(float(known.mean()), 6)}, from {fixed(low, 6)} to {fixed(high, 6)}{undefined}"


_NO_COSINE = "undefined: every class mean is zero"


def cosines(geometry: Any) -> Pairs:
    """What is known of the angles of class means, uncentered and centered."""
    if geometry.num_classes > MOST_PAIRED:
        mean = geometry.mean_cosine()
        found = _NO_COSINE if math.isnan(mean) else f"mean {fixed(mean, 6)} (with so many classes, not pair by pair)"
        return [("cosines of means", found)]
    return [
        ("cosines of means", cosine_range(geometry.cosines())),
        ("  centered", cosine_range(geometry.cosines(centered=True))),
    ]


def counts_of(counts: np.ndarray[Any, Any]) -> str:
    """Class counts in a few words."""
    if (counts == counts[0]).all():
        return count(int(counts[0]), "sample") + " each"
    return f"{int(counts.sum())} samples, {int(counts.min())} to {int(counts.max())} a class"


def decays_of(problem: Any) -> str:
    """The three decays of a problem."""
    same = len(set(problem.weight_decays)) == 1
    weights = ", ".join(f"{value:g}" for value in problem.weight_decays[: 1 if same else None])
    return f"λ_W = {weights}, λ_H = {problem.feature_decay:g}, λ_b = {number_label(problem.bias_decay)}"


def _encoding(encoding: Any) -> Facts:
    size = f"{encoding.num_classes} codewords of length {encoding.code_dim}"
    pairs = [("encoding", f"{encoding.name}: {size}")]
    if encoding.num_classes <= MOST_PAIRED and encoding.code_dim <= MOST_PAIRED:
        gram = encoding.gram()
        norms = np.sqrt(np.clip(np.diag(gram), 0, None))
        pairs += [("norms", vector(norms)), ("cosines", cosine_range(gram_cosines(gram)))]
    return Facts(pairs)


def solution_pairs(solution: Any) -> Pairs:
    """A minimizer: the problem, the minimum, its evidence, and the geometry."""
    problem = solution.problem
    if not hasattr(problem, "critical_bias_decay"):  # a tail over given activations
        head = [("problem", repr(problem)), ("status", solution.status.message)]
        head += [("certificate", str(solution.certificate)), ("loss", f"{solution.loss:.12g}")]
        return head + cosines(solution.geometry)
    critical = problem.critical_bias_decay()
    size = f"{problem.encoding.name}, {problem.num_classes} classes, {counts_of(problem.counts)}"
    return [
        ("problem", size),
        ("decays", decays_of(problem)),
        ("status", solution.status.message),
        ("certificate", str(solution.certificate)),
        ("loss", f"{solution.loss:.12g}"),
        ("threshold c", f"{problem.threshold:.6g}"),
        ("critical λ_b", f"{number_label(critical)}: {problem.explain()}"),
        ("singular values", vector(solution.singular_values)),
        ("bias", "none" if math.isinf(problem.bias_decay) else vector(solution.bias)),
        *cosines(solution.geometry),
    ]


def _geometry(geometry: Any) -> Facts:
    where = geometry.provenance.get("source", "not stated")
    absent = int((~geometry.present).sum())
    missing = f", {absent} of them without samples" if absent else ""
    pairs = [
        ("classes", f"{geometry.num_classes}{missing}, {counts_of(geometry.counts[geometry.present])}"),
        ("source", str(where)),
        *cosines(geometry),
    ]
    if geometry.num_classes <= MOST_PAIRED:
        gram = geometry.feature_gram[np.ix_(geometry.present, geometry.present)]
        pairs.append(("norms of means", vector(np.sqrt(np.clip(np.diag(gram), 0, None)))))
        if gram.any() and len(gram) > 1:
            pairs.append(("to a simplex frame", f"{geometry.distance('simplex_etf', centered=True):.4g}, centered"))
            pairs.append(("to an orthogonal one", f"{geometry.distance('orthogonal'):.4g}, uncentered"))
    return Facts(pairs)


PRACTICAL = (
    "practical: up to this bias decay the features carry less than a tenth of what they carry of the mean label "
    "without a bias. The critical value itself is 0, as every bias decay above it turns the class means."
)
"""What the mark of an imbalanced path means."""

NO_ANGLE = "–: there a class mean is zero, which has no angle to the others."
"""What a path without a mean cosine means."""


def path_rows(path: Any) -> list[Row]:
    """A row for each bias decay: its name, mean cosine, norm of the bias, minimum, and a mark where the frame turns."""
    marked, symbol = path.solutions[0].problem.turning_point()
    word = "critical" if symbol == "λ_b*" else "practical"
    return [
        (
            number_label(float(decay)),
            "–" if math.isnan(cosine) else fixed(float(cosine), 6),
            f"{np.linalg.norm(solution.bias):.6f}",
            f"{solution.loss:.8f}",
            word if decay == marked else "",
        )
        for decay, cosine, solution in zip(path.bias_decays, path.mean_cosine, path.solutions, strict=True)
    ]


def path_notes(rows: Sequence[Row]) -> list[str]:
    """What a dash and a mark in the rows of a path mean, where there are any."""
    notes = [NO_ANGLE] if any(row[1] == "–" for row in rows) else []
    return [*notes, PRACTICAL] if any(row[-1] == "practical" for row in rows) else notes


def _path(path: Any) -> Facts:
    rows = path_rows(path)
    notes = path_notes(rows)
    return Facts((), ("λ_b", "mean cosine", "|bias|", "minimum", ""), rows, notes)


def _collapse(collapse: Any) -> Facts:
    rows = [
        (name, "–" if value is None else f"{value:.6g}", METRICS[name].meaning if value is not None else reason)
        for name, value in collapse.values.items()
        for reason in (f"none: {collapse.missing.get(name, 'not computed')}",)
    ]
    size = f"{collapse.num_samples} samples in {collapse.num_classes} classes"
    how = f"convention: {collapse.convention} · route: {collapse.route}"
    said = [collapse.summary()] if "feature_dim" in collapse.geometry.provenance else []
    return Facts([("measured", size)], ("metric", "value", "meaning"), rows, [*said, how])


def _comparison(comparison: Any) -> Facts:
    rows = [(row.name, short(row.value), row.reason or row.meaning) for row in comparison.rows]
    return Facts((), ("prediction against measurement", "error", "meaning"), rows, comparison.notes)


DECAYS = {
    "ufm": "last layer and features (UFM decay)",
    "plain": "every parameter, in the loss (plain weight decay)",
    "decoupled": "every parameter, by each step (decoupled weight decay)",
}
"""What each kind of weight decay acts on."""


def run_pairs(run: Any) -> Pairs:
    """A trained network: how the training ended, what was measured, and what it is compared with."""
    collapse, model = run.collapse, run.settings.model_name
    pairs = [
        ("network", f"{model} on {run.dataset}, {run.encoding} labels, seed {run.settings.seed}"),
        ("regularized", DECAYS[run.settings.decay]),
        ("training", run.message),
        ("loss", f"{run.loss:.8g}"),
    ]
    if collapse.accuracy is not None:
        pairs.append(("accuracy", percent_of(collapse.accuracy) + " of the training samples"))
    if collapse.nc1_trace_ratio is not None:
        pairs.append(("NC1", f"{short(collapse.nc1_trace_ratio)} (tr Σ_W / tr Σ_B)"))
    measured = collapse.geometry.mean_cosine()
    predicted = math.nan if run.predicted is None else run.predicted.mean_cosine()
    named = [fixed(v, 4) if v == v else "undefined" for v in (measured, predicted)]
    pairs.append(("mean cosine", named[0] + ("" if run.predicted is None else f", predicted {named[1]}")))
    problem = None if run.prediction is None else run.prediction.problem
    if problem is not None and hasattr(problem, "critical_bias_decay"):
        critical = problem.critical_bias_decay()
        here = f"trained at λ_b = {number_label(run.settings.bias_decay)}"
        turns = " (every bias decay above it turns the class means)" if critical == 0 else ""
        pairs.append(("λ_b*", problem.explain() if critical is None else f"{number_label(critical)}{turns}, {here}"))
    pairs.append(("compared with", run.prediction_note))
    if run.prediction is not None and run.prediction.status.name == "COLLAPSED":
        pairs.append(("status", run.prediction.status.message))
    if run.predicted_loss is not None:
        excess = "" if run.relative_excess is None else f", exceeded by {short(run.relative_excess)} of it"
        pairs.append(("predicted", f"{run.predicted_loss:.8g}{excess}"))
    if run.prediction is not None:
        pairs.append(("certificate", str(run.prediction.certificate)))
    if run.excess is not None:
        shown = run.excess.shown()
        split = [f"{name} {short(getattr(shown, name))}" for name in ("unbalanced", "within", "between")]
        pairs.append(("excess in parts", ", ".join(split)))
        mean = "squared distance" if run.settings.loss == "mse" else "KL divergence"
        bound = f"mean {mean} of the outputs from the predicted ones"
        pairs.append(("guarantee", f"{bound}: at most {short(run.guarantee)}, here {short(run.excess.distance)}"))
    if run.test_accuracy is not None:
        pairs.append(("test accuracy", percent_of(run.test_accuracy)))
    if run.test_nc4_agreement is not None:
        pairs.append(("test NC4 agreement", percent_of(run.test_nc4_agreement)))
    return [*pairs, ("seconds", f"{run.seconds:.1f}")]


def percent_of(share: float) -> str:
    """A share with two decimals, as tables write it."""
    return f"{100 * share:.2f} %"


def _run(run: Any) -> Facts:
    of = Facts() if run.comparison is None else _comparison(run.comparison)
    return Facts(
        run_pairs(run), of.heads, of.rows, [*of.notes, *(f"{n}: none, {why}" for n, why in run.missing.items())]
    )


_OF_RESULTS = (
    ("NC1", "nc1_trace_ratio"),
    ("mean cosine", "mean_cosine"),
    ("Gram error", "gram_error"),
    ("bias error", "bias_error"),
    ("test accuracy", "test_accuracy"),
)


def _results(results: Any) -> Facts:
    """How much is stored, and a row for each family of trials and bias decay, means over seeds."""
    from encollapse.study.families import families

    stored = [count(len(results.done), "trial") + " done"]
    stored += [f"{len(results.failed)} failed"] * bool(results.failed)
    stored += [f"{len(results.missing)} not run"] * bool(results.missing)
    pairs = [("study", f"{results.study.name}: {', '.join(stored)}"), ("folder", str(results.path))]
    rows = []
    for family in families(results.done):
        for decay in family.bias_decays:
            trials = family.at(decay)
            values = [[v for r in trials if (v := r.record.value(key)) is not None] for _, key in _OF_RESULTS]
            rows.append((family.label, number_label(decay), str(len(trials)), *map(_mean, values, _OF_RESULTS)))
    known = [i for i in range(3 + len(_OF_RESULTS)) if i < 3 or any(row[i] != "–" for row in rows)]
    heads = ("networks", "λ_b", "seeds", *(head for head, _ in _OF_RESULTS))
    return Facts(pairs, tuple(heads[i] for i in known), [tuple(row[i] for i in known) for row in rows])


def _mean(values: Sequence[float], column: tuple[str, str]) -> str:
    if not values:
        return "–"
    mean = float(np.mean(values))
    if column[1] == "test_accuracy":
        return percent_of(mean)
    return fixed(mean, 4) if column[1] == "mean_cosine" else short(mean)


def _plan(plan: Any) -> Facts:
    rows = []
    for group in plan.groups:
        decays = ", ".join(map(number_label, group.bias_decays))
        seconds = "–" if group.seconds is None else f"{group.seconds:.3g}"
        threshold = "–" if group.threshold_t is None else f"{group.threshold_t:.4g}"
        what = "cannot run" if group.problem is not None else seconds
        practical = "" if group.symbol in ("", "λ_b*") else f" ({group.symbol})"
        critical = "–" if group.critical is None else f"{number_label(group.critical)}{practical}"
        rows.append((group.label, str(len(group.trials)), threshold, critical, decays, what))
    stored = f", {plan.stored} of them stored already" if plan.stored else ""
    pairs = [("study", f"{plan.study.name}: {count(len(plan.study.trials), 'trial')}{stored}")]
    if plan.seconds is not None:
        pairs.append(("time", f"about {plan.seconds:.3g} s, {count(plan.workers, 'trial')} at a time"))
    problems = [f"{group.label} cannot run: {group.problem}" for group in plan.groups if group.problem is not None]
    heads = ("networks", "trials", "t = c√K", "λ_b*", "bias decays", "seconds a trial")
    return Facts(pairs, heads, rows, problems)


def _diagnosis(diagnosis: Any) -> Facts:
    pairs = [("verdict", diagnosis.verdict), ("law", f"{diagnosis.law}: {diagnosis.reason}")]
    pairs += [("head", diagnosis.head), ("loss", diagnosis.loss), ("decay", diagnosis.decays)]
    pairs += [("premise", f"{c.status}: {c.text}") for c in diagnosis.conditions]
    notes = [f"{name}: none, {why}" for name, why in diagnosis.missing.items()]
    return Facts(pairs, ("quantity", "value"), diagnosis.numbers(), notes)


_OF_CHECKPOINTS = ("nc1_trace_ratio", "nc2_etf", "nc3_self_duality", "nc4_agreement", "accuracy")


def _checkpoints(film: Any) -> Facts:
    rows = [
        (str(row["step"]), *(short(row[name]) for name in _OF_CHECKPOINTS), short(drift.get("means_moved")))
        for row, drift in zip(film.rows(), film.drift_rows, strict=True)
    ]
    heads = ("step", *(METRICS[name].label for name in _OF_CHECKPOINTS), "means moved")
    return Facts(
        [("checkpoints", str(len(film.steps)))], heads, rows, [f"{p}: {why}" for p, why in film.missing.items()]
    )


FACTS: dict[str, Callable[[Any], Facts]] = {
    "Encoding": _encoding,
    "Solution": lambda solution: Facts(solution_pairs(solution)),
    "ClassGeometry": _geometry,
    "BiasPath": _path,
    "Collapse": _collapse,
    "Comparison": _comparison,
    "Run": _run,
    "Results": _results,
    "Plan": _plan,
    "Diagnosis": _diagnosis,
    "Checkpoints": _checkpoints,
}
"""Facts by the name of a class, so that none of them is imported here. A class of another room enters by a line."""
