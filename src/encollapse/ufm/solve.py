"""The exact global minimiser of the unrestricted feature model under MSE."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from encollapse import _checks
from encollapse._typing import FloatArray
from encollapse.errors import ArgumentTypeError, SolverError
from encollapse.ufm.blocks import minimise_blocks
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.factors import Factors, balanced_factors
from encollapse.ufm.mse import minimise
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution, Status


def solve(problem: Problem, *, throw: bool = True) -> Solution:
    """Find the global minimiser of an unrestricted feature model, with a certificate.

    For a given bias the optimal outputs are a singular-value soft-thresholding of ``A - b uᵀ``, and over the
    bias alone the problem is smooth and strongly convex, so one decomposition and a few Newton steps give
    the global minimum of the non-convex problem :cite:p:`massion2026,cai2010`. The certificate does not
    trust that: it computes a lower bound from the result.

    Parameters
    ----------
    problem : Problem
        What to solve.
    throw : bool
        Raise if the certificate does not hold; otherwise hand the object back as it is.

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
    start = time.perf_counter()
    solution = _METHODS[select_method(problem)](problem)
    solution = replace(solution, seconds=time.perf_counter() - start)
    if throw and not solution.status.success:
        raise SolverError(
            f"{solution.status.message} ({problem!r}; solve(..., throw=False) returns what was found)"
        )
    return solution


def select_method(problem: Problem) -> str:
    """Name of the method that :func:`solve` takes for a problem.

    ``"blocks"``: structured labels with few distinct class counts, at any number of classes. ``"dense"``: any
    labels, by a singular value decomposition of the (q, K) label matrix.
    """
    return "dense" if problem.kinds is None else "blocks"


def _dense(problem: Problem) -> Solution:
    labels = problem.reduction.labels
    found = minimise(problem.reduction, problem.threshold / labels.scale, problem.bias_decay)
    unit = labels.scale**2
    singular = found.singular * labels.scale
    rank = found.left.shape[1]
    certificate = replace(
        found.certificate,
        gap=found.certificate.gap * unit,
        lower_bound=found.certificate.lower_bound * unit,
    )
    return _solution(
        problem,
        loss=found.loss * unit,
        bias=found.bias * labels.scale,
        singular_values=singular,
        certificate=certificate,
        iterations=found.iterations,
        factors=balanced_factors(
            found.left, singular[:rank], found.right, labels.root_priors, problem.balance
        ),
    )


def _blocks(problem: Problem) -> Solution:
    assert problem.kinds is not None
    found = minimise_blocks(
        problem.encoding,
        problem.kinds,
        problem.reduction,
        problem.threshold,
        problem.bias_decay,
        problem.balance,
    )
    return _solution(
        problem,
        loss=found.loss,
        bias=found.bias,
        singular_values=found.singular_values,
        certificate=found.certificate,
        iterations=found.iterations,
        factors=found.factors,
    )


def _solution(
    problem: Problem,
    *,
    loss: float,
    bias: FloatArray,
    singular_values: FloatArray,
    certificate: Certificate,
    iterations: int,
    factors: Factors,
) -> Solution:
    """Add the status: what the evidence amounts to."""
    status = Status.OPTIMAL if factors.rank else Status.COLLAPSED
    if not certificate.holds:
        status = Status.NOT_CERTIFIED
    if problem.feature_dim is not None and problem.feature_dim < factors.rank:
        status = Status.RANK_BINDS
        certificate = replace(certificate, kind="none", holds=False)
    return Solution(
        problem=problem,
        loss=loss,
        bias=_checks.read_only(bias),
        singular_values=_checks.read_only(singular_values),
        certificate=certificate,
        status=status,
        iterations=iterations,
        seconds=0.0,
        factors=factors,
    )


_METHODS: dict[str, Callable[[Problem], Solution]] = {"dense": _dense, "blocks": _blocks}
