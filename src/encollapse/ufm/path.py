"""Solutions along the bias decay: the transition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.path_cosines import mean_cosines
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution
from encollapse.ufm.solve import solve_along


@dataclass(frozen=True)
class BiasPath:
    """Minimizers of one problem along a grid of bias decays.

    Attributes
    ----------
    bias_decays : (n,)
        The grid, in the order given.
    solutions : tuple of Solution
        One for each.
    critical : float or None
        Critical bias decay of the problem; None where it is not known.
    """

    bias_decays: FloatArray
    solutions: tuple[Solution, ...]
    critical: float | None

    @cached_property
    def mean_cosine(self) -> FloatArray:
        """Average cosine between the uncentered class means, (n,).

        ``-1/(K - 1)`` for a simplex equiangular tight frame, 0 for an orthogonal frame; NaN where nothing is learned.
        Computed on first use, for all bias decays together.
        """
        return np.asarray(checks.read_only(mean_cosines(self.solutions)))


def bias_path(problem: Problem, bias_decays: Iterable[float]) -> BiasPath:
    """Solve `problem` at each of `bias_decays` (its own is ignored); one decomposition serves all.

    Raises
    ------
    ArgumentError
        If the grid is empty, or a value is negative or NaN.
    """
    grid = [checks.nonnegative(value, f"bias_decays[{i}]", allow_infinity=True) for i, value in enumerate(bias_decays)]
    if not grid:
        raise ArgumentError("bias_decays: expected at least one value, got none")
    critical = problem.critical_bias_decay()
    return BiasPath(checks.read_only(np.array(grid)), solve_along(problem, grid), critical)
