"""Minimize over non-negative features: closed form, certified orthogonal frame, or the lowest of several descents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.relu.closed_forms import balanced_affine_features, best_orthogonal_frame
from encollapse.ufm.relu.descent import bounded_descent, polish, projected_gradient
from encollapse.ufm.relu.factors import NonnegativeFactors, fewest_rows
from encollapse.ufm.relu.lower_bound import NonnegativeModel, relu_lower_bound
from encollapse.ufm.relu.model import ReluModel
from encollapse.ufm.relu.relaxation import relax

STATIONARY_TOLERANCE = 1e-6
"""Projected gradient, relative to ``c² |X|``, up to which first-order conditions count as met."""

GAP_TOLERANCE = 1e-8
"""Relative gap up to which the doubly nonnegative bound, itself the result of an iteration, proves the minimum."""

RELAXED_UP_TO = 40
"""Classes up to which an open gap is worth the minimum of the relaxation."""

_STARTS = ((500, 12), (2000, 3))
"""Random starts up to a number of variables, and one above it."""

_NO_REST = np.zeros(0)


def minimize_relu(
    model: ReluModel, feature_dim: int, *, affine: tuple[float, float] | None, known_bound: float
) -> Minimum[NonnegativeFactors]:
    """Minimize J over features (feature_dim, K) without negative entries, in units of the labels, with ``λ_W = 1``.

    Parameters
    ----------
    model : ReluModel
        What to minimize.
    feature_dim : int
        d.
    affine : (a, e), optional
        The singular values of contrast and mean of balanced affine images of one-hot labels, for the closed form.
    known_bound : float
        A lower bound from elsewhere, in units of the labels.
    """
    if affine is not None:
        features = balanced_affine_features(model, *affine)
        if len(features) <= feature_dim:
            found = _assemble(model, features, known_bound, 0, at_rest=True)
            certificate = replace(found.certificate, kind="theorem")
            # Two classes and a free bias: lengthening one feature and shortening the other costs nothing.
            return replace(found, certificate=certificate, unique=model.num_classes > 2 or model.share > 0)
    nothing = _assemble(model, np.zeros((0, model.num_classes)), known_bound, 0, at_rest=True)
    if nothing.certificate.kind == "duality_gap":
        return nothing
    starts: list[FloatArray] = []
    if feature_dim >= model.num_classes:
        gamma = best_orthogonal_frame(model)
        frame = np.diag(np.sqrt(gamma))[gamma > 0]
        found = _assemble(model, frame, known_bound, 0, at_rest=True)
        if found.certificate.kind == "duality_gap":
            return found
        padded = np.zeros((feature_dim, model.num_classes))
        padded[: model.num_classes] = np.diag(np.sqrt(gamma))
        starts.append(padded + 1e-2 * float(padded.max()))
    return _descend(model, feature_dim, starts, known_bound)


def _descend(
    model: ReluModel, feature_dim: int, starts: list[FloatArray], known_bound: float
) -> Minimum[NonnegativeFactors]:
    generator = np.random.default_rng(0)
    shape = (feature_dim, model.num_classes)
    size = math.sqrt(max(float(np.linalg.norm(model.targets, 2)) / model.threshold - 1.0, 0.1))
    for _ in range(number_of_starts(feature_dim * model.num_classes)):
        share = generator.uniform(0.2, 1.0)
        starts.append(share * size * np.abs(generator.standard_normal(shape)) / math.sqrt(feature_dim))
    best, best_value, steps = np.zeros(shape), model.at(np.zeros((shape[1], shape[1])))[0], 0
    for start in starts:
        features, _, iterations = bounded_descent(model, start, _NO_REST)
        steps += iterations
        value = model.at(features.T @ features)[0]
        if value < best_value:
            best, best_value = features, value
    best, iterations = polish(model, best)
    found = _assemble(model, best, known_bound, steps + iterations, at_rest=_at_rest(model, best))
    if found.certificate.kind == "duality_gap" or model.num_classes > RELAXED_UP_TO:
        return found
    bound, relaxed = relax(model, best, _NO_REST, bound=found.certificate.lower_bound, loss=found.loss)
    start = np.zeros(shape)
    rounded = nonnegative_root(relaxed)[:feature_dim]
    start[: len(rounded)] = rounded
    features, _, iterations = bounded_descent(model, start + 1e-3 * float(start.max()), _NO_REST)
    if model.at(features.T @ features)[0] < model.at(best.T @ best)[0] * (1 - 1e-12):
        best = polish(model, features)[0]
    return _assemble(model, best, bound, found.iterations + iterations, at_rest=_at_rest(model, best))


def number_of_starts(variables: int) -> int:
    """How many random starts a problem of this size gets."""
    return next((n for most, n in _STARTS if variables <= most), 1)


def nonnegative_root(relaxed: FloatArray) -> FloatArray:
    """Symmetric root of ``VᵀV`` (K, K) without its negative entries: where to start from near a relaxation."""
    _, values, vectors = np.linalg.svd(relaxed)
    return np.asarray(np.maximum((vectors.T * values) @ vectors, 0.0))


def _at_rest(model: ReluModel, features: FloatArray) -> bool:
    allowed = STATIONARY_TOLERANCE * model.threshold**2 * float(np.linalg.norm(features))
    return float(np.linalg.norm(projected_gradient(model, features))) <= allowed


def _assemble(
    model: ReluModel, features: FloatArray, known_bound: float, steps: int, *, at_rest: bool
) -> Minimum[NonnegativeFactors]:
    features = fewest_rows(features, model.loss)
    weight, bias = model.classifier(features)
    loss = model.loss(features)
    certificate = judged(model, features, _NO_REST, loss, known_bound, at_rest=at_rest)
    factors = NonnegativeFactors.of(weight, features, model.labels.root_priors)
    return Minimum(loss, bias, certificate, steps, factors)


def judged(
    model: NonnegativeModel, features: FloatArray, rest: FloatArray, loss: float, known_bound: float, *, at_rest: bool
) -> Certificate:
    """Certificate of a point: the gap where it closes, else that the point is stationary, with the gap that is left."""
    enough = loss * (1.0 - GAP_TOLERANCE)
    bound = min(max(relu_lower_bound(model, features, rest, enough=enough), known_bound), loss)
    return certify(loss, bound, tolerance=GAP_TOLERANCE).or_stationary(at_rest)
