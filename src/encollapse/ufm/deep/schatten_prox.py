"""What a chain of layers does to one singular value: ``½(s - a)² + κ s^{2/p}``, minimized over ``s ≥ 0``.

p factors with weight decay, multiplied to an outcome of singular value s, cost ``κ s^{2/p}`` at their best split
:cite:p:`shang2020`. Two factors give the soft threshold. From three on the cost is not convex: next to a local minimum
at ``s > 0`` there is one at 0, and which of them is lower changes abruptly at a threshold in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray

_MAX_ITERATIONS = 60  # a guard: the method converges quadratically


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of positive numbers, exact where all are equal."""
    if len(set(values)) == 1:
        return values[0]
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def common_decay(num_samples: int, feature_decay: float, weight_decays: Sequence[float]) -> float:
    """``(N λ_H Π λ_l)^{1/p}``: the decay that all p factors could have instead of their own."""
    decays = (num_samples, feature_decay, *weight_decays)
    return math.exp(math.fsum(map(math.log, decays)) / len(decays[1:]))


@dataclass(frozen=True)
class SchattenProx:
    """Global minimum of ``½(s - a)² + κ s^r`` with ``r = 2/p``.

    Parameters
    ----------
    factors : int
        p, at least 2: the weight layers and the features.
    weight : float
        κ, above 0.
    """

    factors: int
    weight: float

    @classmethod
    def of_decays(cls, num_samples: int, feature_decay: float, weight_decays: Sequence[float]) -> SchattenProx:
        """What the layers do to one singular value: ``κ = (p/2)(N λ_H Π λ_l)^{1/p}`` with ``p = depth + 1`` factors."""
        if len(weight_decays) == 1:
            # Separate roots: the product itself can leave the range of float64.
            return cls(2, math.sqrt(num_samples) * math.sqrt(weight_decays[0]) * math.sqrt(feature_decay))
        factors = len(weight_decays) + 1
        return cls(factors, 0.5 * factors * common_decay(num_samples, feature_decay, weight_decays))

    @property
    def power(self) -> float:
        """The exponent ``r = 2/p``."""
        return 2.0 / self.factors

    @cached_property
    def jump(self) -> float:
        """The value ``s₀ = (2κ(1 - r))^{1/(2 - r)}`` at the threshold, where 0 is as good, 0 for two factors.

        Equal value at s and 0 means ``a = s/2 + κ s^{r-1}``, and stationarity ``a = s + κ r s^{r-1}``.
        """
        r = self.power
        return float((2.0 * self.weight * (1.0 - r)) ** (1.0 / (2.0 - r)))

    @cached_property
    def threshold(self) -> float:
        """Largest a for which ``s = 0`` is a global minimum: ``s₀ (2 - r)/(2(1 - r))``, or κ for two factors."""
        if self.factors == 2:
            return self.weight
        r = self.power
        return self.jump * (2.0 - r) / (2.0 * (1.0 - r))

    def scaled(self, factor: float) -> SchattenProx:
        """Return the same problem with κ multiplied by `factor`."""
        return SchattenProx(self.factors, self.weight * factor)

    def in_units(self, scale: float) -> SchattenProx:
        """Return the same problem for values and outcomes divided by `scale`."""
        return self.scaled(scale ** (self.power - 2.0))

    def minimizer(self, values: FloatArray) -> FloatArray:
        """Return the global minimizer for each a in `values`, of any shape, 0 at the threshold itself."""
        result = np.zeros_like(values)
        # What exceeds the threshold by rounding only is not learned.
        scale = max(self.threshold, float(np.max(values, initial=0.0)))
        learned = values - self.threshold > 8 * EPS * scale
        result[learned] = self._root(values[learned])
        return result

    def _root(self, values: FloatArray) -> FloatArray:
        """Larger root of the derivative, for values above the threshold.

        The derivative ``s - a + κ r s^{r-1}`` is convex and, from ``s₀`` on, increasing with slope at least
        ``1 - r/2``: Newton's method from ``s = a`` comes down on the root without ever passing it.
        """
        if self.factors == 2:
            return values - self.weight
        r, kappa = self.power, self.weight
        s = values.copy()
        for _ in range(_MAX_ITERATIONS):
            pull = kappa * r * s ** (r - 1.0)
            slope = 1.0 - (1.0 - r) * pull / s
            following = np.clip(s - ((s - values) + pull) / slope, self.jump, values)
            done = np.abs(following - s) <= EPS * s
            s = following
            if done.all():
                break
        return s

    def penalty(self, outcome: FloatArray) -> FloatArray:
        """``κ s^r`` for each outcome s."""
        return np.asarray(self.weight * outcome**self.power)

    def value(self, values: FloatArray, outcome: FloatArray | None = None) -> FloatArray:
        """Return the minimum for each a, or the value at `outcome`."""
        s = self.minimizer(values) if outcome is None else outcome
        return np.asarray(0.5 * (s - values) ** 2 + self.penalty(s))

    def slope(self, outcome: FloatArray) -> FloatArray:
        """Derivative of a minimizer ``s > 0`` with respect to a: ``1/(1 - κ r (1 - r) s^{r-2})``."""
        r = self.power
        return np.asarray(1.0 / (1.0 - self.weight * r * (1.0 - r) * outcome ** (r - 2.0)))
