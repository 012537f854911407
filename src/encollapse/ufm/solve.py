"""The exact global minimiser of the unrestricted feature model under MSE."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from encollapse import _checks
from encollapse._typing import FloatArray
from encollapse.errors import ArgumentTypeError, SolverError
from encollapse.ufm.certificate import duality_gap
from encollapse.ufm.newton import split_mean
from encollapse.ufm.problem import Problem
from encollapse.ufm.reduction import EPS
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
    reduction = problem.reduction
    threshold = problem.threshold / reduction.scale
    shift, bias, iterations = _split(problem, threshold)
    left, singular, right = np.linalg.svd(
        reduction.centered + np.outer(shift, reduction.root_priors), full_matrices=False
    )
    # Singular values that exceed c by rounding only are not learnt.
    excess = singular - threshold
    learnt = excess > 8 * EPS * max(threshold, float(singular[0]))
    shrunk = np.where(learnt, excess, 0.0)
    rank = int(learnt.sum())
    outputs = (left[:, :rank] * shrunk[:rank]) @ right[:rank]
    clipped = (left * np.minimum(singular, threshold)) @ right
    loss, certificate = duality_gap(
        reduction, outputs, clipped, float(shrunk.sum()), shift, bias, threshold, problem.bias_decay
    )
    status = Status.COLLAPSED if rank == 0 else Status.OPTIMAL
    if not certificate.holds:
        status = Status.NOT_CERTIFIED
    unit = reduction.scale**2
    certificate = replace(certificate, gap=certificate.gap * unit, lower_bound=certificate.lower_bound * unit)
    if problem.feature_dim is not None and problem.feature_dim < rank:
        status = Status.RANK_BINDS
        certificate = replace(certificate, kind="none", holds=False)
    solution = Solution(
        problem=problem,
        loss=loss * unit,
        bias=_checks.read_only(bias * reduction.scale),
        singular_values=_checks.read_only(shrunk * reduction.scale),
        certificate=certificate,
        status=status,
        iterations=iterations,
        seconds=time.perf_counter() - start,
        left=_checks.read_only(left[:, :rank].copy()),
        right=_checks.read_only(right[:rank].copy()),
    )
    if throw and not status.success:
        raise SolverError(f"{status.message} ({problem!r}; solve(..., throw=False) returns what was found)")
    return solution


def _split(problem: Problem, threshold: float) -> tuple[FloatArray, FloatArray, int]:
    """Split the mean label, in units of the reduction: (shift, bias, Newton steps)."""
    reduction = problem.reduction
    mean = reduction.mean
    if problem.bias_decay == 0.0:
        return np.zeros_like(mean), mean.copy(), 0
    if math.isinf(problem.bias_decay):
        return mean.copy(), np.zeros_like(mean), 0
    split = split_mean(reduction.spectrum, reduction.coordinates, threshold, problem.bias_decay)
    return reduction.basis @ split.shift, reduction.basis @ split.bias, split.iterations
