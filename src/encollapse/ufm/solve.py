"""The exact global minimizer of the unrestricted feature model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar, overload

from encollapse._internal import checks
from encollapse.errors import SolverError
from encollapse.ufm.methods import method_of
from encollapse.ufm.nonconvex.deep_relu import DeepReluProblem, DeepReluSolution, solve_deep_relu
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution
from encollapse.ufm.tail.linear_tail import TailProblem, TailSolution, solve_linear_tail
from encollapse.ufm.tail.sample_norm import SampleNormProblem
from encollapse.ufm.tail.sample_norm_minimum import solve_sample_norm

S = TypeVar("S", bound=Solution)


def select_method(problem: Problem | TailProblem | SampleNormProblem | DeepReluProblem) -> str:
    """Name of the method that :func:`solve` takes for a problem.

    Parameters
    ----------
    problem : Problem, TailProblem, or what :func:`sample_norm_problem` or :func:`deep_relu_problem` returns
        What is to be solved.

    Returns
    -------
    str
        * ``"weighted"``: classes that weigh differently, or another loss than MSE with a price of its own on the
          mean of the features. As ``"convex"``, without the splitting.
        * ``"priced"``: MSE with such a price, by the decomposition of ``"dense"`` for a scaled mean label.
        * ``"relu"``: features without negative entries, under any loss. Closed forms, else the best orthogonal frame
          where that is proved to be the minimum, else the lowest of several descents.
        * ``"convex"``: another loss than MSE. Splitting, then Newton steps in the factors of the outputs, until the
          duality gap closes.
        * ``"deep loss"``: another loss than MSE with several weight layers, the lowest of several descents.
        * ``"spectral"``: several weight layers under MSE. Closed forms, else Newton steps for the bias from several
          starts. It also takes over where ``"blocks"`` or ``"dense"`` find a rank that `feature_dim` cannot hold.
        * ``"blocks"``: MSE with affine images of one-hot labels, or a simplex. Classes with one count are
          interchangeable, so that any number of them costs the same.
        * ``"dense"``: MSE with any other labels, by a singular value decomposition of the (q, K) label matrix.
        * ``"interior point"``: two layers over given activations under MSE, in a matrix of the size of the outputs.
        * ``"activations"``: the same under another loss, by Newton steps in the factors of the product of the layers.
        * ``"layers"``: more than two layers over given activations, the lowest of several descents.
        * ``"normalization"``: a normalization of each sample. Closed forms where they are proved, else the lowest of
          several descents.
        * ``"relu layers"``: a ReLU between the layers. Deep neural collapse where it is proved, else the lowest of
          several descents.

    Raises
    ------
    ArgumentTypeError
        If it is none of these problems.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=1e-4)
    >>> ec.ufm.select_method(ec.ufm.Problem(ec.encodings.one_hot(1000), 7, **decays))
    'blocks'
    >>> ec.ufm.select_method(ec.ufm.Problem(ec.encodings.one_hot(3), 7, loss="cross_entropy", **decays))
    'convex'
    """
    if isinstance(problem, TailProblem):
        if problem.layers > 2:
            return "layers"
        return "interior point" if problem.loss == "mse" else "activations"
    if isinstance(problem, SampleNormProblem):
        return "normalization"
    if isinstance(problem, DeepReluProblem):
        return "relu layers"
    return method_of(checks.instance(problem, "problem", Problem)).name


@overload
def solve(problem: TailProblem, *, throw: bool = True, warm_start: Solution | None = None) -> TailSolution: ...
@overload
def solve(problem: DeepReluProblem, *, throw: bool = True, warm_start: Solution | None = None) -> DeepReluSolution: ...
@overload
def solve(
    problem: Problem | SampleNormProblem, *, throw: bool = True, warm_start: Solution | None = None
) -> Solution: ...
def solve(
    problem: Problem | TailProblem | SampleNormProblem | DeepReluProblem,
    *,
    throw: bool = True,
    warm_start: Solution | None = None,
) -> Solution:
    """Find the minimizer of an unrestricted feature model, with a certificate.

    With one weight layer, linear features and room for the rank it is the global one. For a given bias the
    optimal outputs are a singular-value soft-thresholding of ``A - b uᵀ``, and over the bias alone the problem is
    smooth and strongly convex, so one decomposition and a few Newton steps give the global minimum of the
    non-convex problem :cite:p:`hong2023,cai2010`. The certificate does not trust that: it computes a lower
    bound from the result.

    Under another loss the convex problem is split into its fit and its penalties, which are minimized in turn
    :cite:p:`eckstein1992`. Newton steps follow where that leaves the duality gap above 1e-8.

    Several weight layers, a `feature_dim` below the rank, and features without negative entries are global where that
    is proved (``certificate.kind`` is ``theorem`` or ``duality_gap``), else the lowest stationary point of several
    starts (``stationary``) with a lower bound.

    Parameters
    ----------
    problem : Problem
        What to solve.
    throw : bool
        Raise if the certificate does not hold. Otherwise hand the object back as it is.
    warm_start : Solution, optional
        Of a problem that differs in the regularization only: where to start from, under another loss than MSE. It
        changes the time taken and not the result.

    Returns
    -------
    Solution
        With its certificate and status. :func:`select_method` names the method.

    Raises
    ------
    SolverError
        If `throw` is set and the result is not proved. The text is ``status.message``.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> round(ec.ufm.solve(problem).geometry.cosine(0, 1), 6)
    -0.333333
    """
    checks.flag(throw, "throw")
    if isinstance(problem, TailProblem):
        return _checked(solve_linear_tail(problem), throw=throw)
    if isinstance(problem, SampleNormProblem):
        return _checked(solve_sample_norm(problem), throw=throw)
    if isinstance(problem, DeepReluProblem):
        return _checked(solve_deep_relu(problem), throw=throw)
    checks.instance(problem, "problem", Problem)
    if warm_start is not None:
        checks.instance(warm_start, "warm_start", Solution)
    return _solve_all([problem], warm_start, throw=throw)[0]


def solve_along(problem: Problem, bias_decays: Sequence[float]) -> tuple[Solution, ...]:
    """Solve a problem at several bias decays. What they share is computed once.

    Raises
    ------
    SolverError
        If one of the results is not proved.
    """
    return tuple(_solve_all([problem.with_bias_decay(value) for value in bias_decays]))


def _solve_all(
    problems: Sequence[Problem], warm_start: Solution | None = None, *, throw: bool = True
) -> list[Solution]:
    """Solve problems that differ in the bias decay only."""
    start = time.perf_counter()
    minima = method_of(problems[0]).minimize(problems, None if warm_start is None else warm_start.warm_start)
    seconds = (time.perf_counter() - start) / len(problems)
    solutions = [Solution.of(problem, found, seconds) for problem, found in zip(problems, minima, strict=True)]
    return [_checked(found, throw=throw) for found in solutions]


def _checked(found: S, *, throw: bool) -> S:
    if throw and not found.status.success:
        raise SolverError(f"{found.status.message} ({found.problem!r}; solve(..., throw=False) returns what was found)")
    return found
