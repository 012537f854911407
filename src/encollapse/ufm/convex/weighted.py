"""Any convex loss where classes weigh differently, or the global mean of the features has a price of its own.

Let ``T = P + ρ u uᵀ`` with ``P = I - u uᵀ`` and ``ρ² = λ_mean/λ_H``. Features cost ``N λ_H |M diag(u) T|²``, so over
``Ẑ = Z T`` the penalties are again ``c |Ẑ|_*``, and the outputs are ``Ẑ T^{-1} diag(1/u) + b 1ᵀ``. Weights of classes
multiply the loss alone. The problem stays convex, and the dual bound is that of the adjoint map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.minimize import minimize_composite
from encollapse.ufm.convex.output_maps import DenseOutputMap
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.losses.squared_error import SQUARED_ERROR
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors
from encollapse.ufm.mse.mean_price import priced_factors


@dataclass(frozen=True, eq=False)
class PricedOutputMap(DenseOutputMap):
    """``Ẑ T^{-1} diag(1/u) + b 1ᵀ``, where `inverse` is ``1/ρ``, and `weights` are those of the loss, with sum 1."""

    inverse: float = 1.0

    @classmethod
    def weighted(cls, targets: FloatArray, priors: FloatArray, weights: FloatArray, inverse: float) -> PricedOutputMap:
        """Make the map of targets (q, K), class frequencies (K,) and shares of the loss (K,)."""
        plain = DenseOutputMap.of(targets, priors)
        steepness = float((weights / priors).max()) * max(1.0, inverse**2)
        return cls(**{**vars(plain), "weights": weights, "steepness": steepness, "separable": False}, inverse=inverse)

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (q, K)."""
        table = super().forward(matrix, contrast, bias)
        table += ((self.inverse - 1.0) * (matrix @ self.root_priors))[:, None]
        return table

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`."""
        matrix, contrast, bias = super().adjoint(table)
        return matrix + (self.inverse - 1.0) * np.outer(bias, self.root_priors), contrast, bias


def minimize_weighted(
    loss: ConvexLoss,
    targets: FloatArray,
    priors: FloatArray,
    class_weights: FloatArray,
    *,
    inverse: float,
    threshold: float,
    bias_decay: float,
    balance: float,
) -> Minimum[DenseFactors]:
    """Solve the problem to a certified gap.

    Parameters
    ----------
    loss : ConvexLoss
        The loss.
    targets, priors, class_weights : (q, K), (K,), (K,)
        Targets, frequencies and factors of the loss.
    inverse : float
        ``1/ρ``.
    threshold, bias_decay : float
        c and ``λ_b``.
    balance : float
        ``(N λ_H/λ_W)^{1/4}``.
    """
    shares = class_weights * priors
    total = float(shares.sum())
    # A free bias takes over what squared labels have in common, which would drown their differences.
    center = targets @ priors if loss is SQUARED_ERROR and bias_decay == 0.0 else np.zeros(len(targets))
    table = PricedOutputMap.weighted(targets - center[:, None], priors, shares / total, inverse)
    found = minimize_composite(Composite(table, loss, threshold / total, bias_decay / total))
    point = found.factors
    factors = priced_factors(point.left, point.singular, point.right, table.root_priors, balance, inverse)
    certificate = found.certificate.in_units(total)
    bias = found.bias + center
    return replace(found.in_units(1.0, factors), loss=found.loss * total, bias=bias, certificate=certificate)
