"""How far a network is from a minimum of the objective, judged from the network alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stationarity:
    """First- and second-order conditions of the objective in W, b and the features, free of scale.

    Both parts are 0 at a minimum of the unrestricted feature model, and neither needs to know it.

    Attributes
    ----------
    descent : float
        Squared norm of the gradient, ``(|∂_W F|²/λ_W + |∂_H F|²/λ_H + |∂_b F|²/(1+λ_b)) / mean|e|²``: in the
        variables in which each regulariser is ``½|·|²``, relative to the loss at zero. It is about the
        relative loss that descent can still gain.
    escape : float
        ``max(0, |R|_op/c - 1)``, where R (q, K) holds the mean residual ``e_k - W m_k - b`` of each class times
        ``√π_k``, and ``c = √(N λ_W λ_H)``. Growing W and the features together along the top singular vectors of R,
        in a direction of feature space that neither uses, lowers F if and only if this is positive: it is the negative
        curvature of a saddle, which networks pass slowly because the gradient vanishes there too. 0 where the head
        uses every direction already.
    """

    descent: float
    escape: float

    @property
    def value(self) -> float:
        """The larger of the two."""
        return max(self.descent, self.escape)


@torch.no_grad()
def stationarity(
    features: Tensor,
    targets: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float,
    rectified: bool = False,
) -> Stationarity:
    """Judge a network by its features of the whole training set.

    Parameters
    ----------
    features : (N, d) tensor
        Features, one row a sample.
    targets : (N, q) tensor
        The codeword of each sample's class.
    labels : (N,) int tensor
        The class of each sample.
    weight, bias, weight_decay, feature_decay, bias_decay
        As in :func:`encollapse.train.objective`.
    rectified : bool
        Features cannot be negative. The gradient then counts only where a feature may follow it, and `escape` is 0,
        for no free direction is known.
    """
    n = len(features)
    residual = features @ weight.T + (0.0 if bias is None else bias) - targets
    by_weight = residual.T @ features / n + weight_decay * weight
    by_features = residual @ weight / n + feature_decay * features
    if rectified:
        by_features = torch.where(features > 0, by_features, by_features.clamp(max=0.0))
    total = by_weight.square().sum() / weight_decay + by_features.square().sum() / feature_decay
    if bias is not None:
        total = total + (residual.mean(0) + bias_decay * bias).square().sum() / (1.0 + bias_decay)
    size = float(targets.square().sum(1).mean())
    descent = float(total) / size if size > 0 else float(total)
    if rectified or not math.isfinite(descent):
        return Stationarity(descent, 0.0)
    if int(torch.linalg.matrix_rank(weight, rtol=1e-3)) == weight.shape[1]:
        return Stationarity(descent, 0.0)
    threshold = math.sqrt(n * feature_decay) * math.sqrt(weight_decay)
    excess = float(torch.linalg.matrix_norm(_class_residual(residual, labels), 2)) / threshold - 1.0
    return Stationarity(descent, max(0.0, excess))


def _class_residual(residual: Tensor, labels: Tensor) -> Tensor:
    """Mean residual of each class times ``√π_k``, shape (q, K), from residuals (N, q) and labels (N,)."""
    counts = torch.bincount(labels).to(residual.dtype)
    sums = residual.new_zeros(len(counts), residual.shape[1]).index_add_(0, labels, residual)
    return (sums / (len(labels) * counts.clamp(min=1)).sqrt()[:, None]).T
