"""The price ``c (Σ σ_i^{2/3})^{3/2}`` of three factors: its minimum for balanced labels, and bounds for any others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.tail.sample_norm import SampleNormProblem


@dataclass(frozen=True)
class Levels:
    """Singular values of Z: `rank` equal ones on contrasts of the classes, and one on their mean (0 if not learned)."""

    rank: int
    contrast: float
    mean: float


@dataclass(frozen=True)
class BalancedLabels:
    """Balanced affine one-hot labels: K - 1 singular values `contrast`, and `mean` at the price share β.

    Minimize ``½ Σ_i (σ_i - a)² + (β/2)(s - m)² + price(σ, s)``. Positive contrasts are equal at the minimum, and for a
    given number r of them the ratio ``s/σ = τ³`` solves a polynomial equation.
    """

    contrast: float
    mean: float
    num_classes: int
    share: float

    @property
    def ordered(self) -> bool:
        """Whether outputs aligned with the labels are known to be best: the mean comes last, or it is not free."""
        return self.share in {0.0, 1.0} or math.sqrt(self.share) * self.mean <= self.contrast * (1 + 1e-12)

    @property
    def energy(self) -> float:
        """Squared size of the labels."""
        return (self.num_classes - 1) * self.contrast**2 + self.mean**2

    def price(self, levels: Levels, root: float, budget: float, kappa: float = 0.0) -> float:
        """Least decay of head, gains and offsets. `root` is ``√(λ_W λ_γ)`` and `kappa` ``λ_γ/λ_o``."""
        contrasts = levels.rank * levels.contrast ** (2 / 3)
        mean = levels.mean ** (2 / 3)
        if kappa > 0 and (budget + kappa) * mean < kappa * (contrasts + mean):
            return float(root * (contrasts**1.5 / math.sqrt(budget) + levels.mean / math.sqrt(kappa)))
        own = kappa if levels.mean > 0 else 0.0
        return float(root / math.sqrt(budget + own) * (contrasts + mean) ** 1.5)

    def squares(self, levels: Levels, budget: float, kappa: float) -> FloatArray:
        """Mean square that each coordinate draws on, contrasts first, the mean last if it is learned."""
        contrasts = levels.rank * levels.contrast ** (2 / 3)
        mean = levels.mean ** (2 / 3)
        each = np.full(levels.rank, levels.contrast ** (2 / 3))
        if levels.mean == 0:
            return np.asarray(budget * each / max(contrasts, 1e-300))
        if kappa > 0 and (budget + kappa) * mean < kappa * (contrasts + mean):
            return np.append(budget * each / max(contrasts, 1e-300), kappa)
        return np.asarray((budget + kappa) * np.append(each, mean) / (contrasts + mean))

    def value(self, levels: Levels, root: float, budget: float, kappa: float = 0.0) -> float:
        """The objective."""
        off = self.num_classes - 1 - levels.rank
        fit = levels.rank * (levels.contrast - self.contrast) ** 2 + off * self.contrast**2
        fit += self.share * (levels.mean - self.mean) ** 2
        return 0.5 * fit + self.price(levels, root, budget, kappa)

    def best(self, root: float, budget: float, kappa: float, feature_dim: int) -> Levels:
        """Return the global minimum over all ranks that `feature_dim` holds."""
        a, m, beta = self.contrast, self.mean, self.share
        c = root / math.sqrt(budget)
        apart = max(m - root / (math.sqrt(kappa) * beta), 0.0) if kappa > 0 and beta > 0 else 0.0
        candidates = [Levels(0, 0.0, 0.0)]
        for r in range(min(self.num_classes - 1, feature_dim) + 1):
            x = max(a - c * math.sqrt(r), 0.0) if r else 0.0
            if r == 0 or x > 0:
                candidates.append(Levels(r, x, 0.0))
                if apart > 0 and r < feature_dim:
                    candidates.append(Levels(r, x, apart))
            if beta > 0 and m > 0 and r < feature_dim:
                candidates += self._joint(r, root / math.sqrt(budget + kappa))
        return min(candidates, key=lambda levels: self.value(levels, root, budget, kappa))

    def _joint(self, r: int, c: float) -> list[Levels]:
        """Stationary points with r contrasts and the mean: ``β τ (m - a τ³) = c √(r + τ²) (1 - β τ⁴)``."""
        a, m, beta = self.contrast, self.mean, self.share
        if r == 0:
            return [Levels(0, 0.0, m - c / beta)] if m > c / beta else []
        left = beta * np.polynomial.Polynomial([0.0, m, 0.0, 0.0, -a])
        right = c * np.polynomial.Polynomial([1.0, 0.0, 0.0, 0.0, -beta])
        roots = (left**2 - right**2 * np.polynomial.Polynomial([float(r), 0.0, 1.0])).roots()
        found = []
        for tau in roots[np.abs(roots.imag) <= 1e-6 * np.abs(roots)].real:
            if tau <= 0:
                continue
            t = self._polished(float(tau), r, c)
            # On the ray (1, τ³) the minimum is a quadratic in the scale.
            scale = (a * r + beta * m * t**3 - c * (r + t**2) ** 1.5) / (r + beta * t**6)
            if scale > 0:
                found.append(Levels(r, scale, scale * t**3))
        return found

    def _polished(self, tau: float, r: int, c: float) -> float:
        a, m, beta = self.contrast, self.mean, self.share
        for _ in range(3):
            root = math.sqrt(r + tau**2)
            value = beta * tau * (m - a * tau**3) - c * root * (1 - beta * tau**4)
            slope = beta * (m - 4 * a * tau**3) - c * (tau / root * (1 - beta * tau**4) - 4 * beta * tau**3 * root)
            if slope == 0 or abs(value / slope) > 0.1 * tau:
                break
            tau -= value / slope
        return tau


def separable_bound(problem: SampleNormProblem, threshold: float) -> float:
    """Lower bound of the squared error for any labels.

    ``T^{3/2} ≥ (3/2) √θ T - ½ θ^{3/2}`` at every θ, so the price is at least a sum over singular values. The best θ is
    taken. The bias is eliminated as for several layers: the smallest value may be dearer by ``β^{-1/3}``.
    """
    share, priors = problem.mean_share, problem.priors
    codewords = problem.encoding.codewords
    mean = codewords @ priors
    roots = np.sqrt(priors)
    targets = (codewords - mean[:, None]) * roots + math.sqrt(share) * np.outer(mean, roots)
    singular = np.asarray(np.linalg.svd(targets, compute_uv=False), dtype=np.float64)
    full = len(singular) == problem.num_classes and 0 < share < 1

    def bound(log_theta: float) -> float:
        theta = math.exp(log_theta)
        prox = SchattenProx(3, 1.5 * threshold * math.sqrt(theta))
        total = float(prox.value(singular[:-1] if full else singular).sum())
        if full:
            total += float(prox.scaled(share ** (-1 / 3)).value(singular[-1:]).sum())
        return float(total - 0.5 * threshold * theta**1.5)

    top = math.log(len(singular) * max(float(singular[0]), 1e-300) ** (2 / 3))
    grid = np.linspace(top - 30.0, top, 301)
    values = [bound(float(point)) for point in grid]
    best = float(grid[int(np.argmax(values))])
    found = minimize_scalar(lambda x: -bound(float(x)), bounds=(best - 0.1, best + 0.1), method="bounded")
    return max(0.0, *values, -float(found.fun))


def convex_bound(problem: SampleNormProblem, threshold: float) -> float:
    """Lower bound under any convex loss: ``(Σ σ^{2/3})^{3/2} ≥ Σ σ``, and the nuclear norm has a dual."""
    table = DenseOutputMap.of(problem.targets, problem.priors)
    composite = Composite(table, problem.any_loss, threshold, problem.bias_decay)
    return minimize_composite(composite).certificate.lower_bound
