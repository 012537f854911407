"""Solutions along the bias decay: the transition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal import checks
from encollapse._internal.shown import Shown
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.mse.factors import LazyFactors
from encollapse.ufm.mse.minimize import ThresholdedLabels, clear
from encollapse.ufm.mse.resolvent.polar_gram import PolarGram
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution
from encollapse.ufm.solve import solve_along


@dataclass(frozen=True)
class BiasPath(Shown):
    """Minimizers of one problem along a grid of bias decays.

    Attributes
    ----------
    bias_decays : (n,)
        The grid, in the order given.
    solutions : tuple of Solution
        One for each.
    critical : float or None
        Critical bias decay of the problem, or None where it is not known.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> path = ec.ufm.bias_path(problem, [0.0, 0.1, 1.0, float("inf")])
    >>> path.mean_cosine.round(4) + 0.0
    array([-0.3333, -0.0785, -0.0073,  0.    ])
    >>> round(path.critical, 6), len(path.solutions)
    (0.029108, 4)
    """

    bias_decays: FloatArray
    solutions: tuple[Solution, ...]
    critical: float | None

    @cached_property
    def mean_cosine(self) -> FloatArray:
        """Average cosine between the uncentered class means, (n,).

        ``-1/(K - 1)`` for a simplex equiangular tight frame, 0 for an orthogonal frame, NaN where nothing is learned.
        Computed on first use, for all bias decays together.
        """
        return np.asarray(checks.read_only(_mean_cosines(self.solutions)))


def bias_path(problem: Problem, bias_decays: Iterable[float]) -> BiasPath:
    """Solve `problem` at each of `bias_decays` (its own is ignored). One decomposition serves all.

    Parameters
    ----------
    problem : Problem
        What to solve.
    bias_decays : iterable of floats
        ``λ_b``, each from 0 to ``math.inf``, in any order.

    Returns
    -------
    BiasPath
        One solution for each, in the order given.

    Raises
    ------
    ArgumentError
        If the grid is empty, or a value is negative or NaN.
    SolverError
        If one of the results is not proved.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> [solution.rank for solution in ec.ufm.bias_path(problem, [0.02, 0.04]).solutions]
    [3, 4]
    """
    checks.instance(problem, "problem", Problem)
    values = checks.sequence(bias_decays, "bias_decays", "several numbers, as in [0.5]")
    grid = [checks.nonnegative(value, f"bias_decays[{i}]", allow_infinity=True) for i, value in enumerate(values)]
    if not grid:
        raise ArgumentError("bias_decays: expected at least one value, got none")
    critical = problem.critical_bias_decay()
    return BiasPath(checks.read_only(np.array(grid)), solve_along(problem, grid), critical)


def transition_grid(turning: float | None) -> list[float]:
    """Bias decays that show a transition: half decades from 0.001 to 1000, where the frame turns, 0 and ∞."""
    known = {0.0, *(10.0 ** (e / 2) for e in range(-6, 7)), math.inf}
    return sorted(known if turning is None else known | {turning})


_FEW = 8  # solutions below which singular vectors are faster, for small problems


def _mean_cosines(solutions: Sequence[Solution]) -> FloatArray:
    """Average cosine between the uncentered class means of each solution, (m,).

    Those that share the resolvents of one decomposition are computed together, the others from their geometry.
    """
    result = np.full(len(solutions), np.nan)
    together: dict[int, list[int]] = {}
    outputs: dict[int, ThresholdedLabels] = {}
    for i, solution in enumerate(solutions):
        if isinstance(solution.factors, LazyFactors) and solution.factors.outputs.pencil.usable:
            outputs[i] = solution.factors.outputs
            together.setdefault(id(outputs[i].pencil), []).append(i)
    for members in together.values():
        # One small problem alone is faster by its singular vectors.
        if len(members) < _FEW and not outputs[members[0]].resolved:
            continue
        result[members] = _from_resolvents([outputs[i] for i in members])
    for i in np.flatnonzero(np.isnan(result)).tolist():
        result[i] = solutions[i].geometry.mean_cosine()
    return result


def _from_resolvents(outputs: Sequence[ThresholdedLabels]) -> FloatArray:
    """Mean cosines of outputs with one pencil, or NaN where a class mean is too short for it."""
    pencil, first = outputs[0].pencil, outputs[0].label_svd
    u = first.labels.root_priors
    values = PolarGram(pencil, np.array([found.shift for found in outputs]), first.right, u)
    squares = values.diagonals / u**2
    known = clear(values.diagonals, squares, pencil.largest)
    norms = np.sqrt(np.where(known[:, None], squares, 1.0))
    pairs = len(u) * (len(u) - 1.0)
    return np.where(known, (values.forms(1.0 / norms / u) - len(u)) / pairs, np.nan)
