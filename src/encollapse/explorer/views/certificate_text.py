"""What is said beside the pictures: the certificate in words, the collapse metrics, the numbers at a glance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.format import number_label, power, short, signed
from encollapse._internal.typing import FloatArray
from encollapse.explorer.views.bias_path import mean_codeword
from encollapse.metrics import METRICS, ClassStatistics, MetricInputs, evaluate


def certificate(solution: ufm.Solution) -> dict[str, Any]:
    """Say in words how far the solution is proved."""
    evidence, status = solution.certificate, solution.status
    words, verdict = [], "proved"
    if evidence.kind == "duality_gap" and evidence.holds:
        words.append(
            f"No network with these labels, class counts and decays has a loss below {evidence.lower_bound:.8g}; "
            f"this one has {solution.loss:.8g}. {_gap(evidence.relative_gap)}, so this is the global minimum."
        )
    elif evidence.kind == "theorem" and evidence.holds:
        words.append(
            f"The global minimum, {solution.loss:.8g}, by a theorem whose conditions were checked. The computed lower "
            f"bound is {evidence.lower_bound:.8g}."
        )
    elif evidence.kind == "stationary" and evidence.holds:
        verdict = "stationary"
        words.append(
            f"The lowest stationary point of several starts, with a loss of {solution.loss:.8g}. The problem is not "
            f"convex; the global minimum is proved to lie above {evidence.lower_bound:.8g}, which is a share of "
            f"{short(evidence.relative_gap)} lower."
        )
    else:
        verdict = "open"
        words.append("The evidence does not reach a proof.")
    if status not in (ufm.Status.OPTIMAL, ufm.Status.STATIONARY):
        words.append(status.message)
    if not solution.unique:
        words.append("Other geometries reach the same loss; this is one of them.")
    return {
        "verdict": verdict,
        "kind": evidence.kind,
        "holds": evidence.holds,
        "words": " ".join(words),
        "loss": solution.loss,
        "lower_bound": evidence.lower_bound,
        "gap": evidence.relative_gap,
        "status": status.name,
        "milliseconds": 1e3 * solution.seconds,
    }


def metrics(solution: ufm.Solution, weight: FloatArray, means: FloatArray) -> list[dict[str, Any]]:
    """The collapse metrics of the solution, as a measurement of a network would give them."""
    stated = solution.problem
    size = len(means)
    statistics = ClassStatistics(
        means=means.T,
        counts=stated.counts,
        within_trace=np.zeros(stated.num_classes),
        within_covariance=np.zeros((size, size)),
        class_averaged_covariance=np.zeros((size, size)),
    )
    inputs = MetricInputs(statistics, weight, solution.bias, mean_codeword(stated))
    values, missing = evaluate(inputs)
    return [
        {
            "name": metric.name,
            "meaning": metric.meaning,
            "value": values.get(metric.name),
            "text": _rounded(values[metric.name]) if metric.name in values else "–",
            "reason": missing.get(metric.name, ""),
        }
        for metric in METRICS.values()
        if not metric.detail and metric.name != "floor" and "decisions" not in metric.needs
    ]


def numbers(solution: ufm.Solution) -> dict[str, Any]:
    """The few numbers that tell most, each as a value and as text."""
    stated, geometry = solution.problem, solution.geometry
    k = stated.num_classes
    critical = stated.critical_bias_decay()
    values: dict[str, float | None] = {
        "mean_cosine": geometry.mean_cosine(),
        "bias_norm": float(np.linalg.norm(solution.bias)),
        "threshold": stated.threshold,
        "t": stated.threshold * math.sqrt(k),
        "critical": critical,
        "rank": solution.rank,
        "samples": int(stated.counts.sum()),
        "loss": solution.loss,
    }
    texts = {
        "mean_cosine": _plain(values["mean_cosine"]),
        "bias_norm": "none" if math.isinf(stated.bias_decay) else _plain(values["bias_norm"]),
        "threshold": _plain(values["threshold"]),
        "t": _plain(values["t"]),
        "critical": number_label(critical) if critical is not None else "not known",
        "rank": f"{solution.rank} of {len(solution.singular_values)}",
        "samples": f"{values['samples']:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "loss": _plain(values["loss"]),
    }
    return {"values": values, "texts": texts, "explanation": stated.explain()}


def _plain(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return signed(value, 4) if value == 0 or 1e-3 <= abs(value) < 1e4 else power(value)


def _rounded(value: float) -> str:
    """Three digits; what is rounding of a zero is called so."""
    if abs(value) < 1e-12:
        return "0"
    return signed(value, 3) if 1e-3 <= abs(value) < 1e4 else power(value)


def _gap(relative: float) -> str:
    if relative <= 0:
        return "The computed gap is zero to the last digit"
    return f"The computed gap is {short(relative)} of the loss"
