"""Features without negative entries, with classifier and bias eliminated.

For given class means the best W and b are a ridge regression. With ``X = M diag(u)/√λ_W ≥ 0``, ``β = λ_b/(1 + λ_b)``,
``B = A_c + √β ē uᵀ``, ``D = I - (1 - √β) u uᵀ`` and ``Γ = XᵀX`` what is left to minimize is

    J(Γ) = ½ tr B (I + D Γ D)⁻¹ Bᵀ + ½ c² tr Γ,

a *convex* function of Γ: only the set of Gram matrices of non-negative vectors (the completely positive matrices) makes
the problem hard. Every such Γ is doubly nonnegative, positive semidefinite with no entry below 0, so the minimum over
those is a lower bound :cite:p:`berman2003`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.bias_decay import mean_share
from encollapse.ufm.mse.weighted_labels import WeightedLabels
from encollapse.ufm.relu.lower_bound import DualPoint


@dataclass(frozen=True, eq=False)
class ReluModel:
    """J, in units of the labels.

    Parameters
    ----------
    labels : WeightedLabels
        The dense labels.
    threshold : float
        c, in their units.
    bias_decay : float
        ``λ_b``.
    """

    labels: WeightedLabels
    threshold: float
    bias_decay: float

    @property
    def share(self) -> float:
        """``β``, 1 without a bias."""
        return mean_share(self.bias_decay)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.labels.root_priors)

    @cached_property
    def targets(self) -> FloatArray:
        """B, shape (q, K)."""
        mean = np.outer(self.labels.mean, self.labels.root_priors)
        return self.labels.centered + math.sqrt(self.share) * mean

    @cached_property
    def gram(self) -> FloatArray:
        """``BᵀB``, shape (K, K)."""
        return np.asarray(self.targets.T @ self.targets)

    def weighted(self, features: FloatArray) -> FloatArray:
        """``X D``, shape (d, K)."""
        u = self.labels.root_priors
        return features - (1.0 - math.sqrt(self.share)) * np.outer(features @ u, u)

    def _both_sides(self, matrix: FloatArray) -> FloatArray:
        """``D matrix D``."""
        return self.weighted(self.weighted(matrix).T).T

    def at(self, gram: FloatArray) -> tuple[float, FloatArray]:
        """J and its gradient with respect to ``Γ = gram``, shape (K, K)."""
        value, gradient, _ = self.derivatives(gram)
        return value, gradient

    @property
    def weight_price(self) -> float:
        """W is in units of √λ_W."""
        return 1.0

    def value_and_gradient(self, features: FloatArray, rest: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """J and its derivative in the features. The classifier and the bias are eliminated, so there is no rest."""
        value, gradient = self.at(features.T @ features)
        return value, 2.0 * features @ gradient, rest

    def rest_of(self, outputs: FloatArray, features: FloatArray, rest: FloatArray) -> FloatArray:
        """Nothing is left."""
        del outputs, features
        return rest

    def outputs(self, features: FloatArray, rest: FloatArray) -> FloatArray:
        """``Z`` (q, K)."""
        del rest
        return np.asarray(self.classifier(features)[0] @ features)

    def dual(self, features: FloatArray, rest: FloatArray) -> DualPoint:
        """Return ``Y = R D`` with the residual ``R = B - Z D = B (I + D Γ D)⁻¹``.

        The dual problem is to maximize ``<R, B> - ½|R|²`` over all R for which ``R D`` is feasible.
        """
        del rest
        residual = self.targets @ self._resolvent(features.T @ features)
        point = self.weighted(residual)
        linear, square = float(np.sum(residual * self.targets)), float(np.sum(residual**2))

        def value(share: float) -> float:
            best = min(share, linear / square) if square > 0 else 0.0
            return best * linear - 0.5 * best**2 * square

        return DualPoint(point.T @ point, value)

    def _resolvent(self, gram: FloatArray) -> FloatArray:
        """``(I + D Γ D)⁻¹``."""
        resolvent = np.linalg.inv(np.eye(self.num_classes) + self._both_sides(gram))
        return np.asarray(0.5 * (resolvent + resolvent.T))

    def derivatives(self, gram: FloatArray) -> tuple[float, FloatArray, tuple[FloatArray, FloatArray]]:
        """J, its gradient (K, K), and the pair (P, Q) of (K, K) that gives the gradient's change along V.

        That is ``½ (P V Q + Q V P)`` for a symmetric V. ``P ∘ Q`` is the second derivative in the diagonal of Γ.
        """
        identity, resolvent = np.eye(self.num_classes), self._resolvent(gram)
        pull = self._both_sides(resolvent @ self.gram @ resolvent)
        value = 0.5 * float(np.sum(self.gram * resolvent)) + 0.5 * self.threshold**2 * float(np.trace(gram))
        return value, 0.5 * (self.threshold**2 * identity - pull), (self._both_sides(resolvent), pull)

    def classifier(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Best classifier times √λ_W, shape (q, d), and best bias, shape (q,), for ``X = features``."""
        weighted = self.weighted(features)
        inner = np.eye(len(features)) + weighted @ weighted.T
        weight = np.asarray(np.linalg.solve(inner, weighted @ self.targets.T).T, dtype=np.float64)
        if math.isinf(self.bias_decay):
            return weight, np.zeros_like(self.labels.mean)
        left_over = self.labels.mean - weight @ (features @ self.labels.root_priors)
        return weight, left_over / (1.0 + self.bias_decay)

    def loss(self, features: FloatArray) -> float:
        """F at ``X = features`` with its best classifier and bias, term by term."""
        weight, bias = self.classifier(features)
        u = self.labels.root_priors
        residual = weight @ features + np.outer(bias - self.labels.mean, u) - self.labels.centered
        penalty = 0.0 if math.isinf(self.bias_decay) else self.bias_decay * float(bias @ bias)
        decay = float(np.sum(weight**2)) + self.threshold**2 * float(np.sum(features**2))
        # W is in units of √λ_W, so that its decay has a factor of one.
        return 0.5 * (float(np.sum(residual**2)) + decay + penalty)
