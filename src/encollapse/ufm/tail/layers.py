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

from encollapse._internal.typing import FloatArray

Fit = Callable[[FloatArray, FloatArray], tuple[float, FloatArray, FloatArray]]
"""Value, derivative in G (q, r) and derivative in b of the mean loss and the decay of the bias."""

STATIONARY_TOLERANCE = 1e-5
"""Distance of the slopes of fit and price on the range of G, relative, up to which a point counts as stationary."""

_ITERATIONS = 3000  # of L-BFGS from one start
_RANDOM_STARTS = 3  # beside the balanced one
_MEMORY = 20  # pairs of vectors of L-BFGS
_DEAD = 1e-8  # singular values below this share of the largest are rounding of the descent


@dataclass(frozen=True, eq=False)
class Chain:
    """The price of a product of layers.

    Attributes
    ----------
    decays : tuple of float
        One for each layer, in the order in which they act; at least three.
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
        return math.exp(math.fsum(map(math.log, self.decays)) / self.depth)

    @property
    def weight(self) -> float:
        """``κ``."""
        return 0.5 * self.depth * self.common_decay

    def price(self, matrix: FloatArray) -> float:
        """``κ Σ σ_i^r``; singular values within rounding of 0 count as 0."""
        singular = np.linalg.svd(matrix, compute_uv=False)
        kept = singular > 1e-10 * singular[0]
        return self.weight * float(np.sum(singular[kept] ** self.power))

    def convex_threshold(self, value: float) -> float:
        """``κ B^{r-1}`` for the value of any point."""
        return float(self.weight * (value / self.weight) ** ((self.power - 1.0) / self.power))


def minimize_chain(
    chain: Chain, fit: Fit, moments: FloatArray, starts: Sequence[tuple[FloatArray, FloatArray]], *, has_bias: bool
) -> tuple[FloatArray, FloatArray, float, bool, int]:
    """Descend from several starts; return G, b, the objective, whether it is stationary, and the steps.

    Parameters
    ----------
    chain : Chain
        The layers.
    fit : Fit
        The rest of the objective.
    moments : (r,)
        Second moments of the coordinates on which G acts: they scale the first layer.
    starts : sequence of (G (q, r), b (q,))
        Where to start from. The first must have G = 0 and its best bias; random points on the scale of the others are
        added.
    has_bias : bool
        Whether b is free.
    """
    zero, bias = starts[0]
    best = (zero, bias, fit(zero, bias)[0], True)
    generator = np.random.default_rng(0)
    points = list(starts[1:])
    size = max((float(np.linalg.norm(matrix)) for matrix, _ in points), default=0.0)
    if size == 0.0:
        size = 1.0 / math.sqrt(float(moments.mean()))
    for i in range(_RANDOM_STARTS):
        noise = generator.standard_normal(zero.shape) / np.sqrt(moments + moments.max() * 1e-3)
        points.append((noise * (size * 4.0**-i / float(np.linalg.norm(noise))), bias))
    steps = 0
    for matrix, start in points:
        found = _descend(chain, fit, moments, matrix, start, has_bias=has_bias)
        steps += found[4]
        if found[2] < best[2]:
            best = found[:4]
    return (*best, steps)


def _descend(
    chain: Chain, fit: Fit, moments: FloatArray, matrix: FloatArray, bias: FloatArray, *, has_bias: bool
) -> tuple[FloatArray, FloatArray, float, bool, int]:
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    common = np.maximum(singular, 1e-12 * singular[0]) ** (1.0 / chain.depth)
    root = math.sqrt(chain.common_decay)
    balanced = [root / math.sqrt(decay) * np.diag(common) for decay in chain.decays]
    factors = [balanced[0] @ right, *balanced[1:-1], left @ balanced[-1]]
    # The first layer meets activations of very different sizes.
    scale = 1.0 / np.sqrt(1.0 + float(common[0] ** (2 * chain.depth - 2)) * moments / chain.decays[0])
    shapes = [f.shape for f in factors] + ([bias.shape] if has_bias else [])
    ends = np.cumsum([math.prod(shape) for shape in shapes])

    def unpack(x: FloatArray) -> tuple[list[FloatArray], FloatArray]:
        parts = [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]
        layers = [parts[0] * scale, *parts[1 : chain.depth]]
        return layers, parts[-1] if has_bias else bias

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        layers, b = unpack(x)
        before = [layers[0]]
        for layer in layers[1:]:
            before.append(layer @ before[-1])
        value, to_matrix, to_bias = fit(before[-1], b)
        gradients: list[FloatArray] = []
        after = to_matrix
        for i in range(chain.depth - 1, 0, -1):
            gradients.append(after @ before[i - 1].T + chain.decays[i] * layers[i])
            after = layers[i].T @ after
        gradients.append((after + chain.decays[0] * layers[0]) * scale)
        gradients.reverse()
        penalty = 0.5 * sum(d * float(np.sum(w * w)) for d, w in zip(chain.decays, layers, strict=True))
        joined = [g.ravel() for g in gradients] + ([to_bias] if has_bias else [])
        return value + penalty, np.concatenate(joined)

    parts = [(factors[0] / scale).ravel(), *(f.ravel() for f in factors[1:])] + ([bias] if has_bias else [])
    options = {"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "maxcor": _MEMORY, "ftol": 0.0, "gtol": 1e-12}
    found = minimize(objective, np.concatenate(parts), jac=True, method="L-BFGS-B", options=options)
    layers, b = unpack(found.x)
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    u, s, v = np.linalg.svd(product, full_matrices=False)
    kept = s > _DEAD * s[0]
    u, s, v = u[:, kept], s[kept], v[kept]
    product = (u * s) @ v
    value, to_matrix, to_bias = fit(product, b)
    # On the range of G the slope of the fit is minus that of the price, and the bias has none.
    wanted = -chain.weight * chain.power * s ** (chain.power - 1.0)
    off = float(np.linalg.norm(u.T @ to_matrix - wanted[:, None] * v) + np.linalg.norm(to_matrix @ v.T - u * wanted))
    off += float(np.linalg.norm(to_bias)) if has_bias else 0.0
    at_rest = off <= STATIONARY_TOLERANCE * float(np.linalg.norm(wanted))
    return product, b, value + chain.price(product), at_rest, int(found.nit)
