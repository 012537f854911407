"""Solve the convex problem of any convex loss to a certified gap."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.burer_monteiro import BurerMonteiro, approach
from encollapse.ufm.convex.composite import RELATIVE_TOLERANCE, Composite, GroupedSVD, Start
from encollapse.ufm.convex.douglas_rachford import dear, split
from encollapse.ufm.convex.trust_region import conjugate_step
from encollapse.ufm.minimum import Minimum

_FALL = 10.0  # from one threshold to the next
_FIRST_LEVEL = 0.01  # share of the critical threshold above which quasi-Newton steps start
_LOOSE = 0.1  # gap at a threshold on the way, as a share of what the nuclear norm costs
_APPROACH = 40  # quasi-Newton steps before the first Newton step
_NEWTON_STEPS = 200  # for each threshold
_CONJUGATE_STEPS = 400  # for one Newton step
_ACCURACY = 0.1  # of the conjugate gradients, relative
_FINEST = 1e-9  # the same, at the end
_SMALL = 0.01  # of the largest singular value
_RESIZED = 16  # of the smallest singular values at most
_SETTLING = 4  # steps after the gap has closed
_SETTLED = 1e-8  # gradient, relative to the point
_SHORTENINGS = 12  # of a step, each to a quarter
_AIM = 0.05 * RELATIVE_TOLERANCE  # relative gap to stop at, with room to the tolerance
_STALLED = 30  # steps without a better gap, a lower loss or a smaller gradient


Iterate: TypeAlias = Minimum[GroupedSVD]
"""A point ``(Z, b)`` with its loss and evidence."""


def minimize_composite(composite: Composite, warm_start: Start | None = None) -> Iterate:
    """Split the problem, then take Newton steps in the factors of Z, until the duality gap closes.

    Where that fails, Newton steps follow a falling sequence of thresholds.

    Parameters
    ----------
    composite : Composite
        The problem.
    warm_start : Start, optional
        A point that may be near the minimum, from a problem with the same table.
    """
    zero, bias = composite.start()
    nothing = _found(composite, zero, bias, 0)
    if nothing.certificate.relative_gap <= _AIM or composite.shrink(zero.matrix, zero.contrast, bias).is_zero:
        return nothing
    if warm_start is not None and (warm_start[0].is_zero or not composite.has_bias):
        warm_start = None if warm_start[0].is_zero else (warm_start[0], bias)
    if composite.table.separable:
        start, taken = split(composite, _AIM, warm_start)
        found = _found(composite, *start, taken)
        enough = RELATIVE_TOLERANCE if dear(composite) else _AIM
        if found.certificate.relative_gap > enough and not found.factors.is_zero:
            found = _Newton(taken).close(composite, *start)
        if found.certificate.holds:
            return found
    newton = _Newton()
    *higher, _ = levels = _levels(composite, zero, bias)
    first = replace(composite, threshold=levels[0])
    wide = BurerMonteiro(first, _spread_start(first, zero, bias), bias)
    matrix, contrast, bias = wide.product(approach(wide, _APPROACH))
    point = first.shrink(matrix, contrast, bias)
    for threshold in higher:
        found = newton.close(replace(composite, threshold=threshold), point, bias, loosely=True)
        point, bias = found.factors, found.bias
    return newton.close(composite, point, bias)


class _Newton:
    """Newton's method inside a ball whose radius is kept from one threshold to the next."""

    def __init__(self, steps: int = 0) -> None:
        self.radius = math.inf
        self.steps = steps
        self._size = math.inf
        self._accuracy = _ACCURACY

    def close(self, composite: Composite, point: GroupedSVD, bias: FloatArray, *, loosely: bool = False) -> Iterate:
        """Step until the gap closes, or loosely until it is a share of what the nuclear norm costs."""
        now = best = _found(composite, point, bias, self.steps)
        self._size, self._accuracy = math.inf, _ACCURACY
        waited, smallest = 0, math.inf
        for _ in range(_NEWTON_STEPS):
            enough = _AIM * now.loss
            if loosely:
                enough = _LOOSE * composite.threshold * now.factors.nuclear_norm(composite.table)
            if now.certificate.gap <= enough or waited > _STALLED:
                break
            after = self._step(composite, now, _pruned(now)) if waited % 4 == 3 else None
            after = after or self._step(composite, now, _resized(composite, now))
            after = after or self._retreat(composite, now)
            progress = (
                after.certificate.relative_gap < 0.9 * best.certificate.relative_gap
                or after.loss < now.loss - 1e-3 * now.certificate.gap
            )
            progress = progress or self._size < 0.9 * smallest
            smallest = min(smallest, self._size)
            waited = 0 if progress else waited + 1
            now = after
            best = now if now.certificate.relative_gap <= best.certificate.relative_gap else best
        return best if loosely or best.certificate.relative_gap > _AIM else self._settle(composite, best)

    def _retreat(self, composite: Composite, now: Iterate) -> Iterate:
        """A plain proximal step, which cannot fail, and a smaller ball."""
        self.radius *= 0.1
        point = composite.shrink(now.factors.matrix, now.factors.contrast, now.bias)
        return _found(composite, point, now.bias, self.steps)

    def _settle(self, composite: Composite, now: Iterate) -> Iterate:
        """Where the bound closes before the point is exact (it may be of second order), step on."""
        for _ in range(_SETTLING):
            factored = BurerMonteiro(composite, now.factors, now.bias)
            _, gradient = factored.value_and_gradient(factored.start)
            if np.linalg.norm(gradient) <= _SETTLED * np.linalg.norm(factored.start):
                break
            after = self._step(composite, now, now)
            if after is None or after.certificate.relative_gap > _AIM:
                break
            now = after
        return now

    def _step(self, composite: Composite, now: Iterate, base: Iterate) -> Iterate | None:
        """Move from `base` along a straight line in Z, then take a proximal step. None unless it ends below `now`.

        The objective is convex in Z. The factors serve to find the direction only: along them it bends with
        ``dL dRᵀ``, which a small c punishes.
        """
        factored = BurerMonteiro(composite, base.factors, base.bias)
        _, gradient = factored.value_and_gradient(factored.start)
        size = float(np.linalg.norm(gradient))
        # What a proximal step leaves can hide a slow direction: without progress, solve more exactly.
        faster = size < 0.5 * self._size
        self._accuracy = min(_ACCURACY, 3 * self._accuracy) if faster else max(_FINEST, 0.1 * self._accuracy)
        self._size = size
        self.radius = min(self.radius, float(np.linalg.norm(factored.start)))
        # No finer than what closes the gap, which is of first order in the gradient.
        finest = max(0.1 * _AIM / max(now.certificate.relative_gap, _AIM), _FINEST)
        tolerance = max(min(self._accuracy, math.sqrt(size)), finest) * size
        bends = factored.second_derivative()
        step, predicted, on_edge = conjugate_step(bends, gradient, tolerance, self.radius, _CONJUGATE_STEPS)
        self.steps += 1
        predicted *= composite.threshold
        matrix, contrast, turn = factored.tangent(step)
        rounding = 64 * EPS * now.loss
        share = 1.0
        for _ in range(_SHORTENINGS):
            bias = base.bias + share * turn
            point = composite.shrink(
                base.factors.matrix + share * matrix, base.factors.contrast + share * contrast, bias
            )
            gained = now.loss - composite.value(point, bias)
            if predicted <= rounding:
                # Values no longer tell.
                return _found(composite, point, bias, self.steps)
            if gained > 1e-4 * share * predicted:
                self._adapt(float(np.linalg.norm(step)), share, gained / predicted, on_edge)
                return _found(composite, point, bias, self.steps)
            share *= 0.25
        return None

    def _adapt(self, length: float, share: float, ratio: float, on_edge: bool) -> None:
        if share < 1.0:
            self.radius = 2.0 * share * length
        elif ratio < 0.25:
            self.radius = 0.5 * length
        elif on_edge and ratio > 0.75:
            self.radius *= 3.0


def _resized(composite: Composite, now: Iterate) -> Iterate:
    """The same point with its smallest singular values at their best sizes, to second order.

    A direction is born with next to nothing, and the nuclear norm bends with one over the singular value: a Newton
    step in the tangent space can neither grow it nor bring it to 0.
    """
    point, t = now.factors, composite.table
    small = np.flatnonzero(point.singular < _SMALL * point.singular.max(initial=0.0))[-_RESIZED:]
    if not small.size:
        return now
    outputs = t.forward(point.matrix, point.contrast, now.bias)
    matrix, _, _ = composite.pull(composite.gradient(outputs))
    curvature = composite.loss.curvature(outputs, t.targets, t.copies)
    still, nothing = np.zeros_like(point.contrast), np.zeros_like(now.bias)
    left, right = point.left[:, small], point.right[small]
    slope = composite.threshold + np.einsum("ij,ij->j", left, matrix @ right.T)
    bending = np.empty((len(small), len(small)))
    for j in range(len(small)):
        bent, _, _ = composite.pull(curvature(t.forward(np.outer(left[:, j], right[j]), still, nothing)))
        bending[j] = np.einsum("ij,ij->j", left, bent @ right.T)
    step = np.linalg.lstsq(bending, -slope, rcond=None)[0]
    for share in (1.0, 0.25, 0.0625):
        singular = point.singular.copy()
        singular[small] = np.maximum(singular[small] + share * step, 0.0)
        kept = singular > 0
        moved = replace(point, left=point.left[:, kept], singular=singular[kept], right=point.right[kept])
        loss = composite.value(moved, now.bias)
        if loss < now.loss:
            return replace(now, factors=moved, loss=loss)
    return now


def _pruned(now: Iterate) -> Iterate:
    """The same point without its smallest singular values, which a Newton step alone cannot bring to 0."""
    singular = now.factors.singular
    if not singular.size:
        return now
    kept = singular > 10 * singular[-1]
    point = replace(now.factors, left=now.factors.left[:, kept], singular=singular[kept], right=now.factors.right[kept])
    return replace(now, factors=point)


def _levels(composite: Composite, zero: GroupedSVD, bias: FloatArray) -> list[float]:
    """Falling thresholds that end at c: outputs grow like log(1/c), and a Newton step reaches so far only."""
    full = composite.shrink(zero.matrix, zero.contrast, bias, threshold=0.0)
    largest = max([*full.singular[:1], *np.abs(full.contrast)]) * composite.smoothness
    steps = max(0, math.ceil(math.log(largest * _FIRST_LEVEL / composite.threshold, _FALL)))
    return [composite.threshold * _FALL**i for i in range(steps, -1, -1)]


def _spread_start(composite: Composite, zero: GroupedSVD, bias: FloatArray) -> GroupedSVD:
    """First proximal step, with a little of every direction so that none is lost as a saddle."""
    full = composite.shrink(zero.matrix, zero.contrast, bias, threshold=0.0)
    step = composite.threshold / composite.smoothness
    floor = 1e-3 * max([*full.singular[:1], *np.abs(full.contrast)])
    contrast = np.sign(full.contrast) * np.maximum(np.abs(full.contrast) - step, floor)
    return replace(
        full,
        singular=np.maximum(full.singular - step, floor),
        contrast=np.where(composite.table.contrasts > 0, contrast, 0.0),
    )


def _found(composite: Composite, point: GroupedSVD, bias: FloatArray, iterations: int) -> Iterate:
    loss, certificate = composite.certified(point, bias)
    return Minimum(loss, bias, certificate, iterations, point)
