"""One state of the page as numbers: everything that changes when the bias decay moves."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.typing import FloatArray
from encollapse.explorer.state.problem import refusals, solution
from encollapse.explorer.state.state import State
from encollapse.explorer.views import certificate_text, projection
from encollapse.explorer.views.bias_path import position_of
from encollapse.geometry import ClassGeometry
from encollapse.geometry.frames import gram_cosines


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
    priors = stated.counts / stated.counts.sum()
    frame = projection.picture(weight, means, priors, axes=state.axes, previous=previous)
    return {
        "bias_decay": state.bias_decay,
        "position": position_of(state.bias_decay),
        "classes": stated.num_classes,
        "outputs": stated.code_dim,
        "counts": stated.counts.tolist(),
        "frame": {
            "means": np.round(frame.means, 6).tolist(),
            "rows": np.round(frame.rows, 6).tolist(),
            "shown": frame.shown,
            "empty": found.rank == 0,
        },
        "features": packed(feature_gram(state, geometry)),
        "classifier": packed(classifier_gram(state, weight)),
        "spectrum": spectrum(found),
        "bias": found.bias.tolist(),
        "numbers": certificate_text.numbers(found),
        "certificate": certificate_text.certificate(found),
        "metrics": certificate_text.metrics(found, weight, means),
    }


def feature_gram(state: State, geometry: ClassGeometry) -> FloatArray:
    """Inner products or cosines of class means, as the controls ask for; NaN where a mean is zero."""
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
        priors = stated.counts / stated.counts.sum()
        labels = (stated.encoding.codewords - found.bias[:, None]) * np.sqrt(priors)
        offered = np.linalg.svd(labels, compute_uv=False).tolist()
    return {"offered": offered, "learned": learned.tolist(), "threshold": stated.threshold}


def packed(values: FloatArray) -> dict[str, Any]:
    """Pack a matrix as its shape and its float64 entries, little endian, in base64: exact, and quick to read."""
    content = np.ascontiguousarray(values, dtype="<f8")
    return {"shape": list(content.shape), "data": base64.b64encode(content.tobytes()).decode("ascii")}


def unpacked(value: dict[str, Any]) -> FloatArray:
    """Inverse of :func:`packed`."""
    raw = np.frombuffer(base64.b64decode(value["data"]), dtype="<f8")
    return raw.reshape(value["shape"]).astype(np.float64)


def finite(value: Any) -> Any:
    """Plain values for JSON: NaN becomes null, and an infinity its name."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
