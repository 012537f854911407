"""One state of the page as numbers and words: everything that changes when the bias decay moves."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.format import number_label, power, signed
from encollapse._internal.typing import FloatArray
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import refusals, solution
from encollapse.explorer.state.state import State
from encollapse.explorer.views import projection
from encollapse.explorer.views.bias_path import position_of
from encollapse.explorer.views.cloud import Cloud, cloud
from encollapse.geometry import ClassGeometry
from encollapse.geometry.frames import gram_cosines
from encollapse.metrics import METRICS, ClassStatistics, MetricInputs, evaluate

_SAME_SHAPE = 1e-6  # distance of shapes that no digit of the page shows
_RIGHT = 1e-12  # cosines nearer to zero are rounding of sums over the entries of a class mean


def picture(state: State, previous: FloatArray | None = None) -> dict[str, Any]:
    """Solve a state and return what the page draws.

    Parameters
    ----------
    state : State
        The controls.
    previous : (K', 3), optional
        Where the class means were drawn last, so that the frame turns on from there.

    Raises
    ------
    FieldError
        If a value of the state cannot be used, by its field.
    """
    found = solution(state)
    stated, geometry = found.problem, found.geometry
    with refusals():
        weight, means, _ = found.parameters()
    return {
        "bias_decay": state.bias_decay,
        "position": position_of(state.bias_decay),
        "unique": found.unique,
        "classes": stated.num_classes,
        "outputs": stated.code_dim,
        "counts": stated.counts.tolist(),
        "frame": frame(found, weight, means, state, previous, cloud(state)),
        "beside": beside(state),
        "law": law(found) if state.recipe != "none" else "",
        "features": packed(feature_gram(state, geometry)),
        "classifier": packed(classifier_gram(state, weight)),
        "spectrum": spectrum(found),
        "bias": found.bias.tolist(),
        "numbers": numbers(found),
        "certificate": certificate(found),
        "metrics": metrics(found, weight, means),
    }


def frame(
    found: ufm.Solution,
    weight: FloatArray,
    means: FloatArray,
    state: State,
    previous: FloatArray | None,
    about: Cloud | None = None,
) -> dict[str, Any]:
    """Class means and classifier rows in three directions of feature space, with `about` those of the linear tail."""
    samples = None
    if about is not None:
        weight, means, samples = about.weight, about.means, about.samples
    drawn = projection.picture(weight, means, found.problem.priors, axes=state.axes, previous=previous, samples=samples)
    seen = (
        {} if about is None else {"samples": np.round(drawn.samples, 3).tolist(), "of": about.labels, "nc1": about.nc1}
    )
    return seen | {
        "means": np.round(drawn.means, 6).tolist(),
        "rows": np.round(drawn.rows, 6).tolist(),
        "shown": drawn.shown,
        "empty": found.rank == 0,
    }


def beside(state: State) -> dict[str, Any] | None:
    """The frame of the second encoding, with the same class counts and decays."""
    if not state.beside:
        return None
    other = replace(state, encoding=state.beside, options=(), matrix="", spread=0.0)
    try:
        found = solution(other)
        with refusals():
            weight, means, _ = found.parameters()
    except FieldError as error:
        raise FieldError("beside", error.message) from None
    return frame(found, weight, means, other, None) | {
        "name": state.beside,
        "mean_cosine": _cosine(found.geometry.mean_cosine()) if found.unique else "not unique",
    }


def law(found: ufm.Solution) -> str:
    """Say which training leads to the picture, and to what."""
    stated, geometry = found.problem, found.geometry
    frames = {"simplex_etf": "a simplex equiangular tight frame", "orthogonal": "an orthogonal frame"}
    distance, frame_name = min((geometry.distance(name), words) for name, words in frames.items())
    near = f"form {frame_name}" if distance < _SAME_SHAPE else f"are {_plain(distance)} away from {frame_name}"
    shape = "nothing is learned" if found.rank == 0 else f"the class means {near}"
    return (
        "This stands for a network with a batch normalization before its last layer and a weight decay of "
        f"λ = {number_label(stated.weight_decay)} on every parameter, trained on {stated.num_samples} samples. "
        "The decay of its gains and offsets acts as a feature decay of "
        f"λ/N = {number_label(stated.feature_decay)}. At this bias decay {shape}. In such a training the bias decay is "
        "λ itself."
    )


def feature_gram(state: State, geometry: ClassGeometry) -> FloatArray:
    """Inner products or cosines of class means, as the controls ask for, or NaN where a mean is zero."""
    if state.quantity == "products":
        return geometry.feature_gram_centered if state.centered else geometry.feature_gram
    return geometry.cosines(centered=state.centered)


def classifier_gram(state: State, weight: FloatArray) -> FloatArray:
    """The same for the rows of a classifier (q, d), about their mean or not."""
    rows = weight - weight.mean(axis=0) if state.centered else weight
    products = rows @ rows.T
    if state.quantity == "products":
        return products
    return gram_cosines(products, longest=float(np.linalg.norm(weight, axis=1).max()))


def spectrum(found: ufm.Solution) -> dict[str, Any]:
    """Singular values that the labels offer, the threshold, and what is learned of each.

    Offered are those of the weighted labels less the bias, ``(E - b 1ᵀ) diag(u)``. Under another loss than MSE
    labels offer no singular values, and only those learned are given.
    """
    stated = found.problem
    learned = found.singular_values
    offered = None
    if stated.loss == "mse":
        labels = (stated.encoding.codewords - found.bias[:, None]) * np.sqrt(stated.priors)
        offered = np.linalg.svd(labels, compute_uv=False).tolist()
    return {"offered": offered, "learned": learned.tolist(), "threshold": stated.threshold}


def certificate(solution: ufm.Solution) -> dict[str, Any]:
    """Say in words how far the solution is proved."""
    evidence, status = solution.certificate, solution.status
    words, verdict = [], "proved"
    if evidence.kind == "duality_gap" and evidence.holds:
        words.append(
            f"The loss is {_plain(solution.loss)}. A lower bound, computed independently of the solver, holds for "
            f"every network with these labels, class counts and decays. {_gap(evidence.relative_gap)}, so this is the "
            "global minimum."
        )
    elif evidence.kind == "theorem" and evidence.holds:
        words.append(
            f"The loss is {_plain(solution.loss)}. This is the global minimum by a theorem, whose conditions were "
            f"checked. The computed lower bound is {_plain(evidence.lower_bound)}."
        )
    elif evidence.kind == "stationary" and evidence.holds:
        verdict = "stationary"
        words.append(
            f"The loss is {_plain(solution.loss)}, the lowest among the stationary points that several starts found. "
            "The problem is not convex, so a lower one may exist. No network has a loss below "
            f"{_plain(evidence.lower_bound)}."
        )
    else:
        verdict = "open"
        words.append("The computed bounds do not prove that this is the minimum.")
    if status not in (ufm.Status.OPTIMAL, ufm.Status.STATIONARY):
        words.append(status.message)
    if not solution.unique:
        words.append("Other geometries reach the same loss, and this is one of them.")
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
    inputs = MetricInputs(statistics, weight, solution.bias, stated.mean_codeword)
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
    critical, (turning, name) = stated.critical_bias_decay(), stated.turning_point()
    values: dict[str, float | None] = {
        "mean_cosine": geometry.mean_cosine(),
        "bias_norm": float(np.linalg.norm(solution.bias)),
        "threshold": stated.threshold,
        "t": stated.threshold * math.sqrt(k),
        "critical": critical,
        "rank": solution.rank,
        "samples": stated.num_samples,
        "loss": solution.loss,
    }
    texts = {
        "mean_cosine": _cosine(geometry.mean_cosine()) if solution.unique else "not unique",
        "bias_norm": "none" if math.isinf(stated.bias_decay) else _cosine(float(np.linalg.norm(solution.bias))),
        "threshold": _plain(values["threshold"]),
        "t": _plain(values["t"]),
        "critical": "not known" if critical is None else number_label(critical),
        "rank": f"{solution.rank} of {len(solution.singular_values)}",
        "samples": f"{values['samples']:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "loss": _plain(values["loss"]),
    }
    if turning != critical and turning is not None:
        texts["critical"] += f" ({name}: {number_label(turning)})"
    return {"values": values, "texts": texts, "explanation": stated.explain()}


def _cosine(value: float) -> str:
    """Rounding of a right angle is a right angle."""
    return _plain(0.0 if abs(value) < _RIGHT else value)


def _plain(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return signed(value, 4) if value == 0 or 1e-3 <= abs(value) < 1e5 else power(value, 4)


def _rounded(value: float) -> str:
    """Four digits. What is rounding of a zero is called so."""
    if abs(value) < 1e-12:
        return "0"
    return _plain(value)


def _gap(relative: float) -> str:
    if relative <= 0:
        return "The loss equals this bound to the last digit"
    return f"The loss is above this bound by a share of {_plain(relative)}"


def packed(values: FloatArray) -> dict[str, Any]:
    """Pack a matrix as its shape and its float64 entries, little endian, in base64: exact, and quick to read."""
    content = np.ascontiguousarray(values, dtype="<f8")
    return {"shape": list(content.shape), "data": base64.b64encode(content.tobytes()).decode("ascii")}
