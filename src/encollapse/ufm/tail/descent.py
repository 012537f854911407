"""Any convex loss over given activations: preconditioned descent on the factors, certified by the convex dual.

With ``G = L R`` the nuclear norm is the smallest ``½|L|² + ½|R|²``. The second derivative of the fit is near
``h ⊗ S`` with the second moments S of the activations and a mean curvature h of the loss, so in the eigenbasis of S
every entry of the factors is scaled by the root of its own second derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.convex.burer_monteiro import conjugate_gradients
from encollapse.ufm.convex.composite import Composite, GroupedSVD
from encollapse.ufm.convex.output_maps import OutputMap
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.tail.activations import Activations, Moments
from encollapse.ufm.tail.squared import Penalized, minimize_penalized

_ROUNDS = 20
_ITERATIONS = 100
_MEMORY = 30
_NEAR = 1e-2
"""Relative gap below which Newton steps take over from quasi-Newton steps."""
_NEWTON_STEPS = 12
_CONJUGATE_STEPS = 150
_REVIVED = 1e-3
"""Share of the largest singular value that is given to directions outside the range where the dual asks for more."""
_DEAD = 1e-9


@dataclass(frozen=True, eq=False)
class SampleOutputMap:
    """Outputs of the samples, one column each, from the outputs of their activations in the eigenbasis of S.

    It takes the place of the map for classes in :class:`~encollapse.ufm.convex.composite.Composite`.
    """

    activations: Activations
    basis: FloatArray
    targets: FloatArray

    @property
    def copies(self) -> FloatArray:
        """Ones."""
        return np.broadcast_to(np.ones(()), self.targets.shape)

    @property
    def weights(self) -> FloatArray:
        """``1/N`` for each sample."""
        return np.full(self.targets.shape[1], 1.0 / self.targets.shape[1])

    @property
    def outputs(self) -> FloatArray:
        """Ones."""
        return np.ones(len(self.targets))

    @property
    def contrasts(self) -> FloatArray:
        """None."""
        return np.zeros(0)

    @property
    def shape(self) -> tuple[int, int]:
        """(q, r)."""
        return len(self.targets), self.basis.shape[1]

    @property
    def direction(self) -> FloatArray:
        """The mean of the activations in this basis; a bias is no matrix here."""
        return np.asarray(self.activations.mean @ self.basis)

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (q, N)."""
        del contrast
        outputs = self.activations.outputs(matrix @ self.basis.T)
        outputs += bias[:, None]
        return outputs

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`."""
        return self.activations.gradient(table) @ self.basis, np.zeros(0), table.sum(axis=1)

    def spread(self, bias: FloatArray) -> FloatArray:
        """Write (q,) into every column."""
        return np.broadcast_to(bias[:, None], self.targets.shape)

    def mean(self, table: FloatArray) -> FloatArray:
        """Average over the samples."""
        return np.asarray(table.mean(axis=1))

    def composite(self, loss: ConvexLoss, threshold: float, bias_decay: float) -> Composite:
        """Return the convex problem over these outputs."""
        # It never asks a map for classifier and class means.
        return Composite(cast("OutputMap", self), loss, threshold, bias_decay)


def minimize_loss(
    activations: Activations, moments: Moments, loss: ConvexLoss, threshold: float, bias_decay: float, *, aim: float
) -> tuple[FloatArray, FloatArray, float, Certificate, int]:
    """Return G (q, r) in the eigenbasis, b, the objective, its certificate and the number of steps."""
    targets = loss.targets(activations.codewords)[:, activations.labels]
    table = SampleOutputMap(activations, moments.basis, targets)
    composite = table.composite(loss, threshold, bias_decay)
    zero, bias = composite.start()
    value, certificate = composite.certified(zero, bias)
    best = (zero.matrix, bias, value, certificate)
    slope = -composite.pull(composite.gradient(table.forward(zero.matrix, zero.contrast, bias)))[0]
    if certificate.relative_gap <= aim or float(np.linalg.norm(slope, 2)) <= threshold:
        return (*best, 0)
    curvature = _mean_curvature(composite, zero.matrix, bias)
    start = Penalized(curvature * moments.values, slope, threshold)
    rough = 1e-3 * threshold * float(np.linalg.norm(slope)) / (curvature * float(moments.values[-1]))
    matrix, steps = minimize_penalized(start, accuracy=rough)
    for _ in range(_ROUNDS):
        factors = _Factors.of(composite, moments, matrix, bias, revived=True)
        options = {"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "maxcor": _MEMORY, "ftol": 0.0, "gtol": 0.0}
        found = minimize(factors.objective, factors.start, jac=True, method="L-BFGS-B", options=options)
        steps += int(found.nit)
        matrix, bias = factors.product(found.x)
        now = _certified(composite, matrix, bias)
        for _ in range(_NEWTON_STEPS):
            best = now if now[3].relative_gap < best[3].relative_gap else best
            if not aim < now[3].relative_gap < _NEAR:
                break
            factors = _Factors.of(composite, moments, now[0], now[1])
            now = _certified(composite, *factors.product(factors.newton()))
            steps += 1
            if now[3].relative_gap > 0.5 * best[3].relative_gap:
                break
        best = now if now[3].relative_gap < best[3].relative_gap else best
        if best[3].relative_gap <= aim:
            break
    return (*best, steps)


def _certified(
    composite: Composite, matrix: FloatArray, bias: FloatArray
) -> tuple[FloatArray, FloatArray, float, Certificate]:
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    kept = singular > _DEAD * singular[0]
    point = GroupedSVD(left[:, kept], singular[kept], right[kept], np.zeros(0))
    return (point.matrix, bias, *composite.certified(point, bias))


def _mean_curvature(composite: Composite, matrix: FloatArray, bias: FloatArray) -> float:
    """Mean eigenvalue of the second derivative of the loss, from a random probe."""
    t = composite.table
    outputs = t.forward(matrix, np.zeros(0), bias)
    probe = np.random.default_rng(0).standard_normal(outputs.shape)
    bent = composite.loss.curvature(outputs, t.targets, t.copies)(probe)
    return max(float(np.sum(bent * probe) / np.sum(probe**2)), 1e-6 * composite.loss.smoothness)


@dataclass(frozen=True, eq=False)
class _Factors:
    """The objective over one vector of balanced factors and bias, each entry scaled by its second derivative.

    The bias is counted from where the activations would leave it if their mean were taken off, or a part of it: as in
    :class:`Moments`, that makes the second derivatives in G and in the bias separate.
    """

    composite: Composite
    mean: FloatArray
    left: FloatArray
    right: FloatArray
    bias: FloatArray
    scales: tuple[FloatArray, FloatArray, float]

    @classmethod
    def of(
        cls, composite: Composite, moments: Moments, matrix: FloatArray, bias: FloatArray, *, revived: bool = False
    ) -> _Factors:
        """Split `matrix`; with `revived`, every direction that it lacks gets a small start."""
        t, c = composite.table, composite.threshold
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        if revived:
            singular = np.maximum(singular, _REVIVED * singular[0])
        kept = singular > _DEAD * singular[0]
        root = np.sqrt(singular[kept])
        left, right = left[:, kept] * root, root[:, None] * right[kept]
        h = _mean_curvature(composite, matrix, bias)
        scales = (
            1.0 / np.sqrt(h * (right**2 @ moments.values) + c),
            1.0 / np.sqrt(h * np.outer((left**2).sum(axis=0), moments.values) + c),
            1.0 / math.sqrt(h + composite.bias_decay) if composite.has_bias else 0.0,
        )
        mean = moments.share * t.direction if composite.has_bias else np.zeros(len(moments.values))
        return cls(composite, mean, left, right, bias, scales)

    @property
    def start(self) -> FloatArray:
        """The vector of the factors that it was made of."""
        to_left, to_right, to_bias = self.scales
        parts = [(self.left / to_left).ravel(), (self.right / to_right).ravel()]
        if self.composite.has_bias:
            parts.append((self.bias + self.left @ (self.right @ self.mean)) / to_bias)
        return np.concatenate(parts)

    def _split(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        to_left, to_right, to_bias = self.scales
        first, second = self.left.size, self.left.size + self.right.size
        shift = x[second:] * to_bias if self.composite.has_bias else self.bias
        return (
            x[:first].reshape(self.left.shape) * to_left,
            x[first:second].reshape(self.right.shape) * to_right,
            shift,
        )

    def _joined(self, left: FloatArray, right: FloatArray, bias: FloatArray) -> FloatArray:
        to_left, to_right, to_bias = self.scales
        parts = [(left * to_left).ravel(), (right * to_right).ravel()]
        return np.concatenate([*parts, bias * to_bias] if self.composite.has_bias else parts)

    def product(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """G and b of a vector."""
        left, right, shift = self._split(x)
        return left @ right, shift - left @ (right @ self.mean)

    def _pulled(self, change: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Derivatives in G and b from those for the outputs and from the decay of the bias."""
        matrix, _, to_bias = self.composite.pull(change)
        if self.composite.has_bias:
            to_bias = to_bias + self.composite.bias_decay * bias
            matrix = matrix - np.outer(to_bias, self.mean)
        return matrix, to_bias

    def objective(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        k, c = self.composite, self.composite.threshold
        left, right, _ = self._split(x)
        matrix, bias = self.product(x)
        outputs = k.table.forward(matrix, np.zeros(0), bias)
        pull, to_bias = self._pulled(k.gradient(outputs), bias)
        value = k.fit(outputs) + k.penalty(bias) + 0.5 * c * (float(np.sum(left**2)) + float(np.sum(right**2)))
        return value, self._joined(pull @ right.T + c * left, left.T @ pull + c * right, to_bias)

    def newton(self) -> FloatArray:
        """One Newton step from the start, by conjugate gradients."""
        k, c, x = self.composite, self.composite.threshold, self.start
        left, right, _ = self._split(x)
        matrix, bias = self.product(x)
        outputs = k.table.forward(matrix, np.zeros(0), bias)
        pull, to_bias = self._pulled(k.gradient(outputs), bias)
        gradient = self._joined(pull @ right.T + c * left, left.T @ pull + c * right, to_bias)
        curvature = k.loss.curvature(outputs, k.table.targets, k.table.copies)

        def apply(d: FloatArray) -> FloatArray:
            d_left, d_right, d_shift = self._split(d)
            turn = d_left @ right + left @ d_right
            d_bias = d_shift - turn @ self.mean if k.has_bias else np.zeros_like(bias)
            bent, to_b = self._pulled(curvature(k.table.forward(turn, np.zeros(0), d_bias)), d_bias)
            return self._joined(
                bent @ right.T + pull @ d_right.T + c * d_left, left.T @ bent + d_left.T @ pull + c * d_right, to_b
            )

        size = float(np.linalg.norm(gradient))
        accuracy = 0.1 * min(0.05, math.sqrt(size))
        step, _, _ = conjugate_gradients(apply, gradient, accuracy * size, float(np.linalg.norm(x)))
        return x + step
