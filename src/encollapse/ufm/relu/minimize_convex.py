"""Minimize any convex loss over non-negative features: closed form, certified frame, or the lowest of descents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.losses.cross_entropy import CrossEntropy
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.relu.convex_model import ReluConvexModel
from encollapse.ufm.relu.descent import bounded_descent
from encollapse.ufm.relu.factors import NonnegativeFactors, fewest_rows
from encollapse.ufm.relu.frames import best_frame, class_by_class
from encollapse.ufm.relu.minimize import RELAXED_UP_TO, STATIONARY_TOLERANCE, judged, nonnegative_root, number_of_starts
from encollapse.ufm.relu.relaxation import relax

_AFFINE_ROUNDING = 1e-14  # of targets that are one number on the diagonal and one beside it
_REPEATS = 4  # descents in a row, each with a fresh memory, until the point is at rest


def minimize_relu_convex(composite: Composite, feature_dim: int, *, is_balanced: bool) -> Minimum[NonnegativeFactors]:
    """Minimize over features (feature_dim, K) without negative entries, with ``λ_W = 1``.

    Parameters
    ----------
    composite : Composite
        The convex loss over a table with one column a class, c and the bias decay.
    feature_dim : int
        d.
    is_balanced : bool
        Whether all counts agree.
    """
    model = ReluConvexModel(composite)
    q, k = composite.table.shape
    found = _closed_form(model, is_balanced) if feature_dim >= k else None
    if found is not None:
        return found
    nothing = _assemble(model, np.zeros((q, 0)), np.zeros((0, k)), model.resting_bias)
    if nothing.certificate.kind == "duality_gap":
        return nothing
    starts = []
    if feature_dim >= k:
        outputs, bias = best_frame(composite, model.resting_bias)
        found = _frame(model, outputs, bias)
        if found.certificate.kind == "duality_gap":
            return found
        starts.append(_padded(model, outputs, bias, feature_dim))
    return _descend(model, starts, feature_dim)


def _closed_form(model: ReluConvexModel, is_balanced: bool) -> Minimum[NonnegativeFactors] | None:
    """Cross-entropy with affine one-hot targets, balanced or without a bias: class by class."""
    composite = model.composite
    targets, q = composite.table.targets, model.code_dim
    if not isinstance(composite.loss, CrossEntropy) or q != model.num_classes or q < 2:
        return None
    if not (is_balanced or math.isinf(composite.bias_decay)):
        return None
    on, off = float(targets[0, 0]), float(targets[-1, 0])
    if np.abs(targets - (off + (on - off) * np.eye(q))).max() > _AFFINE_ROUNDING:
        return None
    outputs = class_by_class(on, off, composite.table.direction, composite.threshold)
    found = _frame(model, outputs, np.zeros(q))
    if found.certificate.relative_gap > 1e-6:
        return None
    certificate = replace(found.certificate, kind="theorem", holds=True)
    # Two classes and a free bias: lengthening one feature and shortening the other costs nothing.
    unique = q > 2 or composite.bias_decay > 0 or found.factors.rank == 0
    return replace(found, certificate=certificate, unique=unique)


def _frame(model: ReluConvexModel, outputs: FloatArray, bias: FloatArray) -> Minimum[NonnegativeFactors]:
    """The frame with these outputs (q, K)."""
    lengths = np.linalg.norm(outputs, axis=0)
    learned = np.flatnonzero(lengths)
    roots = np.sqrt(lengths[learned])
    return _assemble(model, outputs[:, learned] / roots, roots[:, None] * np.eye(len(lengths))[learned], bias)


def _padded(
    model: ReluConvexModel, outputs: FloatArray, bias: FloatArray, feature_dim: int
) -> tuple[FloatArray, FloatArray]:
    """The frame with a little of everything, so that no entry is stuck at 0."""
    roots = np.sqrt(np.linalg.norm(outputs, axis=0))
    features = np.zeros((feature_dim, len(roots)))
    features[: len(roots)] = np.diag(roots)
    weight = np.zeros((len(outputs), feature_dim))
    weight[:, : len(roots)] = outputs / np.maximum(roots, 1e-300)
    return features + 1e-2 * float(roots.max(initial=0.0)), model.rest(weight, bias)


def _random_start(
    model: ReluConvexModel, feature_dim: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Features of any size, and the classifier that goes along the first gradient."""
    features = np.abs(generator.standard_normal((feature_dim, model.num_classes)))
    nothing = model.rest(np.zeros((model.code_dim, feature_dim)), model.resting_bias)
    _, _, slope = model.value_and_gradient(features, nothing)
    weight, _ = model.parts(features, -slope)
    size = generator.uniform(0.5, 2.0) / math.sqrt(feature_dim)
    weight = weight * (size * float(np.linalg.norm(features)) / max(float(np.linalg.norm(weight)), 1e-300))
    return size * features, model.rest(weight, model.resting_bias)


def _descend(
    model: ReluConvexModel, starts: list[tuple[FloatArray, FloatArray]], feature_dim: int
) -> Minimum[NonnegativeFactors]:
    generator = np.random.default_rng(0)
    for _ in range(number_of_starts(feature_dim * model.num_classes)):
        starts.append(_random_start(model, feature_dim, generator))
    ends = [bounded_descent(model, *start) for start in starts]
    steps = sum(end[2] for end in ends)
    features, rest, _ = min(ends, key=lambda end: model.value_and_gradient(*end[:2])[0])
    features, rest, taken = _settled(model, features, rest)
    found = _found(model, features, rest, steps + taken)
    if found.certificate.kind == "duality_gap" or model.num_classes > RELAXED_UP_TO:
        return found
    bound, relaxed = relax(model, features, rest, bound=found.certificate.lower_bound, loss=found.loss)
    rounded = nonnegative_root(relaxed)[:feature_dim]
    start = np.zeros_like(features)
    start[: len(rounded)] = rounded
    start += 1e-3 * float(start.max())
    outputs = model.outputs(features, rest)
    weight = outputs @ np.linalg.pinv(start, rcond=1e-3)
    other, other_rest, taken = bounded_descent(model, start, model.rest(weight, model.parts(features, rest)[1]))
    if model.value_and_gradient(other, other_rest)[0] < found.loss * (1.0 - 1e-12):
        features, rest, _ = _settled(model, other, other_rest)
    return _found(model, features, rest, found.iterations + taken, bound)


def _settled(model: ReluConvexModel, features: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    steps = 0
    for _ in range(_REPEATS):
        if _at_rest(model, features, rest):
            break
        features, rest, taken = bounded_descent(model, features, rest)
        steps += taken
    return features, rest, steps


def _at_rest(model: ReluConvexModel, features: FloatArray, rest: FloatArray) -> bool:
    _, slope, other = model.value_and_gradient(features, rest)
    slope = np.where(features > 0, slope, np.minimum(slope, 0.0))
    size = model.threshold * float(np.linalg.norm(features))
    return max(float(np.linalg.norm(slope)), float(np.linalg.norm(other))) <= STATIONARY_TOLERANCE * size


def _found(
    model: ReluConvexModel, features: FloatArray, rest: FloatArray, steps: int, known_bound: float = -math.inf
) -> Minimum[NonnegativeFactors]:
    """The point in as few rows as are known to hold it."""
    weight, bias = model.parts(features, rest)
    outputs, full = weight @ features, len(features)

    def weight_of(rows: FloatArray) -> FloatArray:
        # All rows have the classifier of the descent; fewer have the least one that gives the same outputs.
        return weight if len(rows) == full else np.asarray(outputs @ np.linalg.pinv(rows, rcond=1e-9))

    def loss(rows: FloatArray) -> float:
        return model.value_and_gradient(rows, model.rest(weight_of(rows), bias))[0]

    fewer = fewest_rows(features, loss)
    at_rest = _at_rest(model, features, rest)
    return replace(_assemble(model, weight_of(fewer), fewer, bias, known_bound, at_rest=at_rest), iterations=steps)


def _assemble(
    model: ReluConvexModel,
    weight: FloatArray,
    features: FloatArray,
    bias: FloatArray,
    known_bound: float = -math.inf,
    *,
    at_rest: bool = True,
) -> Minimum[NonnegativeFactors]:
    rest = model.rest(weight, bias)
    loss = model.value_and_gradient(features, rest)[0]
    certificate = judged(model, features, rest, loss, known_bound, at_rest=at_rest)
    root = math.sqrt(model.threshold)
    factors = NonnegativeFactors.of(root * weight, features / root, model.composite.table.direction)
    return Minimum(loss, bias, certificate, 0, factors)
