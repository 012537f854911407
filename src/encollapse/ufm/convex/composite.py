"""The convex problem that the UFM reduces to under any convex loss, and its dual bound.

``min_{Z, b}  Σ_k π_k ℓ(z_k/u_k + b; e_k) + c |Z|_* + λ_b/2 |b|²``
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.convex.output_maps import OutputMap
from encollapse.ufm.losses.convex_loss import ConvexLoss, soft
from encollapse.ufm.mse.minimize import ThinSVD

RELATIVE_TOLERANCE = 1e-8
"""Relative duality gap up to which a certificate of a convex loss holds."""

_ROUNDING = 64 * EPS  # of the mean gradient
_REPAIRED_UP_TO = 1.0  # above this bias decay an error of Y u costs less than its repair


@dataclass(frozen=True, eq=False)
class GroupedSVD(ThinSVD):
    """Singular value decomposition of the unknown Z in the coordinates of a table.

    Attributes
    ----------
    left, singular, right : (n, r), (r,), (r, m)
        Of the matrix. All singular values are positive.
    contrast : (g,)
        ``ζ``, with signs.
    """

    contrast: FloatArray

    @cached_property
    def matrix(self) -> FloatArray:
        """The matrix itself, (n, m)."""
        return np.asarray((self.left * self.singular) @ self.right)

    @property
    def is_zero(self) -> bool:
        """Whether nothing is learned."""
        return not self.singular.size and not self.contrast.any()

    def nuclear_norm(self, table: OutputMap) -> float:
        """Sum of the singular values of Z."""
        return float(self.singular.sum() + table.contrasts @ np.abs(self.contrast))


Start: TypeAlias = tuple[GroupedSVD, FloatArray]
"""A point and its bias, in the coordinates of a table."""


class DualCandidate(NamedTuple):
    """Minus a point Y of the dual problem for each output, the part of its value that the bias takes, and rounding."""

    gradient: FloatArray
    penalty: float
    slack: float


@dataclass(frozen=True, eq=False)
class Composite:
    """The convex problem in the coordinates of a table. `threshold` is c."""

    table: OutputMap
    loss: ConvexLoss
    threshold: float
    bias_decay: float

    @property
    def smoothness(self) -> float:
        """Largest second derivative of the fit in Z."""
        return self.loss.smoothness * self.table.steepness

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias at all."""
        return not math.isinf(self.bias_decay)

    def penalty(self, bias: FloatArray) -> float:
        """``λ_b/2 |b|²``."""
        return 0.5 * self.bias_decay * float(self.table.outputs @ bias**2) if self.has_bias else 0.0

    def fit(self, outputs: FloatArray) -> float:
        """Mean loss of the outputs (R, C)."""
        t = self.table
        return float(t.weights @ self.loss.value(outputs, t.targets, t.copies))

    def gradient(self, outputs: FloatArray) -> FloatArray:
        """Derivative of the loss for each output, (R, C)."""
        return self.loss.gradient(outputs, self.table.targets, self.table.copies)

    def pull(self, change: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Derivatives for matrix, contrasts and bias from those for each output."""
        return self.table.adjoint(change * self.table.copies * self.table.weights)

    def value(self, point: GroupedSVD, bias: FloatArray) -> float:
        """The objective."""
        outputs = self.table.forward(point.matrix, point.contrast, bias)
        return self.fit(outputs) + self.threshold * point.nuclear_norm(self.table) + self.penalty(bias)

    def start(self) -> Start:
        """Return the point where nothing is learned and its best bias."""
        t = self.table
        n, m = t.shape
        nothing = GroupedSVD(np.zeros((n, 0)), np.zeros(0), np.zeros((0, m)), np.zeros_like(t.contrasts))
        if not self.has_bias:
            return nothing, np.zeros_like(t.outputs)

        def slope(bias: FloatArray) -> FloatArray:
            return t.mean(self.gradient(t.forward(nothing.matrix, nothing.contrast, bias)))

        return nothing, self.loss.intercept(t.mean(t.targets), t.outputs, self.bias_decay, slope)

    def shrink(
        self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray, threshold: float | None = None
    ) -> GroupedSVD:
        """One proximal gradient step in Z. It never raises the objective and finds the rank :cite:p:`cai2010`.

        The step is one over the largest second derivative of the fit in Z. `threshold` replaces c.
        """
        t = self.table
        c = self.threshold if threshold is None else threshold
        to_matrix, to_contrast, _ = self.pull(self.gradient(t.forward(matrix, contrast, bias)))
        step = 1.0 / self.smoothness
        left, singular, right = np.linalg.svd(matrix - step * to_matrix, full_matrices=False)
        kept = singular > c * step
        moved = contrast - step * to_contrast / np.maximum(t.contrasts, 1.0)
        shrunk = np.sign(moved) * np.maximum(np.abs(moved) - c * step, 0.0)
        return GroupedSVD(
            left[:, kept].copy(), singular[kept] - c * step, right[kept].copy(), np.where(t.contrasts > 0, shrunk, 0.0)
        )

    def certified(self, point: GroupedSVD, bias: FloatArray) -> tuple[float, Certificate]:
        """Objective of any point and a lower bound of the minimum, from the dual candidate of that point."""
        loss = self.value(point, bias)
        return loss, self.certificate(loss, self.table.forward(point.matrix, point.contrast, bias), bias)

    def certificate(self, loss: float, outputs: FloatArray, bias: FloatArray) -> Certificate:
        """The gap of an objective to the dual bound from any outputs and bias."""
        c, dual = self.threshold, self.dual_candidate(outputs, bias)
        matrix, contrast, _ = self.pull(dual.gradient)
        largest = float(np.linalg.norm(matrix, 2))
        largest = max([largest, *(np.abs(contrast) / np.maximum(self.table.contrasts, 1.0))])
        bound = self.dual_value(dual, 1.0 if largest <= c else c / largest)
        return certify(loss, min(bound, loss), tolerance=RELATIVE_TOLERANCE)

    def dual_candidate(self, outputs: FloatArray, bias: FloatArray) -> DualCandidate:
        """Return a point of the dual problem, but for the penalty's constraint, from any outputs and bias.

        The dual is to maximize ``-Σ_k π_k ℓ*(-Y_k/u_k; e_k) - |Y u|²/(2λ_b)`` over ``|Y|_op ≤ c`` (``Y u = 0`` at
        ``λ_b = 0``, no last term at ∞). The candidate is minus the gradient at the outputs, which lies in the domain
        of the conjugate. So does every multiple of it between 0 and 1, so it can be scaled into the ball. For small
        ``λ_b`` it is first moved within the domain to ``Y u = λ_b b``. It is feasible whatever the outputs, so the
        bound holds even if the solver failed.
        """
        t = self.table
        gradient = self.gradient(outputs)
        # Loss and conjugate meet at <y, o>, and neither is known better than that.
        rounding = 8 * EPS * float(t.weights @ (t.copies * np.abs(gradient * outputs)).sum(axis=0))
        if self.bias_decay <= _REPAIRED_UP_TO:
            moved = self._recentered(gradient, bias)
            if moved is None:
                return DualCandidate(np.zeros_like(gradient), 0.0, 0.0)
            return DualCandidate(moved[0], moved[1], moved[2] + rounding)
        if not self.has_bias:
            return DualCandidate(gradient, 0.0, rounding)
        mean = t.mean(gradient)
        return DualCandidate(gradient, 0.5 * float(t.outputs @ mean**2) / self.bias_decay, rounding)

    def dual_value(self, dual: DualCandidate, share: float) -> float:
        """Value of the dual problem, less rounding, at a share from 0 to 1 of a candidate."""
        t = self.table
        conjugate = self.loss.conjugate(share * dual.gradient, t.targets, t.copies)
        bound = -float(t.weights @ conjugate) - share**2 * dual.penalty
        # Hard targets keep relative precision down to a loss of 0. A soft one that is not met rounds at the level of 1.
        rounded = soft(t.targets) & dual.gradient.any(axis=0)
        return float(bound) - (8 * EPS * float(t.weights @ rounded) + dual.slack)

    def _recentered(self, gradient: FloatArray, bias: FloatArray) -> tuple[FloatArray, float, float] | None:
        """Move the gradient to the mean ``-λ_b b``, or to 0 where that is out of reach.

        Also returns ``λ_b/2 |b|²`` and what the rounding of the mean may add to the dual value. Any b will do, so where
        no gradient has the mean of this one, it is taken without its own mean.
        """
        t = self.table
        centered = bias - t.outputs @ bias / t.outputs.sum()
        size = t.mean(np.abs(gradient) + t.spread(np.ones_like(bias)) * soft(t.targets))
        for b in (bias, centered, np.zeros_like(bias)):
            wanted = -self.bias_decay * b
            moved = self.loss.recentered(gradient, t.targets, t.copies, t.mean, t.spread, wanted)
            if moved is None:
                continue
            off = np.abs(t.mean(moved) - wanted)
            if float(t.outputs @ off) <= _ROUNDING * float(t.outputs @ size):
                return moved, self.penalty(b), float((t.outputs * np.abs(b)) @ off)
        return None
