"""Mean cosines between the class means of all solutions of a path, together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.mse.factors import LazyFactors
from encollapse.ufm.mse.minimize import Minimizer, clear
from encollapse.ufm.mse.resolvent.polar_gram import PolarGram
from encollapse.ufm.solution import Solution

_FEW = 8


def mean_cosines(solutions: Sequence[Solution]) -> FloatArray:
    """Average cosine between the uncentered class means of each solution, (m,).

    Those that share the resolvents of one decomposition are computed together, the others from their geometry.
    """
    result = np.full(len(solutions), np.nan)
    together: dict[int, list[int]] = {}
    minimizers: dict[int, Minimizer] = {}
    for i, solution in enumerate(solutions):
        if isinstance(solution.factors, LazyFactors) and solution.factors.minimizer.pencil.usable:
            minimizers[i] = solution.factors.minimizer
            together.setdefault(id(minimizers[i].pencil), []).append(i)
    for members in together.values():
        # One small problem alone is faster by its singular vectors.
        if len(members) < _FEW and not minimizers[members[0]].resolved:
            continue
        result[members] = _from_resolvents([minimizers[i] for i in members])
    for i in np.flatnonzero(np.isnan(result)).tolist():
        result[i] = solutions[i].geometry.mean_cosine()
    return result


def _from_resolvents(minimizers: Sequence[Minimizer]) -> FloatArray:
    """Mean cosines of minimizers with one pencil; NaN where a class mean is too short for it."""
    first = minimizers[0].label_svd
    u = first.labels.root_priors
    values = PolarGram(minimizers[0].pencil, np.array([found.shift for found in minimizers]), first.right, u)
    squares = values.diagonals / u**2
    known = clear(values.diagonals, squares, minimizers[0].pencil.largest)
    norms = np.sqrt(np.where(known[:, None], squares, 1.0))
    pairs = len(u) * (len(u) - 1.0)
    return np.where(known, (values.forms(1.0 / norms / u) - len(u)) / pairs, np.nan)
