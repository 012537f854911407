"""Minimize over non-negative features: closed form, certified orthogonal frame, or the lowest of several descents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import certify
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors
from encollapse.ufm.mse.label_svd import EPS
from encollapse.ufm.relu.closed_forms import balanced_affine_features, best_orthogonal_frame
from encollapse.ufm.relu.descent import bounded_descent, polish, projected_gradient
from encollapse.ufm.relu.lower_bound import relu_lower_bound
from encollapse.ufm.relu.model import ReluModel

STATIONARY_TOLERANCE = 1e-6
"""Projected gradient, relative to ``c² |X|``, up to which first-order conditions count as met."""

GAP_TOLERANCE = 1e-8
"""Relative gap up to which the doubly nonnegative bound, itself the result of an iteration, proves the minimum."""

_STARTS = ((500, 12), (2000, 3))
"""Random starts up to a number of variables; one above."""


def minimize_relu(
    model: ReluModel, feature_dim: int, *, affine: tuple[float, float] | None, known_bound: float, seed: int = 0
) -> Minimum[DenseFactors]:
    """Minimize J over features (feature_dim, K) without negative entries; in units of the labels, with ``λ_W = 1``.

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
    seed : int
        Seed of the random starts.
    """
    if affine is not None:
        features = balanced_affine_features(model, *affine)
        if len(features) <= feature_dim:
            found = _assemble(model, features, known_bound, 0, at_rest=True)
            certificate = replace(found.certificate, kind="theorem")
            # Two classes and a free bias: lengthening one feature and shortening the other costs nothing.
            return replace(found, certificate=certificate, unique=model.num_classes > 2 or model.share > 0)
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
    return _descend(model, feature_dim, starts, known_bound, seed)


def _descend(
    model: ReluModel, feature_dim: int, starts: list[FloatArray], known_bound: float, seed: int
) -> Minimum[DenseFactors]:
    generator = np.random.default_rng(seed)
    shape = (feature_dim, model.num_classes)
    count = next((n for most, n in _STARTS if feature_dim * model.num_classes <= most), 1)
    size = math.sqrt(max(float(np.linalg.norm(model.targets, 2)) / model.threshold - 1.0, 0.1))
    for _ in range(count):
        share = generator.uniform(0.2, 1.0)
        starts.append(share * size * np.abs(generator.standard_normal(shape)) / math.sqrt(feature_dim))
    best, best_value, steps = np.zeros(shape), model.at(np.zeros((shape[1], shape[1])))[0], 0
    for start in starts:
        features, iterations = bounded_descent(model, start)
        steps += iterations
        value = model.at(features.T @ features)[0]
        if value < best_value:
            best, best_value = features, value
    best, iterations = polish(model, best)
    steps += iterations
    rows = best[np.linalg.norm(best, axis=1) > 1e-9 * max(float(np.linalg.norm(best)), 1e-300)]
    return _assemble(model, rows, known_bound, steps, at_rest=_at_rest(model, rows))


def _at_rest(model: ReluModel, features: FloatArray) -> bool:
    allowed = STATIONARY_TOLERANCE * model.threshold**2 * float(np.linalg.norm(features))
    return float(np.linalg.norm(projected_gradient(model, features))) <= allowed


def _assemble(
    model: ReluModel, features: FloatArray, known_bound: float, steps: int, *, at_rest: bool
) -> Minimum[DenseFactors]:
    weight, bias = model.classifier(features)
    loss = model.loss(features)
    bound = min(max(relu_lower_bound(model, features.T @ features), known_bound), loss)
    certificate = certify(loss, bound, EPS * model.labels.energy, tolerance=GAP_TOLERANCE)
    if not certificate.holds:
        certificate = replace(certificate, kind="stationary", holds=at_rest)
    values = np.linalg.svd(weight @ features, compute_uv=False)[: len(features)]
    singular = np.zeros(min(model.targets.shape))
    singular[: len(values)] = values
    factors = DenseFactors(weight, features / model.labels.root_priors, singular, rotatable=False)
    return Minimum(loss, bias, certificate, steps, factors)
