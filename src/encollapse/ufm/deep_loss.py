"""Several linear layers under any convex loss: the lowest of several descents, beside a lower bound.

p factors of outputs ``Z`` cost ``κ Σ σ_i^r`` with ``r = 2/p`` at their best split, as under the squared error, so the
problem is

    min_{Z,b}  Φ(Z, b) + κ Σ_i σ_i(Z)^r,

which is not convex for p of 3 or more. The lower bound takes ``Σ σ_i^r ≥ |Z|_*^r``, which is an equality at rank one.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import certify
from encollapse.ufm.convex.composite import RELATIVE_TOLERANCE, Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors

STATIONARY_TOLERANCE = 1e-5
"""Gradient on the range of the outputs, relative to that of the penalty, up to which a point counts as stationary."""

_SHARES = (0.3, 0.03)  # of the largest slope at 0: prices of the nuclear norm whose minimizers are starts
_RANKS = 6  # most truncations of each
_CIRCLES = 12  # starts with the classes on a circle, where there are more orders
_RANDOM_STARTS = 12  # codes of low rank
_CODES = 3  # highest rank of a random start: what is lower than the minimizers above has a low rank
_EXCHANGES = 20  # descents from the lowest end with two classes exchanged
_SCREEN, _POLISH = 300, 3000  # iterations of L-BFGS: of every start, of the lowest end
_SLOW = 1e-9  # relative fall in one step at which a screening ends
_NEGLIGIBLE = 1e-4  # share of the largest singular value below which dropping one is tried
_INTERVALS = 40  # of the nuclear norm, at most
_LOOSE = 1e-5  # what the bound by the nuclear norm is known to, where a point of higher rank keeps the gap open

Triplets = tuple[FloatArray, FloatArray, FloatArray]
"""Left vectors, singular values above 0, right vectors."""

End = tuple[float, Triplets, FloatArray]
"""Value, outputs and bias where a descent ended."""


@dataclass(frozen=True, eq=False)
class DeepLoss:
    """The objective over dense outputs.

    Attributes
    ----------
    composite : Composite
        Fit and bias. Its threshold is not used.
    prox : SchattenProx
        κ and r.
    limit : int
        Largest rank of Z.
    """

    composite: Composite
    prox: SchattenProx
    limit: int

    def value(self, triplets: Triplets, bias: FloatArray) -> float:
        """The objective at outputs given by their singular triplets."""
        left, singular, right = triplets
        outputs = self.composite.table.forward((left * singular) @ right, np.zeros(0), bias)
        penalty = float(self.prox.penalty(singular).sum()) if len(singular) else 0.0
        return self.composite.fit(outputs) + self.composite.penalty(bias) + penalty

    def descend(self, start: Triplets, bias: FloatArray, iterations: int, slow: float) -> tuple[End, int]:
        """L-BFGS on columns ``x_j, y_j`` of ``Z = Σ_j |x_j|^e |y_j|^e x_j y_jᵀ`` with ``e = p/2 - 1``.

        At ``½κ(|X|² + |Y|²)`` for them the penalty is smooth, and nowhere below ``κ Σ σ^r``.
        """
        left, singular, right = start
        rank, (n, m) = len(singular), (left.shape[0], right.shape[1])
        root, power, kappa = singular ** (1.0 / self.prox.factors), 0.5 * self.prox.factors - 1.0, self.prox.weight
        ends = (n * rank, (n + m) * rank)
        free = self.composite.has_bias

        def columns(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            b = x[ends[1] :] if free else bias
            return x[: ends[0]].reshape(n, rank), x[ends[0] : ends[1]].reshape(m, rank), b

        def objective(x: FloatArray) -> tuple[float, FloatArray]:
            one, two, b = columns(x)
            lengths = [np.maximum(np.linalg.norm(part, axis=0), 1e-100) for part in (one, two)]
            scaled = [part * length**power for part, length in zip((one, two), lengths, strict=True)]
            outputs = self.composite.table.forward(scaled[0] @ scaled[1].T, np.zeros(0), b)
            matrix, _, turn = self.composite.pull(self.composite.gradient(outputs))
            slopes = []
            for part, length, slope in zip(
                (one, two), lengths, (matrix @ scaled[1], matrix.T @ scaled[0]), strict=True
            ):
                along = np.sum(part * slope, axis=0) / length**2
                slopes.append(length**power * (slope + power * along * part) + kappa * part)
            value = self.composite.fit(outputs) + self.composite.penalty(b)
            value += 0.5 * kappa * float(np.sum(one**2) + np.sum(two**2))
            if free:
                slopes.append(turn + self.composite.bias_decay * b)
            return value, np.concatenate([s.ravel() for s in slopes])

        parts = [left * root, right.T * root, bias] if free else [left * root, right.T * root]
        options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 30, "ftol": slow, "gtol": 1e-13}
        x = np.concatenate([p.ravel() for p in parts])
        found = minimize(objective, x, jac=True, method="L-BFGS-B", options=options)
        one, two, b = columns(found.x)
        lengths = [np.linalg.norm(part, axis=0) for part in (one, two)]
        product = (one * lengths[0] ** power) @ (two * lengths[1] ** power).T
        value, triplets = self._pruned(product, b, rank)
        return (value, triplets, b), int(found.nit)

    def _pruned(self, matrix: FloatArray, bias: FloatArray, rank: int) -> tuple[float, Triplets]:
        """Its value and triplets, without small singular values that cost more than they save."""
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        best = (math.inf, (left[:, :0], singular[:0], right[:0]))
        fewest = int(np.count_nonzero(singular[:rank] > _NEGLIGIBLE * singular[0])) if singular[0] > 0 else 0
        for kept in range(fewest, rank + 1):
            triplets = left[:, :kept], singular[:kept], right[:kept]
            best = min(best, (self.value(triplets, bias), triplets), key=lambda end: end[0])
        return best

    def residual(self, triplets: Triplets, bias: FloatArray) -> float:
        """Gradient where the objective has one: on the range of Z and along the bias, relative to the penalty's."""
        left, singular, right = triplets
        outputs = self.composite.table.forward((left * singular) @ right, np.zeros(0), bias)
        matrix, _, turn = self.composite.pull(self.composite.gradient(outputs))
        pull = self.prox.weight * self.prox.power * singular ** (self.prox.power - 1.0)
        size = float(np.linalg.norm(pull)) or float(np.linalg.norm(matrix)) or 1.0
        gaps = [matrix @ right.T + left * pull, left.T @ matrix + pull[:, None] * right]
        if self.composite.has_bias:
            gaps.append(turn + self.composite.bias_decay * bias)
        return max(float(np.linalg.norm(gap)) for gap in gaps) / size

    def lower_bound(self, reached: float) -> float:
        """A bound of ``min Φ + κ |Z|_*^r``, and so of the minimum, below a value that is reached.

        ``t^r`` is concave: over an interval of nuclear norms it is at least its chord, and with that the problem is
        convex. The interval with the lowest bound is split until that is next to a value of the relaxed problem.
        """
        targets, copies = self.composite.table.targets, self.composite.table.copies
        least = self.composite.loss.conjugate(np.zeros_like(targets), targets, copies)
        floor = -float(least @ self.composite.table.weights)
        kappa, r = self.prox.weight, self.prox.power
        if reached - floor <= RELATIVE_TOLERANCE * reached:
            return floor
        # No point below the value reached has a larger nuclear norm.
        last = ((reached - floor) / kappa) ** (1.0 / r) * (1.0 + 1e-12)
        relaxed = reached

        def bounded(low: float, high: float) -> tuple[float, float, float, float]:
            nonlocal relaxed
            price = kappa * (high**r - low**r) / (high - low)
            found = minimize_composite(replace(self.composite, threshold=price))
            nuclear = float(found.factors.singular.sum())
            relaxed = min(relaxed, found.loss - price * nuclear + kappa * nuclear**r)
            bound = found.certificate.lower_bound + kappa * low**r - price * low
            inside = nuclear if low + 0.01 * (high - low) < nuclear < high - 0.01 * (high - low) else 0.5 * (low + high)
            return max(bound, floor), low, high, inside

        heap = [bounded(0.0, last)]
        for _ in range(_INTERVALS):
            tolerance = 0.1 * RELATIVE_TOLERANCE if relaxed > reached * (1.0 - _LOOSE) else _LOOSE
            if heap[0][0] >= relaxed - tolerance * abs(relaxed):
                break
            _, low, high, inside = heapq.heappop(heap)
            for interval in ((low, inside), (inside, high)):
                heapq.heappush(heap, bounded(*interval))
        return min(heap[0][0], reached)

    @cached_property
    def _resting(self) -> tuple[FloatArray, FloatArray]:
        """Slope of the fit in Z, and the best bias, where nothing is learned."""
        zero, bias = self.composite.start()
        outputs = self.composite.table.forward(zero.matrix, zero.contrast, bias)
        return self.composite.pull(self.composite.gradient(outputs))[0], bias

    def starts(self, generator: np.random.Generator) -> Iterator[tuple[Triplets, FloatArray]]:
        """Minimizers at prices of the nuclear norm, cut to each rank, classes on circles, and codes of low rank."""
        slope, bias = self._resting
        largest, sizes = float(np.linalg.norm(slope, 2)), [0.0]
        for share in _SHARES if largest > 0 else ():
            found = minimize_composite(replace(self.composite, threshold=share * largest))
            point, most = found.factors, min(len(found.factors.singular), self.limit)
            sizes.append(float(point.singular.sum()))
            for kept in {*range(1, min(most, _RANKS) + 1), most} - {0}:
                # A cut raises what is kept, so that the outputs keep their size.
                singular = point.singular[:kept] * (point.singular.sum() / point.singular[:kept].sum())
                yield (point.left[:, :kept], singular, point.right[:kept]), found.bias
        classes = slope.shape[1]
        if max(sizes) == 0:
            return
        circles = self.limit > 1 and classes > 2
        for order in _circular_orders(classes, generator) if circles else ():
            angles = 2.0 * math.pi * np.argsort(order) / classes
            yield self.coded(np.stack([np.cos(angles), np.sin(angles)]), max(sizes)), bias
        for number in range(_RANDOM_STARTS):
            rank = 1 + number % min(self.limit, _CODES)
            yield self.coded(generator.standard_normal((rank, classes)), max(sizes)), bias

    def coded(self, code: FloatArray, size: float) -> Triplets:
        """Outputs of nuclear norm `size` along the steepest fall from 0, as far as classes with this `code` can go."""
        slope, _ = self._resting
        basis = np.linalg.qr(code.T)[0]
        left, singular, right = np.linalg.svd(-slope @ basis @ basis.T, full_matrices=False)
        rank = max(1, int(np.count_nonzero(singular[: len(code)] > _NEGLIGIBLE * singular[0])))
        total = float(singular[:rank].sum()) or 1.0
        return left[:, :rank], singular[:rank] * (size / total), right[:rank]


def _circular_orders(classes: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Orders of classes on a circle, up to turns and reflections: all of them where they are few."""
    if classes <= 5:
        for rest in itertools.permutations(range(1, classes)):
            if rest[0] < rest[-1]:
                yield (0, *rest)
        return
    for _ in range(_CIRCLES):
        yield tuple(int(k) for k in generator.permutation(classes))


def minimize_deep_loss(model: DeepLoss, root_priors: FloatArray) -> Minimum[DenseFactors]:
    """Return the lowest of several descents.

    Parameters
    ----------
    model : DeepLoss
        What to minimize.
    root_priors : (K,)
        u.

    Returns
    -------
    Minimum
        Its certificate is of kind ``duality_gap`` where the lower bound is met, as at rank one, else ``stationary``.
        All factors bear the same decay.
    """
    zero, bias = model.composite.start()
    nothing = zero.left[:, :0], zero.singular[:0], zero.right[:0]
    best: End = (model.value(nothing, bias), nothing, bias)
    generator, steps = np.random.default_rng(0), 0
    for start, offset in model.starts(generator):
        end, taken = model.descend(start, offset, _SCREEN, _SLOW)
        best, steps = min(best, end, key=lambda e: e[0]), steps + taken
    pairs = list(itertools.combinations(range(len(root_priors)), 2)) if len(root_priors) > 2 else []
    tried = _EXCHANGES
    while tried and pairs and len(best[1][1]):
        # Around again from each lower end, until no exchange lowers it or there were enough of them.
        before = best[0]
        for pair in generator.permutation(pairs)[:tried]:
            code = best[1][2].copy()
            code[:, pair] = code[:, pair[::-1]]
            end, taken = model.descend(model.coded(code, float(best[1][1].sum())), best[2], _SCREEN, _SLOW)
            best, steps, tried = min(best, end, key=lambda e: e[0]), steps + taken, tried - 1
        if best[0] >= before * (1.0 - _SLOW):
            break
    if len(best[1][1]):
        end, taken = model.descend(best[1], best[2], _POLISH, 0.0)
        best, steps = min(best, end, key=lambda e: e[0]), steps + taken
    loss, triplets, bias = best
    at_rest = model.residual(triplets, bias) <= STATIONARY_TOLERANCE
    certificate = certify(loss, model.lower_bound(loss), tolerance=RELATIVE_TOLERANCE).or_stationary(at_rest)
    left, singular, right = triplets
    values = np.zeros(min(left.shape[0], right.shape[1]))
    values[: len(singular)] = singular
    root = singular ** (1.0 / model.prox.factors)
    factors = DenseFactors(left * (singular / root), root[:, None] * right / root_priors, values)
    return Minimum(loss, bias, certificate, steps, factors)
