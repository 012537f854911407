"""Convex losses between outputs and targets: what the solver of the convex problem needs of one.

A loss acts on a *table*: one column for each kind of class, one row for each kind of output. ``copies[r, j]`` says how
many equal outputs row r stands for in column j (all ones where nothing is grouped).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encollapse._internal.typing import BoolArray, FloatArray

ROUNDING = 1e-15
"""Below this share of 1, what is left of a difference of probabilities is rounding."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second derivative of a loss in each column: ``diag(d) - f fᵀ``, the last term being optional.

    Attributes
    ----------
    diagonal, factor : (R, C)
        d and f. Both are per single output, so that sums over rows are weighed by `copies`.
    copies : (R, C)
        Outputs that each entry stands for.
    """

    diagonal: FloatArray
    copies: FloatArray
    factor: FloatArray | None = None

    def __call__(self, change: FloatArray) -> FloatArray:
        """Return the change of the gradient."""
        bent = self.diagonal * change
        if self.factor is not None:
            bent -= self.factor * np.einsum("rj,rj,rj->j", self.copies, self.factor, change)
        return np.asarray(bent)

    def solve(self, change: FloatArray, ridge: float) -> FloatArray:
        """Return the change of the outputs that bends the gradient, with `ridge` times the identity, so."""
        inverse = 1.0 / (self.diagonal + ridge)
        alone = inverse * change
        if self.factor is None:
            return alone
        counted = self.copies * self.factor
        scaled = inverse * self.factor
        left = 1.0 - np.einsum("rj,rj->j", counted, scaled)
        share = np.einsum("rj,rj->j", counted, alone) / np.maximum(left, ROUNDING)
        return np.asarray(alone + scaled * share)


class ConvexLoss(Protocol):
    """A convex loss ``ℓ(o; p)`` of outputs o and a target p, for each column of a table.

    Values are per column, and derivatives per single output: `copies` weighs sums over rows and nothing else.
    """

    name: str
    smoothness: float
    """Largest eigenvalue of the second derivative of ℓ, or a bound of it."""

    def targets(self, codewords: FloatArray) -> FloatArray:
        """Return the codewords (q, K) as targets, cleared of rounding. Raise ArgumentError if they are none."""

    def bounded(self, mean_target: FloatArray) -> bool:
        """Whether a bias without decay has a minimizer when the mean of the targets (q,) is this."""

    def value(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return ``ℓ(o; p)`` for each column."""

    def gradient(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the derivative for each output, to a small relative error even where it is tiny."""

    def curvature(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> Curvature:
        """Return the second derivative."""

    def conjugate(self, dual: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return ``sup_o <y, o> - ℓ(o; p)`` for each column y, infinity outside the domain."""

    def recentered(
        self,
        gradient: FloatArray,
        targets: FloatArray,
        copies: FloatArray,
        mean: Callable[[FloatArray], FloatArray],
        spread: Callable[[FloatArray], FloatArray],
        wanted: FloatArray,
    ) -> FloatArray | None:
        """Move gradients, within the domain of the conjugate, so that their mean over the samples is `wanted`.

        `mean` takes a table to its sample average, one number an output (p,), and `spread` writes such numbers
        into every column. None where the domain has no such point.
        """

    def outputs(self, gradient: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return outputs whose gradient is near `gradient`, which need not be one of any outputs."""

    def intercept(
        self, mean_target: FloatArray, copies: FloatArray, decay: float, slope: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """Return the outputs b (p,), the same for all samples, with the least mean loss plus ``decay/2 Σ copies b²``.

        The mean target tells the mean loss where it is linear in the target. `slope`, the mean gradient at b, always.
        The decay is finite.
        """


def soft(targets: FloatArray) -> BoolArray:
    """Which columns ask for anything but 0 and 1: their gradients are differences that round at the level of 1."""
    return np.asarray(((targets != 0) & (targets != 1)).any(axis=0))
