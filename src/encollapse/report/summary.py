"""What a report says in words, computed from the records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from encollapse._internal.format import bias_decay_is, count, fixed, number_label, percent, power, unbroken
from encollapse._internal.json_values import finite
from encollapse.report.varied_settings import varied
from encollapse.study.families import Family
from encollapse.study.results import Results, TrialResult


def finding(results: Results, members: Sequence[Family]) -> list[str]:
    """Sentences on what came out, led by the largest errors and where they are."""
    sentences = []
    failed, missing = len(results.failed), len(results.missing)
    trained = sum(result.trained for result in results.done)
    exact = len(results.done) - trained
    if trained:
        kinds = _compared_with([result for result in results.done if result.trained])
        sentences.append(f"{count(trained, 'network')} {'was' if trained == 1 else 'were'} trained and {kinds}.")
    if exact:
        sentences.append(
            f"{count(exact, 'exact minimizer')} of the unrestricted feature model {'was' if exact == 1 else 'were'} "
            f"found and measured as a network is{'' if trained else ', and no network was trained'}."
        )
    worst = results.worst("gram_error")
    if worst is not None:
        sentences.append(
            f"The Gram matrix of the class means is off by at most {percent(worst.comparison_error('gram_error'))} "
            f"({where(worst, members)})."
        )
    bias = results.worst("bias_error")
    if bias is not None and bias.comparison_error("bias_error") == 0:
        sentences.append("Every entry of every bias is as predicted.")
    elif bias is not None:
        sentences.append(
            f"No entry of a bias is off by more than {power(bias.comparison_error('bias_error'))} "
            f"({where(bias, members)})."
        )
    path = _path_sentence(members)
    if path:
        sentences.append(path)
    restless = sum(result.stopped_early for result in results.done)
    if restless:
        sentences.append(
            f"{count(restless, 'network')} stopped before the training was stationary, and the table marks them."
        )
    if failed:
        sentences.append(f"{count(failed, 'trial')} failed and {'is' if failed == 1 else 'are'} listed below.")
    if missing:
        sentences.append(f"{count(missing, 'trial')} of the study {'has' if missing == 1 else 'have'} not run yet.")
    return sentences


def _compared_with(done: Sequence[TrialResult]) -> str:
    """What the networks were compared with, and how many with each where it is not the same for all."""
    kinds = Counter(result.record.prediction_kind for result in done)
    if set(kinds) <= {"minimum"}:
        text = "compared with the exact minimizer of the unrestricted feature model"
    else:
        text = "compared: " + ", ".join(f"{number} {_KINDS.get(kind, kind)}" for kind, number in kinds.items())
    bounds = [(r.record.value("distance"), r.record.value("guarantee")) for r in done]
    known = [distance > bound for distance, bound in bounds if distance is not None and bound is not None]
    if known:
        text += f", and of {len(known)} guarantees on the outputs {sum(known) or 'none'} is violated"
    return text


_KINDS = {
    "minimum": "with the exact minimum of their objective",
    "given activations": "with that minimum given the activations below the last layers",
    "effective": "beside a model whose decays were read off the trained network, which is no law",
    "fixed_classifier": "with the minimum for their fixed classifier",
    "none": "with nothing",
}
"""What a network is compared with, by its ``prediction_kind``."""


def what_varies(results: Results) -> list[tuple[str, str]]:
    """Each setting that the study varies, with its values."""
    settings = [trial.settings for trial in results.study.trials]
    return [(p.name, ", ".join(p.values)) for p in varied(settings)]


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
        (result.record.mean_cosine, result.record.prediction.mean_cosine, result)
        for result in family.trials
        if result.record.prediction is not None
    ]
    known = [(m, p, r) for m, p, r in cosines if m is not None and p is not None]
    if len(known) < 2:
        return ""
    (first, _, low), (last, _, high) = known[0], known[-1]
    gap = max(abs(m - p) for m, p, _ in known)
    text = (
        f"For {family.label}, the mean cosine of the class means goes from {fixed(first, 3)} at "
        f"{bias_decay_is(low.settings['bias_decay'])} to {fixed(last, 3)} at "
        f"{bias_decay_is(high.settings['bias_decay'])}, within {power(gap)} of the prediction throughout"
    )
    turning, symbol = family.turning_point
    if turning is not None and 0 < turning < math.inf:
        carried = "a tenth of what they carry of the label mean without a bias"
        place = unbroken(f"λ_b = {number_label(turning)}")
        text += (
            f". The theory places the departure at {place}"
            if symbol == "λ_b*"
            else f". By theory the features carry at {place} {carried}"
        )
    return f"{text}."


def headline(results: Results) -> list[tuple[str, str]]:
    """Return (value, meaning) of the few numbers that a reader wants first."""
    gram, bias = results.worst("gram_error"), results.worst("bias_error")
    gaps = [gap for gap in map(_relative_gap, results.done) if gap is not None]
    trained = sum(result.trained for result in results.done)
    exact = len(results.done) - trained
    numbers = [(str(trained), "networks trained")] if trained or not exact else []
    numbers += [(str(exact), "exact minimizers found")] if exact else []
    if gram is not None:
        numbers.append((percent(gram.comparison_error("gram_error")), "largest error of a Gram matrix"))
    if bias is not None:
        numbers.append((power(bias.comparison_error("bias_error")), "largest error of a bias entry"))
    if gaps:
        numbers.append((power(max(gaps)), "largest relative duality gap of a prediction"))
    return numbers


def _relative_gap(result: TrialResult) -> float | None:
    prediction = result.record.prediction
    if prediction is None or prediction.certificate.kind != "duality_gap" or prediction.loss == 0:
        return None
    gap = finite(prediction.certificate.gap)
    return None if gap is None else abs(gap / prediction.loss)


def shared_settings(results: Results) -> list[tuple[str, str]]:
    """Settings of the trainings: the value where all agree, the list of values where they differ."""
    found: dict[str, list[str]] = {}
    for result in results.done:
        record = result.record
        values: dict[str, Any] = {
            "data set": record.dataset,
            "class counts": " ".join(map(str, record.counts)),
            **record.settings,
            "threshold c": record.threshold_c,
            "threshold t = c√K": record.threshold_t,
        }
        for name, value in values.items():
            text = in_words(value)
            if text not in found.setdefault(name, []):
                found[name].append(text)
    return [(name.replace("_", " "), "; ".join(texts)) for name, texts in found.items() if name != "progress"]


def in_words(value: Any) -> str:
    """A setting as people read it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(entry)}" for name, entry in value.items()) or "none"
    return ", ".join(map(in_words, value)) if isinstance(value, list | tuple) else str(value)


def versions(results: Results) -> list[tuple[str, str]]:
    """Packages that the trials ran with, several values where trials differ."""
    found: dict[str, list[str]] = {}
    for result in results.trials:
        for name, value in result.row.versions.items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return [(name, ", ".join(values)) for name, values in found.items()]
