"""Any convex loss over given activations: Newton steps on the factors, certified by the convex dual.

With ``G = L R`` the nuclear norm is the smallest ``½|L|² + ½|R|²``. Time goes into products with all activations. Each
Newton step is solved by conjugate gradients, in coordinates in which the second derivative is near the identity: it is
near ``h ⊗ S`` with a mean curvature h of the loss and the second moments S of the activations, each sample weighed by
its own curvature. A second derivative need not be exact, so large activations are read in single precision there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.convex.composite import Composite, GroupedSVD
from encollapse.ufm.convex.output_maps import OutputMap
from encollapse.ufm.convex.trust_region import Reached, conjugate_path, shortened
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.tail.activations import Activations, WeighedMoments
from encollapse.ufm.tail.squared import Penalized, minimize_penalized

Bend = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

_STEPS = 200  # a guard on steps of the second order
CONJUGATE_STEPS = 300  # for one Newton step
_LOOSE, _FINE = 0.3, 1e-3  # accuracy of the conjugate gradients, relative: at first and at most
_DEAR = 12  # conjugate gradients after which samples are weighed anew; more where that costs more
_NEAR = 1e-2  # relative change of the objective by a step, below which the gap is worth a look
_DEAD = 1e-9  # of the largest singular value
_BORN = 1e-9  # share of c by which a slope off the range must exceed it
_SMALL = 1e-2  # of the largest singular value
_STALLED = 12  # steps without a gap better by a tenth


@dataclass(frozen=True, eq=False)
class SampleOutputMap:
    """Outputs of the samples, one column each, from the outputs of their activations.

    It takes the place of the map for classes in :class:`~encollapse.ufm.convex.composite.Composite`. `weights` (N,)
    are the shares of the samples in the loss, with sum 1. With a `basis` (p, r) matrices are in its coordinates.
    """

    activations: Activations
    targets: FloatArray
    weights: FloatArray
    basis: FloatArray | None = None

    @property
    def copies(self) -> FloatArray:
        """Ones."""
        return np.broadcast_to(np.ones(()), self.targets.shape)

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
        """Of a matrix."""
        return len(self.targets), (self.activations.rows if self.basis is None else self.basis).shape[1]

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (q, N)."""
        del contrast
        outputs = self.activations.outputs(matrix if self.basis is None else matrix @ self.basis.T)
        outputs += bias[:, None]
        return outputs

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`."""
        matrix = self.activations.gradient(table)
        return matrix if self.basis is None else matrix @ self.basis, np.zeros(0), table.sum(axis=1)

    def spread(self, bias: FloatArray) -> FloatArray:
        """Write (q,) into every column."""
        return np.broadcast_to(bias[:, None], self.targets.shape)

    def mean(self, table: FloatArray) -> FloatArray:
        """Average over the samples, by their shares."""
        return np.asarray(table @ self.weights)

    def composite(self, loss: ConvexLoss, threshold: float, bias_decay: float) -> Composite:
        """Return the convex problem over these outputs."""
        # It never asks a map for classifier and class means.
        return Composite(cast("OutputMap", self), loss, threshold, bias_decay)


@dataclass(frozen=True, eq=False)
class _LossPoint:
    """A point G, b and what one pass over the activations tells there."""

    svd: GroupedSVD
    bias: FloatArray
    value: float
    outputs: FloatArray
    slope: FloatArray  # in G (q, p)
    to_bias: FloatArray  # with its decay

    @classmethod
    def of(cls, composite: Composite, matrix: FloatArray, bias: FloatArray) -> _LossPoint:
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        kept = singular > _DEAD * singular[0]
        svd = GroupedSVD(left[:, kept], singular[kept], right[kept], np.zeros(0))
        outputs = composite.table.forward(svd.matrix, svd.contrast, bias)
        slope, _, to_bias = composite.pull(composite.gradient(outputs))
        to_bias = to_bias + composite.bias_decay * bias if composite.has_bias else np.zeros_like(bias)
        value = composite.fit(outputs) + composite.threshold * float(svd.singular.sum()) + composite.penalty(bias)
        return cls(svd, bias, value, outputs, slope, to_bias)

    def certificate(self, composite: Composite) -> Certificate:
        """The gap to the dual bound of the slopes at this point."""
        return composite.certificate(self.value, self.outputs, self.bias)


def minimize_loss(
    table: SampleOutputMap, loss: ConvexLoss, threshold: float, bias_decay: float, *, aim: float
) -> tuple[FloatArray, FloatArray, float, Certificate, int]:
    """Return G (q, p), b, the objective, its certificate and the number of steps."""
    activations, targets = table.activations, table.targets
    composite = table.composite(loss, threshold, bias_decay)
    zero, bias = composite.start()
    now = _LossPoint.of(composite, zero.matrix, bias)
    certificate = now.certificate(composite)
    if certificate.relative_gap <= aim or float(np.linalg.norm(now.slope, 2)) <= threshold:
        return now.svd.matrix, bias, now.value, certificate, 0
    metric, height = _metric(composite, now)
    start = Penalized(height * metric.values, -now.slope @ metric.basis, threshold)
    rough = 1e-3 * threshold * float(np.linalg.norm(now.slope)) / (height * float(metric.values[-1]))
    matrix, steps = minimize_penalized(start, accuracy=rough)
    after = _LossPoint.of(composite, matrix @ metric.basis.T, bias)
    best = now, certificate
    now = after if after.value < now.value else now
    radius, first, waited, taken, poor = math.inf, 0.0, 0, 0, False
    for _ in range(_STEPS):
        now = _resized(composite, now, poor=poor)
        model = _FactorsModel.of(composite, metric, height, now)
        size = float(np.linalg.norm(model.gradient))
        first = max(first, size)
        accuracy = min(max(_FINE, 0.5 * math.sqrt(size / first)), _LOOSE) if first > 0 else _LOOSE
        radius = min(radius, 2.0 * float(np.linalg.norm(model.start)))
        path = list(conjugate_path(model.apply, model.gradient, accuracy * size, radius, CONJUGATE_STEPS))
        steps, taken = steps + 1, taken + len(path)
        after, radius = _along(composite, model, path, now, radius)
        gained, now = now.value - after.value, after
        poor = not path or gained < 0.25 * path[-1][1]
        if gained <= _NEAR * now.value:
            found = now.certificate(composite)
            better = found.relative_gap < 0.9 * best[1].relative_gap or gained > 1e-3 * found.gap
            best = (now, found) if found.relative_gap < best[1].relative_gap else best
            waited = 0 if better else waited + 1
            if best[1].relative_gap <= aim or waited > _STALLED:
                break
        if taken > max(_DEAR, activations.rows.shape[1] / (4 * len(targets))):
            (metric, height), taken, radius = _metric(composite, now), 0, math.inf
    point, certificate = best
    return point.svd.matrix, point.bias, point.value, certificate, steps


def _metric(composite: Composite, point: _LossPoint) -> tuple[WeighedMoments, float]:
    """Second moments with each sample weighed by its curvature, and the mean curvature of an output."""
    t = composite.table
    curvature = composite.loss.curvature(point.outputs, t.targets, t.copies)
    each = curvature.diagonal if curvature.factor is None else curvature.diagonal - curvature.factor**2
    bends = np.broadcast_to(each, t.targets.shape).mean(axis=0)
    height = max(float(t.weights @ bends), 1e-6 * composite.loss.smoothness)
    # A sample that does not bend here may bend elsewhere.
    weights = t.weights * np.maximum(bends, 1e-3 * height)
    activations = cast("SampleOutputMap", t).activations
    return activations.metric(weights, composite.bias_decay / height), height


@dataclass(frozen=True, eq=False)
class _FactorsModel:
    """The objective to second order about a point, over one vector of scaled factors and bias.

    The bias is counted from where the activations would leave it if a part of their mean were taken off, which makes
    the second derivatives in G and in the bias separate. On the range of G the slope of the fit is replaced by that of
    the nuclear norm, and off it is kept below c, so that the model is convex.
    """

    composite: Composite
    basis: FloatArray
    center: FloatArray  # what the bias is counted from, in the basis
    left: FloatArray  # (q, r)
    right: FloatArray  # (r, m), in the basis
    point: _LossPoint
    scales: tuple[FloatArray, FloatArray, float]
    held: FloatArray  # what takes the place of the slope in G
    bend: Bend

    @classmethod
    def of(cls, composite: Composite, metric: WeighedMoments, height: float, now: _LossPoint) -> _FactorsModel:
        """Factors of the point, scaled by a metric and the mean curvature `height`."""
        c, basis, svd = composite.threshold, metric.basis, now.svd
        slope, right = now.slope @ basis, svd.right @ basis
        u, size, v = np.linalg.svd(_outside(slope, svd.left, right), full_matrices=False)
        held = (u * np.minimum(size, c)) @ v - c * (svd.left @ right)
        root = np.sqrt(svd.singular)
        left, right = svd.left * root, root[:, None] * right
        scales = (
            1.0 / np.sqrt(height * (right**2 @ metric.values) + c),
            1.0 / np.sqrt(height * np.outer((left**2).sum(axis=0), metric.values) + c),
            1.0 / math.sqrt(height + composite.bias_decay) if composite.has_bias else 0.0,
        )
        center = metric.center @ basis
        return cls(composite, basis, center, left, right, now, scales, held, bending(composite, basis, now.outputs))

    @cached_property
    def gradient(self) -> FloatArray:
        """Its gradient."""
        c, now = self.composite.threshold, self.point
        slope = now.slope @ self.basis - np.outer(now.to_bias, self.center)
        return self._joined(slope @ self.right.T + c * self.left, self.left.T @ slope + c * self.right, now.to_bias)

    @property
    def start(self) -> FloatArray:
        """The vector of the point itself, without its bias."""
        return self._joined(self.left / self.scales[0] ** 2, self.right / self.scales[1] ** 2, np.zeros(len(self.left)))

    def _split(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        to_left, to_right, to_bias = self.scales
        first, second = self.left.size, self.left.size + self.right.size
        shift = x[second:] * to_bias if self.composite.has_bias else np.zeros(len(self.left))
        return x[:first].reshape(self.left.shape) * to_left, x[first:second].reshape(self.right.shape) * to_right, shift

    def _joined(self, left: FloatArray, right: FloatArray, bias: FloatArray) -> FloatArray:
        to_left, to_right, to_bias = self.scales
        parts = [(left * to_left).ravel(), (right * to_right).ravel()]
        return np.concatenate([*parts, bias * to_bias] if self.composite.has_bias else parts)

    def apply(self, x: FloatArray) -> FloatArray:
        """Second derivative along a vector."""
        k, c = self.composite, self.composite.threshold
        d_left, d_right, d_shift = self._split(x)
        turn = d_left @ self.right + self.left @ d_right
        d_bias = d_shift - turn @ self.center if k.has_bias else d_shift
        bent, to_bias = self.bend(turn, d_bias)
        if k.has_bias:
            to_bias = to_bias + k.bias_decay * d_bias
            bent = bent - np.outer(to_bias, self.center)
        return self._joined(
            bent @ self.right.T + self.held @ d_right.T + c * d_left,
            self.left.T @ bent + d_left.T @ self.held + c * d_right,
            to_bias,
        )

    def moved(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """G (q, p) and b after a step."""
        d_left, d_right, d_shift = self._split(x)
        product = (self.left + d_left) @ (self.right + d_right)
        bias = self.point.bias
        if self.composite.has_bias:
            bias = bias + d_shift - (product - self.left @ self.right) @ self.center
        return product @ self.basis.T, bias


def _outside(slope: FloatArray, left: FloatArray, right: FloatArray) -> FloatArray:
    """The part of the slope off the range of G, which has orthonormal `left` (q, r) and `right` (r, m)."""
    rest = slope - left @ (left.T @ slope)
    return np.asarray(rest - (rest @ right.T) @ right)


def _resized(composite: Composite, now: _LossPoint, *, poor: bool) -> _LossPoint:
    """Add the directions off the range in which the dual asks for more, each at the size that is best for it alone.

    After a poor step the smallest singular values get their own best sizes too: the nuclear norm bends with one over
    them, so that a step in the factors can neither grow them nor bring them to 0.
    """
    c, zero, svd = composite.threshold, np.zeros_like(now.bias), now.svd
    u, size, v = np.linalg.svd(_outside(now.slope, svd.left, svd.right), full_matrices=False)
    born = np.flatnonzero(size > c * (1.0 + _BORN))
    ways = [(np.outer(u[:, i], v[i]), size[i] - c, math.inf) for i in born]
    if poor:
        small = np.flatnonzero(svd.singular < _SMALL * svd.singular.max(initial=0.0))
        ways += [
            (way, float(np.sum(now.slope * way)) + c, float(svd.singular[i]))
            for i in small
            for way in (np.outer(svd.left[:, i], svd.right[i]),)
        ]
    if not ways:
        return now
    bend, move = bending(composite, None, now.outputs), np.zeros_like(now.slope)
    for way, slope, room in ways:
        curved = float(np.sum(way * bend(way, zero)[0]))
        move -= min(slope / max(curved, composite.loss.smoothness * EPS), room) * way
    share = 1.0
    while share > EPS:
        after = _LossPoint.of(composite, svd.matrix + share * move, now.bias)
        if after.value < now.value:
            return after
        share *= 0.25
    return now


def bending(composite: Composite, basis: FloatArray | None, outputs: FloatArray) -> Bend:
    """Second derivative of the fit at `outputs`, as a map of changes of G, in a basis (p, m) if there is one, and b."""
    t = composite.table
    rows = cast("SampleOutputMap", t).activations.coarse
    curvature = composite.loss.curvature(outputs, t.targets, t.copies)
    shares = t.weights.astype(rows.dtype)
    diagonal = np.asarray(curvature.diagonal, dtype=rows.dtype) * shares
    factor = None if curvature.factor is None else np.asarray(curvature.factor, dtype=rows.dtype)

    def bend(matrix: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        moved = (matrix if basis is None else matrix @ basis.T).astype(rows.dtype) @ rows.T
        moved += bias.astype(rows.dtype)[:, None]
        bent = diagonal * moved
        if factor is not None:
            bent -= factor * (np.einsum("rj,rj->j", factor, moved) * shares)
        pulled = (bent @ rows).astype(np.float64)
        return pulled if basis is None else pulled @ basis, bent.sum(axis=1, dtype=np.float64)

    return bend


def _along(
    composite: Composite, model: _FactorsModel, path: list[Reached], now: _LossPoint, radius: float
) -> tuple[_LossPoint, float]:
    """The first point, from the end of the path back, that is lower as predicted, and the next radius."""
    rounding = 64 * EPS * now.value
    while path:
        step, predicted, _ = path[-1]
        length = float(np.linalg.norm(step))
        after = _LossPoint.of(composite, *model.moved(step))
        gained = now.value - after.value
        if predicted <= rounding:
            return after, radius
        if gained > 1e-4 * predicted:
            if gained < 0.25 * predicted:
                return after, 0.5 * length
            return after, 3.0 * radius if gained > 0.75 * predicted and length > 0.9 * radius else radius
        radius = 0.25 * length
        path = shortened(path, radius, 1e-12)
    return now, radius
