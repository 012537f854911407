"""Solve the convex problem of any convex loss to a certified gap."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from encollapse._typing import FloatArray
from encollapse.ufm.certificate import Certificate
from encollapse.ufm.composite import RELATIVE_TOLERANCE, Composite, Spectral
from encollapse.ufm.factored import Factored, TrustRegion, approach

_FALL = 10.0
_FIRST_LEVEL = 0.01  # share of the critical threshold above which quasi-Newton steps start
_LOOSE = 1e-2
_APPROACH = 40  # quasi-Newton steps before the first Newton step
_ROUNDS = 40
_NEWTON_STEPS = 6  # between two proximal steps
_AIM = 0.05 * RELATIVE_TOLERANCE
_STALLED = 6  # rounds without a better gap


@dataclass(frozen=True, eq=False)
class Found:
    """Minimiser ``(Z, b)`` of the convex problem, its loss and evidence."""

    point: Spectral
    bias: FloatArray
    loss: float
    certificate: Certificate
    iterations: int


def minimise_composite(composite: Composite, warm: tuple[Spectral, FloatArray] | None = None) -> Found:
    """Alternate descent on factors with proximal steps, which find the rank, until the duality gap closes.

    Parameters
    ----------
    composite : Composite
        The problem.
    warm : (Spectral, (p,)), optional
        A point near the minimum.
    """
    zero, bias = composite.start()
    nothing = _found(composite, zero, bias, 0)
    if composite.shrink(zero, bias).is_zero or nothing.certificate.relative_gap <= _AIM:
        return nothing
    newton = TrustRegion()
    if warm is None:
        *higher, _ = levels = _levels(composite, zero, bias)
        first = replace(composite, threshold=levels[0])
        wide = Factored(first, min(composite.table.shape))
        x = approach(wide, wide.pack(_spread_start(first, zero, bias), bias), _APPROACH)
        warm = wide.unpack(x)
        for threshold in higher:
            found = _close(replace(composite, threshold=threshold), *warm, newton, _LOOSE)
            warm = (found.point, found.bias)
    return _close(composite, *warm, newton, _AIM)


def _levels(composite: Composite, zero: Spectral, bias: FloatArray) -> list[float]:
    """Falling thresholds that end at c: outputs grow like log(1/c), and a Newton step reaches so far only."""
    full = composite.shrink(zero, bias, threshold=0.0)
    largest = max([*full.singular[:1], *np.abs(full.contrast)]) * composite.loss.smoothness
    steps = max(0, math.ceil(math.log(largest * _FIRST_LEVEL / composite.threshold, _FALL)))
    return [composite.threshold * _FALL**i for i in range(steps, -1, -1)]


def _close(composite: Composite, point: Spectral, bias: FloatArray, newton: TrustRegion, aim: float) -> Found:
    """Alternate proximal steps and descent from a point until the relative gap is at most `aim`."""
    best: Found | None = None
    waited = 0
    for _ in range(_ROUNDS):
        point = composite.shrink(point, bias)
        found = _found(composite, point, bias, newton.steps)
        gap = math.inf if best is None else best.certificate.relative_gap
        waited = 0 if found.certificate.relative_gap < 0.7 * gap else waited + 1
        if best is None or found.certificate.relative_gap <= gap:
            best = found
        if best.certificate.relative_gap <= aim or waited > _STALLED:
            break
        factored = Factored(composite, len(point.singular))
        x = factored.pack(point, bias)
        x = newton.descend(factored, x, iterations=_NEWTON_STEPS, tolerance=1e-12)
        point, bias = factored.unpack(x)
    assert best is not None
    return best


def _spread_start(composite: Composite, zero: Spectral, bias: FloatArray) -> Spectral:
    """First proximal step, with a little of every direction so that none is lost as a saddle."""
    full = composite.shrink(zero, bias, threshold=0.0)
    step = composite.threshold / composite.loss.smoothness
    peak = max([*full.singular[:1], *np.abs(full.contrast)])
    floor = 1e-3 * peak
    contrast = np.sign(full.contrast) * np.maximum(np.abs(full.contrast) - step, floor)
    return replace(
        full,
        singular=np.maximum(full.singular - step, floor),
        contrast=np.where(composite.table.contrasts > 0, contrast, 0.0),
    )


def _found(composite: Composite, point: Spectral, bias: FloatArray, iterations: int) -> Found:
    loss, certificate = composite.certified(point, bias)
    return Found(point, bias, loss, certificate, iterations)
