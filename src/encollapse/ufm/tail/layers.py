"""More than two layers over given activations: the lowest of several stationary points, with a convex lower bound.

M layers with decays ``λ_l`` whose product is G cost ``κ Σ σ_i^r`` at their best split, with ``r = 2/M``,
``κ = (M/2) D`` and ``D = (Π λ_l)^{1/M}`` :cite:p:`shang2020`. From three layers on this is not convex. But the
minimizer has ``κ σ_1^r ≤ F`` for the value F of any point, so its singular values are at most ``B = (F/κ)^{1/r}``, and
below B ``σ^r ≥ B^{r-1} σ``: the convex problem with ``c = κ B^{r-1}`` bounds the minimum from below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.trust_region import Reached, conjugate_path, shortened
from encollapse.ufm.deep.schatten_prox import geometric_mean
from encollapse.ufm.tail.descent import CONJUGATE_STEPS, Bend

Fit = Callable[[FloatArray, FloatArray], tuple[float, FloatArray, FloatArray]]
"""Value, derivative in G (q, r) and derivative in b of the mean loss and the decay of the bias."""

Bends = Callable[[FloatArray, FloatArray], Bend]
"""Second derivative of the same at G and b, as a map of changes of both."""

STATIONARY_TOLERANCE = 1e-5
"""Distance of the slopes of fit and price on the range of G, relative, up to which a point counts as stationary."""

_ITERATIONS = 400  # of the first descent from each start
_NEWTON_STEPS = 200  # a guard: they converge quadratically
_VALLEYS = 12  # in which Newton steps follow
_NEAR = 2.0  # of the lowest value: ends of the first descent that may lead to something lower
_SAME = 1e-9  # relative difference of two values that is none
_RANDOM_STARTS = 3  # beside the balanced one
_MEMORY = 20  # pairs of vectors of L-BFGS
_DEAD = 1e-8  # singular values below this share of the largest are rounding of the descent


@dataclass(frozen=True, eq=False)
class Chain:
    """The price of a product of layers.

    Attributes
    ----------
    decays : tuple of float
        One for each layer, in the order in which they act, at least three.
    """

    decays: tuple[float, ...]

    @property
    def depth(self) -> int:
        """Number of layers M."""
        return len(self.decays)

    @property
    def power(self) -> float:
        """``r = 2/M``."""
        return 2.0 / self.depth

    @property
    def common_decay(self) -> float:
        """``D``, the geometric mean of the decays."""
        return geometric_mean(self.decays)

    @property
    def weight(self) -> float:
        """``κ``."""
        return 0.5 * self.depth * self.common_decay

    def price(self, matrix: FloatArray) -> float:
        """``κ Σ σ_i^r``. Singular values within rounding of 0 count as 0."""
        singular = np.linalg.svd(matrix, compute_uv=False)
        kept = singular > 1e-10 * singular[0]
        return self.weight * float(np.sum(singular[kept] ** self.power))

    def convex_threshold(self, value: float) -> float:
        """``κ B^{r-1}`` for the value of any point."""
        return float(self.weight * (value / self.weight) ** ((self.power - 1.0) / self.power))


def minimize_chain(
    chain: Chain,
    fit: Fit,
    bends: Bends,
    moments: FloatArray,
    starts: Sequence[tuple[FloatArray, FloatArray]],
    *,
    has_bias: bool,
) -> tuple[FloatArray, FloatArray, float, bool, int]:
    """Descend from several starts. Return G, b, the objective, whether it is stationary, and the steps.

    A short descent of the first order from every start tells the valleys apart. In the lowest of them Newton steps
    follow, which the very different sizes of activations do not slow down.

    Parameters
    ----------
    chain : Chain
        The layers.
    fit, bends : Fit, Bends
        The rest of the objective, and its second derivative.
    moments : (r,)
        Second moments of the coordinates on which G acts: they scale the first layer.
    starts : sequence of (G (q, r), b (q,))
        Where to start from. The first must have G = 0 and its best bias. Random points on the scale of the others are
        added.
    has_bias : bool
        Whether b is free.
    """
    zero, bias = starts[0]
    nothing = _LayersPoint(zero, bias, fit(zero, bias)[0], 0.0)
    generator = np.random.default_rng(0)
    points = list(starts[1:])
    size = max((float(np.linalg.norm(matrix)) for matrix, _ in points), default=0.0)
    if size == 0.0:
        size = 1.0 / math.sqrt(float(moments.mean()))
    for i in range(_RANDOM_STARTS):
        noise = generator.standard_normal(zero.shape) / np.sqrt(moments + moments.max() * 1e-3)
        points.append((noise * (size * 4.0**-i / float(np.linalg.norm(noise))), bias))
    layers = _Layers(chain, fit, bends, moments, has_bias)
    steps, ends = 0, []
    for matrix, start in points:
        found, taken = layers.descended(matrix, start)
        steps += taken
        ends.append(found)
    ends.sort(key=lambda point: point.value)
    best, followed = nothing, list[float]()
    for point in ends:
        if len(followed) == _VALLEYS or point.value > _NEAR * best.value:
            break
        if any(abs(point.value - value) <= _SAME * value for value in followed):
            continue
        followed.append(point.value)
        found, taken = layers.polished(point)
        steps += taken
        if found.value < best.value or (found.at_rest and not best.at_rest and found.value <= best.value * (1 + _SAME)):
            best = found
    return best.matrix, best.bias, best.value, best.at_rest, steps


@dataclass(frozen=True, eq=False)
class _LayersPoint:
    """G, b, the objective there, and how far the slopes of fit and price are apart on the range of G, relative."""

    matrix: FloatArray
    bias: FloatArray
    value: float
    off: float

    @property
    def at_rest(self) -> bool:
        return self.off <= STATIONARY_TOLERANCE


@dataclass(frozen=True, eq=False)
class _Layers:
    """The objective over explicit layers, the first of them in coordinates in which activations have like sizes."""

    chain: Chain
    fit: Fit
    bends: Bends
    moments: FloatArray
    has_bias: bool

    def descended(self, matrix: FloatArray, bias: FloatArray) -> tuple[_LayersPoint, int]:
        """Where some hundred steps of L-BFGS lead."""
        at = self.balanced(matrix, bias)
        options = {"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "maxcor": _MEMORY, "ftol": 1e-13, "gtol": 1e-12}
        found = minimize(at.objective, at.start, jac=True, method="L-BFGS-B", options=options)
        return self.point(*at.product(found.x)), int(found.nit)

    def polished(self, now: _LayersPoint) -> tuple[_LayersPoint, int]:
        """Newton steps in a trust region, from layers that are balanced anew each time."""
        radius, steps = math.inf, 0
        while steps < _NEWTON_STEPS and now.off > STATIONARY_TOLERANCE / 100 and now.matrix.any():
            at = self.balanced(now.matrix, now.bias)
            radius = min(radius, float(np.linalg.norm(at.start)))  # a direction may curve downward
            model = at.model()
            size = float(np.linalg.norm(model.gradient))
            tolerance = min(0.1, math.sqrt(now.off)) * size
            path = list(conjugate_path(model.apply, model.gradient, tolerance, radius, CONJUGATE_STEPS))
            after, radius = self._along(at, path, now, radius)
            steps += 1
            if after is None:
                break
            now = after
        return now, steps

    def _along(
        self, at: _BalancedLayers, path: list[Reached], now: _LayersPoint, radius: float
    ) -> tuple[_LayersPoint | None, float]:
        """The first point, from the end of the path back, that is lower as predicted, and the next radius."""
        rounding = 64 * EPS * abs(now.value)
        while path:
            step, predicted, _ = path[-1]
            length = float(np.linalg.norm(step))
            after = self.point(*at.product(at.start + step))
            gained = now.value - after.value
            if gained > 1e-4 * predicted and gained > 0:
                grown = 3.0 * length if gained > 0.75 * predicted else 0.5 * length
                return after, max(radius, grown) if gained > 0.25 * predicted else grown
            if predicted <= rounding:
                # The value does not tell any more, but the slopes do.
                return (after, radius) if after.off < now.off and gained >= -rounding else (None, radius)
            radius = 0.25 * length
            path = shortened(path, radius, 1e-10)
        return None, radius

    def point(self, matrix: FloatArray, bias: FloatArray) -> _LayersPoint:
        """A point with what is as good as 0 taken off its rank."""
        chain = self.chain
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        kept = s > _DEAD * s[0]
        u, s, v = u[:, kept], s[kept], v[kept]
        matrix = (u * s) @ v
        value, to_matrix, to_bias = self.fit(matrix, bias)
        if not len(s):
            return _LayersPoint(matrix, bias, value, 0.0)
        # On the range of G the slope of the fit is minus that of the price, and the bias has none.
        wanted = -chain.weight * chain.power * s ** (chain.power - 1.0)
        off = float(np.linalg.norm(u.T @ to_matrix - wanted[:, None] * v))
        off += float(np.linalg.norm(to_matrix @ v.T - u * wanted))
        off += float(np.linalg.norm(to_bias)) if self.has_bias else 0.0
        return _LayersPoint(matrix, bias, value + chain.price(matrix), off / float(np.linalg.norm(wanted)))

    def balanced(self, matrix: FloatArray, bias: FloatArray) -> _BalancedLayers:
        """Layers of equal shares whose product is G."""
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        kept = singular > 1e-12 * singular[0] if singular[0] > 0 else singular == 0
        left, singular, right = left[:, kept], singular[kept], right[kept]
        common = np.maximum(singular, 1e-12 * singular[0]) ** (1.0 / self.chain.depth)
        root = math.sqrt(self.chain.common_decay)
        middle = [root / math.sqrt(decay) * np.diag(common) for decay in self.chain.decays]
        factors = [middle[0] @ right, *middle[1:-1], left @ middle[-1]]
        # The first layer meets activations of very different sizes, and every unit of it another gain above.
        above = np.outer(common ** (2 * self.chain.depth - 2), self.moments)
        return _BalancedLayers(self, factors, bias, 1.0 / np.sqrt(1.0 + above / self.chain.decays[0]))


@dataclass(frozen=True, eq=False)
class _BalancedLayers:
    """Layers about which the objective is looked at, and the scales of the first of them."""

    layers: _Layers
    factors: list[FloatArray]
    bias: FloatArray
    scale: FloatArray

    @property
    def start(self) -> FloatArray:
        """The layers as one vector."""
        return self._joined([self.factors[0] / self.scale, *self.factors[1:]], self.bias)

    def _joined(self, layers: Sequence[FloatArray], bias: FloatArray) -> FloatArray:
        return np.concatenate([*(layer.ravel() for layer in layers), *([bias] if self.layers.has_bias else [])])

    def _split(self, x: FloatArray, bias: FloatArray) -> tuple[list[FloatArray], FloatArray]:
        ends = np.cumsum([layer.size for layer in self.factors])
        parts = np.split(x, ends)
        found = [part.reshape(layer.shape) for part, layer in zip(parts, self.factors, strict=False)]
        return [found[0] * self.scale, *found[1:]], parts[-1] if self.layers.has_bias else bias

    def product(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """G and b."""
        layers, bias = self._split(x, self.bias)
        return _products(layers)[-1], bias

    def objective(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        decays = self.layers.chain.decays
        layers, bias = self._split(x, self.bias)
        before = _products(layers)
        value, after, to_bias = self.layers.fit(before[-1], bias)
        slopes: list[FloatArray] = []
        for i in range(len(layers) - 1, 0, -1):
            slopes.append(after @ before[i - 1].T + decays[i] * layers[i])
            after = layers[i].T @ after
        slopes.append((after + decays[0] * layers[0]) * self.scale)
        value += 0.5 * sum(d * float(np.sum(w * w)) for d, w in zip(decays, layers, strict=True))
        return value, self._joined(slopes[::-1], to_bias)

    def model(self) -> _LayersModel:
        """The objective to second order about the layers."""
        before = _products(self.factors)
        return _LayersModel(
            self,
            self.objective(self.start)[1],
            before,
            self.layers.fit(before[-1], self.bias)[1],
            self.layers.bends(before[-1], self.bias),
        )


@dataclass(frozen=True, eq=False)
class _LayersModel:
    """The objective to second order about layers."""

    at: _BalancedLayers
    gradient: FloatArray
    before: list[FloatArray]  # products of the layers up to each
    pull: FloatArray  # slope of the fit in G
    bend: Bend

    def apply(self, x: FloatArray) -> FloatArray:
        """Second derivative along a vector."""
        at, decays = self.at, self.at.layers.chain.decays
        layers, before = at.factors, self.before
        moves, shift = at._split(x, np.zeros_like(at.bias))
        moved = [moves[0]]
        for i in range(1, len(layers)):
            moved.append(moves[i] @ before[i - 1] + layers[i] @ moved[-1])
        change, to_bias = self.bend(moved[-1], shift)
        after, slopes = self.pull, list[FloatArray]()
        for i in range(len(layers) - 1, 0, -1):
            slopes.append(change @ before[i - 1].T + after @ moved[i - 1].T + decays[i] * moves[i])
            change = moves[i].T @ after + layers[i].T @ change
            after = layers[i].T @ after
        slopes.append((change + decays[0] * moves[0]) * at.scale)
        return at._joined(slopes[::-1], to_bias)


def _products(layers: Sequence[FloatArray]) -> list[FloatArray]:
    """The first layer, the first two, and so on."""
    found = [layers[0]]
    for layer in layers[1:]:
        found.append(layer @ found[-1])
    return found
