"""Lower bounds for non-negative features from the dual problem, whose constraint is that a matrix is copositive.

With non-negative features the outputs ``Z = W X`` cost ``c Ω(Z)``, where Ω is the smallest ``Σ_r |w_r| |x_r|`` over all
``Z = Σ_r w_r x_rᵀ`` with ``x_r ≥ 0``. So a point Y of the dual problem is feasible where ``|Y x| ≤ c |x|`` for all
``x ≥ 0``: where ``c² I - YᵀY`` is copositive. For every symmetric ``N ≥ 0``, entry by entry, and ``x ≥ 0``

    xᵀYᵀYx ≤ xᵀ(YᵀY + N)x ≤ θ |x|²,   θ the largest eigenvalue of YᵀY + N,

so Y times ``min(1, c/√θ)`` is feasible whatever N is. The better the split N, the better the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray

_LARGEST = 200
"""Above this many classes the split is not optimized."""


@dataclass(frozen=True, eq=False)
class DualPoint:
    """A point Y of the dual problem.

    Attributes
    ----------
    gram : (K, K)
        ``YᵀY``.
    value : callable
        Best value of the dual problem at multiples of Y from 0 to the share that it is given.
    """

    gram: FloatArray
    value: Callable[[float], float]


class NonnegativeModel(Protocol):
    """The objective over non-negative features (d, K) and a vector `rest` of all that has no sign constraint."""

    @property
    def threshold(self) -> float:
        """``c``."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def weight_price(self) -> float:
        """The classifier costs half of this times its square. The features cost c² over it."""

    def value_and_gradient(self, features: FloatArray, rest: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """The objective and its derivatives in both."""

    def rest_of(self, outputs: FloatArray, features: FloatArray, rest: FloatArray) -> FloatArray:
        """The vector that gives other features the `outputs` Z (q, K) and the bias of `rest`."""

    def outputs(self, features: FloatArray, rest: FloatArray) -> FloatArray:
        """``Z`` (q, K)."""

    def dual(self, features: FloatArray, rest: FloatArray) -> DualPoint:
        """Return minus the gradient in Z at any features, whatever their signs."""


def relu_lower_bound(
    model: NonnegativeModel,
    features: FloatArray,
    rest: FloatArray,
    splits: Sequence[FloatArray] = (),
    enough: float = math.inf,
) -> float:
    """Return a value that the objective goes below at no non-negative features.

    Parameters
    ----------
    model : NonnegativeModel
        The objective.
    features, rest
        Where the dual point is taken: anywhere, best at a minimizer of the relaxation.
    splits : matrices (K, K)
        Symmetric N ≥ 0 to try, besides those that are always tried.
    enough : float
        A bound from which on none better is wanted.
    """
    dual, c = model.dual(features, rest), model.threshold
    simple = raised(dual.gram)

    def at(split: FloatArray) -> float:
        theta = float(np.linalg.eigvalsh(dual.gram + split)[-1]) * (1.0 + 8 * EPS)
        return dual.value(1.0 if theta <= c**2 else c / math.sqrt(theta))

    best = max(at(split) for split in (np.zeros_like(simple), simple, *splits))
    if best < enough and 2 < len(simple) <= _LARGEST:
        best = max(best, at(best_split(dual.gram, c, simple)))
    return best


def raised(gram: FloatArray) -> FloatArray:
    """The split that raises entries of ``YᵀY`` below 0 to 0. It proves all where classes with ``|Y_k| = c`` do so."""
    split = np.maximum(-gram, 0.0)
    np.fill_diagonal(split, 0.0)
    return split


def best_split(gram: FloatArray, threshold: float, start: FloatArray) -> FloatArray:
    """N ≥ 0, zero on the diagonal, that leaves the least of ``c² I - YᵀY - N`` outside the semidefinite cone."""
    size = len(gram)
    rows, columns = np.triu_indices(size, 1)
    scale = max(threshold**2, float(np.abs(gram).max()))
    slack = (threshold**2 * np.eye(size) - gram) / scale

    def outside(entries: FloatArray) -> tuple[float, FloatArray]:
        rest = slack.copy()
        rest[rows, columns] -= entries
        rest[columns, rows] -= entries
        values, vectors = np.linalg.eigh(rest)
        negative = np.minimum(values, 0.0)
        below = (vectors * negative) @ vectors.T
        return 0.5 * float(negative @ negative), -2.0 * below[rows, columns]

    found = minimize(
        outside,
        start[rows, columns] / scale,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(rows),
        options={"maxiter": 2000, "maxfun": 3000, "ftol": 0.0, "gtol": 1e-15},
    )
    result = np.zeros_like(gram)
    result[rows, columns] = result[columns, rows] = found.x * scale
    return result
