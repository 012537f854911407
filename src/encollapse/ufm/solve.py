"""The exact global minimizer of the unrestricted feature model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError, ArgumentTypeError, SolverError
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.deep.minimize import minimize_schatten
from encollapse.ufm.deep.model import SchattenModel
from encollapse.ufm.mse.factors import DenseFactors, Factors, LazyFactors
from encollapse.ufm.mse.minimize import minimize, minimize_along
from encollapse.ufm.problem import Problem
from encollapse.ufm.relu.minimize import minimize_relu
from encollapse.ufm.relu.model import ReluModel
from encollapse.ufm.solution import Solution, Status
from encollapse.ufm.structured.by_count import affine_form, minimize_blocks


def solve(problem: Problem, *, throw: bool = True, near: Solution | None = None) -> Solution:
    """Find the minimizer of an unrestricted feature model, with a certificate.

    With one weight layer, linear features and room for the rank it is the global one. For a given bias the
    optimal outputs are a singular-value soft-thresholding of ``A - b uᵀ``, and over the bias alone the problem is
    smooth and strongly convex, so one decomposition and a few Newton steps give the global minimum of the
    non-convex problem :cite:p:`hong2023,cai2010`. The certificate does not trust that: it computes a lower
    bound from the result.

    Under another loss the convex problem is split into its fit and its penalties, which are minimized in turn
    :cite:p:`eckstein1992`; Newton steps follow where that leaves the duality gap above 1e-8.

    Several weight layers, a `feature_dim` below the rank, and features without negative entries are global where that
    is proved (``certificate.kind`` is ``theorem`` or ``duality_gap``), else the lowest stationary point of several
    starts (``stationary``) with a lower bound.

    Parameters
    ----------
    problem : Problem
        What to solve.
    throw : bool
        Raise if the certificate does not hold; otherwise hand the object back as it is.
    near : Solution, optional
        Of a problem that differs in the regularization only: where to start from, under another loss than MSE. It
        changes the time taken and not the result.

    Raises
    ------
    SolverError
        If `throw` is set and the result is not proved; the text is ``status.message``.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> round(ec.ufm.solve(problem).geometry.cosine(0, 1), 6)
    -0.333333
    """
    if not isinstance(problem, Problem):
        raise ArgumentTypeError(f"problem: expected a Problem, got {type(problem).__name__}")
    return _solve_all([problem], near, throw=throw)[0]


def solve_along(problem: Problem, bias_decays: Sequence[float]) -> tuple[Solution, ...]:
    """Solve a problem at several bias decays; what they share is computed once.

    Raises
    ------
    SolverError
        If one of the results is not proved.
    """
    return tuple(_solve_all([problem.with_bias_decay(value) for value in bias_decays]))


def _solve_all(problems: Sequence[Problem], near: Solution | None = None, *, throw: bool = True) -> list[Solution]:
    """Solve problems that differ in the bias decay only."""
    start = time.perf_counter()
    method = select_method(problems[0])
    if method in _TOGETHER:
        solutions = _TOGETHER[method](problems)
    else:
        solutions = []
        for problem in problems:
            solutions.append(_convex(problem, near) if method == "convex" else _ALONE[method](problem))
            near = solutions[-1]
    for i, (problem, found) in enumerate(zip(problems, solutions, strict=True)):
        if found.status is Status.RANK_BINDS and problem.loss == "mse":
            solutions[i] = _spectral(problem, found.certificate.lower_bound)
    seconds = (time.perf_counter() - start) / len(problems)
    solutions = [replace(found, seconds=seconds) for found in solutions]
    for found in solutions:
        if throw and not found.status.success:
            raise SolverError(
                f"{found.status.message} ({found.problem!r}; solve(..., throw=False) returns what was found)"
            )
    return solutions


def select_method(problem: Problem) -> str:
    """Name of the method that :func:`solve` takes for a problem.

    ``"blocks"``: affine images of one-hot labels, at any number of classes. ``"dense"``: any
    labels, by a singular value decomposition of the (q, K) label matrix. ``"spectral"``: several weight layers;
    it also follows where ``"dense"`` or ``"blocks"`` find a rank that `feature_dim` cannot hold. ``"relu"``: features
    without negative entries. ``"convex"``: another loss than MSE.
    """
    if problem.loss != "mse":
        return "convex"
    if problem.features == "relu":
        return "relu"
    if problem.depth > 1:
        return "spectral"
    return "dense" if problem.kinds is None else "blocks"


def _dense(problems: Sequence[Problem]) -> list[Solution]:
    first = problems[0]
    scale = first.label_svd.labels.scale
    decays = np.array([problem.bias_decay for problem in problems])
    return [
        _solution(
            problem,
            loss=found.loss * scale**2,
            bias=found.bias * scale,
            certificate=found.certificate.in_units(scale**2),
            iterations=found.iterations,
            factors=LazyFactors(found, scale, problem.balance),
        )
        for problem, found in zip(
            problems, minimize_along(first.label_svd, first.threshold / scale, decays), strict=True
        )
    ]


def _blocks(problems: Sequence[Problem]) -> list[Solution]:
    first = problems[0]
    assert first.kinds is not None
    decays = np.array([problem.bias_decay for problem in problems])
    labels = first.label_svd if first.long_tail is None else first.long_tail
    minimizers = minimize_blocks(first.encoding, first.kinds, labels, first.threshold, decays, first.balance)
    return [
        _solution(
            problem,
            loss=found.loss,
            bias=found.bias,
            certificate=found.certificate,
            iterations=found.iterations,
            factors=found.factors,
        )
        for problem, found in zip(problems, minimizers, strict=True)
    ]


def _spectral(problem: Problem, known_bound: float = 0.0) -> Solution:
    label_svd = problem.dense_label_svd
    labels = label_svd.labels
    unit = labels.scale**2
    model = SchattenModel(
        label_svd, problem.schatten_prox.in_units(labels.scale), problem.rank_limit, problem.bias_decay
    )
    found = minimize_schatten(model, known_bound=known_bound / unit)
    singular = found.singular * labels.scale
    learned = singular[: found.left.shape[1]]
    # All p factors bear the same decay, (N λ_H Π λ_l)^{1/p} s^{2/p}; for the features it is N λ_H x².
    share = problem.common_decay / (problem.num_samples * problem.feature_decay)
    features = math.sqrt(share) * learned ** (1.0 / (problem.depth + 1))
    return _solution(
        problem,
        loss=found.loss * unit,
        bias=found.bias * labels.scale,
        certificate=found.certificate.in_units(unit),
        iterations=found.iterations,
        factors=DenseFactors(
            found.left * (learned / features), features[:, None] * found.right / labels.root_priors, singular
        ),
        unique=found.unique,
    )


def _relu(problem: Problem) -> Solution:
    labels = problem.dense_label_svd.labels
    unit, root = labels.scale**2, math.sqrt(problem.weight_decay)
    form = affine_form(problem.encoding) if problem.is_balanced else None
    affine = None
    if form is not None:
        contrast = abs(form[0]) / math.sqrt(problem.num_classes)
        affine = contrast / labels.scale, float(np.linalg.norm(labels.mean))
    linear = minimize(problem.dense_label_svd, problem.threshold / labels.scale, problem.bias_decay)
    found = minimize_relu(
        ReluModel(labels, problem.threshold / labels.scale, problem.bias_decay),
        # Gram matrices of non-negative vectors may need more dimensions than their rank.
        problem.feature_dim or 2 * problem.num_classes,
        affine=affine,
        known_bound=linear.certificate.lower_bound,
    )
    singular = np.zeros(min(problem.code_dim, problem.num_classes))
    values = np.linalg.svd(found.weight @ found.features, compute_uv=False)[: len(found.features)]
    singular[: len(values)] = values * labels.scale
    return _solution(
        problem,
        loss=found.loss * unit,
        bias=found.bias * labels.scale,
        certificate=found.certificate.in_units(unit),
        iterations=found.iterations,
        factors=DenseFactors(
            found.weight * (labels.scale / root), root * found.features / labels.root_priors, singular, rotatable=False
        ),
        unique=found.unique,
    )


def _convex(problem: Problem, near: Solution | None = None) -> Solution:
    table = problem.table
    assert problem.convex_loss is not None
    composite = Composite(table, problem.convex_loss, problem.threshold, problem.bias_decay)
    start = None if near is None else near.near
    if start is not None and (start[0].left.shape[0], start[0].right.shape[1]) != table.shape:
        raise ArgumentError("near: expected the solution of a problem with the same encoding and counts")
    found = minimize_composite(composite, start)
    point = found.point
    solution = _solution(
        problem,
        loss=found.loss,
        bias=table.every_bias(found.bias),
        certificate=found.certificate,
        iterations=found.iterations,
        factors=table.factors(point.left, point.singular, point.right, point.contrast, problem.balance),
    )
    return replace(solution, near=(point, found.bias))


def _solution(
    problem: Problem,
    *,
    loss: float,
    bias: FloatArray,
    certificate: Certificate,
    iterations: int,
    factors: Factors,
    unique: bool = True,
) -> Solution:
    """Add the status: what the evidence amounts to."""
    status = Status.OPTIMAL if factors.rank else Status.COLLAPSED
    if certificate.kind == "stationary":
        status = Status.STATIONARY if certificate.holds else Status.NOT_STATIONARY
    elif not certificate.holds:
        status = Status.NOT_CERTIFIED
    if problem.feature_dim is not None and problem.feature_dim < factors.rank:
        status = Status.RANK_BINDS
        certificate = replace(certificate, kind="none", holds=False)
    return Solution(
        problem=problem,
        loss=loss,
        bias=checks.read_only(bias),
        certificate=certificate,
        status=status,
        iterations=iterations,
        seconds=0.0,
        factors=factors,
        unique=unique,
    )


_TOGETHER: dict[str, Callable[[Sequence[Problem]], list[Solution]]] = {"dense": _dense, "blocks": _blocks}
_ALONE: dict[str, Callable[[Problem], Solution]] = {"spectral": _spectral, "relu": _relu}
