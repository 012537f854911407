"""The methods that solve problems: one table, in which the first that applies to a problem is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.convex.weighted import minimize_weighted
from encollapse.ufm.deep.minimize import minimize_schatten
from encollapse.ufm.deep.model import SchattenModel
from encollapse.ufm.deep.schatten_prox import SchattenProx, common_decay
from encollapse.ufm.deep_loss import DeepLoss, minimize_deep_loss
from encollapse.ufm.minimum import Factors, Minimum
from encollapse.ufm.mse.factors import LazyFactors
from encollapse.ufm.mse.mean_price import minimize_priced
from encollapse.ufm.mse.minimize import minimize, minimize_along
from encollapse.ufm.problem import Problem
from encollapse.ufm.relu.minimize import minimize_relu
from encollapse.ufm.relu.minimize_convex import minimize_relu_convex
from encollapse.ufm.relu.model import ReluModel
from encollapse.ufm.structured.by_count import minimize_blocks

Minima: TypeAlias = list[Minimum[Factors]]


@dataclass(frozen=True)
class Method:
    """A way to solve problems that differ in their bias decay only.

    Attributes
    ----------
    name : str
        What :func:`select_method` calls it.
    applies : callable
        Whether it is for a problem, if no method before it in ``METHODS`` is.
    minimize : callable
        Takes the problems and what a similar problem left to start from (``Minimum.warm_start``, or None). It returns a
        :class:`Minimum` for each, in the units of the problem.
    """

    name: str
    applies: Callable[[Problem], bool]
    minimize: Callable[[Sequence[Problem], Any], Minima]


def method_of(problem: Problem) -> Method:
    """Return the first method in the table that applies."""
    return next(method for method in METHODS if method.applies(problem))


def _dense(problems: Sequence[Problem], warm_start: Any) -> Minima:
    del warm_start
    first = problems[0]
    label_svd = first.structure.label_svd
    scale = label_svd.labels.scale
    minima = minimize_along(label_svd, first.threshold / scale, _bias_decays(problems))
    return [
        _within_rank(p, m.in_units(scale, LazyFactors(m.factors, scale, p.balance)))
        for p, m in zip(problems, minima, strict=True)
    ]


def _blocks(problems: Sequence[Problem], warm_start: Any) -> Minima:
    del warm_start
    first, structure = problems[0], problems[0].structure
    groups = structure.count_groups
    assert groups is not None
    labels = structure.label_svd if structure.long_tail is None else structure.long_tail
    minima = minimize_blocks(first.encoding, groups, labels, first.threshold, _bias_decays(problems), first.balance)
    return [_within_rank(p, m) for p, m in zip(problems, minima, strict=True)]


def _within_rank(problem: Problem, wide: Minimum[Factors]) -> Minimum[Factors]:
    """The minimum itself, or that of limited rank where `feature_dim` is below its rank, with this one as a bound."""
    if problem.feature_dim is None or wide.factors.rank <= problem.feature_dim:
        return wide
    return _limited(problem, wide.certificate.lower_bound)


def _each(minimize: Callable[[Problem], Minimum[Factors]]) -> Callable[[Sequence[Problem], Any], Minima]:
    """A method that takes each problem on its own and starts from nothing."""
    return lambda problems, _: [minimize(problem) for problem in problems]


def _limited(problem: Problem, known_bound: float = 0.0) -> Minimum[Factors]:
    label_svd = problem.structure.dense_label_svd
    scale, decays = label_svd.labels.scale, (problem.num_samples, problem.feature_decay, problem.weight_decays)
    prox, limit = SchattenProx.of_decays(*decays), problem.structure.rank_limit(problem.feature_dim)
    model = SchattenModel(label_svd, prox.in_units(scale), limit, problem.bias_decay)
    found = minimize_schatten(model, known_bound=known_bound / scale**2)
    # All p factors bear the same decay, (N λ_H Π λ_l)^{1/p} s^{2/p}; for the features it is N λ_H x².
    means = math.sqrt(common_decay(*decays) / (problem.num_samples * problem.feature_decay)) * scale ** (
        1 / prox.factors
    )
    return found.in_units(scale, found.factors.scaled(scale / means, means))


def _relu(problem: Problem) -> Minimum[Factors]:
    return _nonnegative(problem) if problem.loss == "mse" else _nonnegative_convex(problem)


def _nonnegative(problem: Problem) -> Minimum[Factors]:
    label_svd, form = problem.structure.dense_label_svd, problem.structure.affine_form
    labels, scale = label_svd.labels, label_svd.labels.scale
    affine = None
    if form is not None and problem.is_balanced:
        affine = abs(form[0]) / math.sqrt(problem.num_classes) / scale, float(np.linalg.norm(labels.mean))
    threshold = problem.threshold / scale
    found = minimize_relu(
        ReluModel(labels, threshold, problem.bias_decay),
        # Gram matrices of non-negative vectors may need more dimensions than their rank.
        problem.feature_dim or 2 * problem.num_classes,
        affine=affine,
        known_bound=minimize(label_svd, threshold, problem.bias_decay).certificate.lower_bound,
    )
    root = math.sqrt(problem.weight_decay)
    return found.in_units(scale, found.factors.scaled(scale / root, root))


def _nonnegative_convex(problem: Problem) -> Minimum[Factors]:
    outputs = DenseOutputMap.of(problem.targets, problem.priors)
    found = minimize_relu_convex(
        Composite(outputs, problem.any_loss, problem.threshold, problem.bias_decay),
        problem.feature_dim or 2 * problem.num_classes,
        is_balanced=problem.is_balanced,
    )
    root = math.sqrt(problem.weight_decay)
    return found.in_units(1.0, found.factors.scaled(1.0 / root, root))


def _convex(problems: Sequence[Problem], warm_start: Any) -> Minima:
    result: Minima = []
    for problem in problems:
        outputs = problem.structure.output_map
        if warm_start and (warm_start[0].left.shape[0], warm_start[0].right.shape[1]) != outputs.shape:
            raise ArgumentError("warm_start: expected the solution of a problem with the same encoding and counts")
        found = minimize_composite(
            Composite(outputs, problem.any_loss, problem.threshold, problem.bias_decay), warm_start
        )
        point, warm_start = found.factors, (found.factors, found.bias)
        factors = outputs.factors(point.left, point.singular, point.right, point.contrast, problem.balance)
        result.append(replace(found.in_units(1.0, factors), bias=outputs.every_bias(found.bias), warm_start=warm_start))
    return result


def _deep_loss(problem: Problem) -> Minimum[Factors]:
    decays = (problem.num_samples, problem.feature_decay, problem.weight_decays)
    prox, outputs = SchattenProx.of_decays(*decays), DenseOutputMap.of(problem.targets, problem.priors)
    limit = problem.structure.rank_limit(problem.feature_dim)
    model = DeepLoss(Composite(outputs, problem.any_loss, prox.weight, problem.bias_decay), prox, limit)
    found = minimize_deep_loss(model, outputs.root_priors)
    means = math.sqrt(common_decay(*decays) / (problem.num_samples * problem.feature_decay))
    return found.in_units(1.0, found.factors.scaled(1.0 / means, means))


def _bias_decays(problems: Sequence[Problem]) -> FloatArray:
    return np.array([problem.bias_decay for problem in problems])


def _priced(problem: Problem) -> Minimum[Factors]:
    label_svd = problem.structure.dense_label_svd
    scale, root = label_svd.labels.scale, math.sqrt(label_svd.labels.scale)
    found = minimize_priced(
        label_svd, problem.threshold / scale, problem.bias_decay, problem.mean_root, problem.balance
    )
    return found.in_units(scale, found.factors.scaled(root, root))


def _weighted(problem: Problem) -> Minimum[Factors]:
    weights = np.ones(problem.num_classes) if problem.class_weights is None else problem.class_weights
    return minimize_weighted(
        problem.any_loss,
        problem.targets,
        problem.priors,
        weights,
        # A mean that costs nothing is one that the bias, which then costs nothing either, carries as well.
        inverse=0.0 if problem.mean_root == 0.0 else 1.0 / problem.mean_root,
        threshold=problem.threshold,
        bias_decay=problem.bias_decay,
        balance=problem.balance,
    )


METHODS = (
    Method(
        "weighted", lambda p: p.class_weights is not None or (p.loss != "mse" and p.mean_root != 1.0), _each(_weighted)
    ),
    Method("priced", lambda p: p.loss == "mse" and p.mean_root != 1.0, _each(_priced)),
    Method("relu", lambda problem: problem.features == "relu", _each(_relu)),
    Method("deep loss", lambda problem: problem.loss != "mse" and problem.depth > 1, _each(_deep_loss)),
    Method("convex", lambda problem: problem.loss != "mse", _convex),
    Method("spectral", lambda problem: problem.depth > 1, _each(_limited)),
    Method("blocks", lambda problem: problem.structure.affine_form is not None, _blocks),
    Method("dense", lambda problem: True, _dense),
)
"""Every method. The tests in ``tests/contracts`` ask the same laws of each."""
