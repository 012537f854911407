"""The objective of the unrestricted feature model on a minibatch, and how far from stationary a network is."""

import math

import torch
from torch import Tensor


def objective(
    outputs: Tensor,
    features: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    num_samples: int,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float,
) -> Tensor:
    """Value of ``F`` estimated from a minibatch; exact when the batch is the whole set :cite:p:`massion2026`.

    The mean over the batch of ``½|W h + b - e|² + (N λ_H/2)|h|²``, plus ``λ_W/2 |W|² + λ_b/2 |b|²``. The
    features are regularised themselves; the backbone is not regularised at all.

    Parameters
    ----------
    outputs : (B, q) tensor
        ``W h + b`` of each sample.
    features : (B, d) tensor
        Features h, one row a sample.
    targets : (B, q) tensor
        The codeword of each sample's class.
    weight : (q, d) tensor
        The head's weight W.
    bias : (q,) tensor or None
        The head's bias b; None where there is none (``λ_b = ∞``).
    num_samples : int
        Number N of samples in the whole training set.
    weight_decay, feature_decay, bias_decay : float
        ``λ_W``, ``λ_H`` and ``λ_b``.
    """
    fit = 0.5 * (outputs - targets).square().sum(1).mean()
    size = 0.5 * num_samples * feature_decay * features.square().sum(1).mean()
    total = fit + size + 0.5 * weight_decay * weight.square().sum()
    if bias is not None and bias_decay > 0:
        total = total + 0.5 * bias_decay * bias.square().sum()
    return total


@torch.no_grad()
def stationarity(
    features: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float,
) -> float:
    """Scale-free norm of the gradient of ``F`` with respect to W, b and all the features, at a full set.

    ``√((|∂_W F|²/λ_W + |∂_H F|²/λ_H + |∂_b F|²/(1+λ_b)) / mean|e|²)``: the gradient in the variables in
    which each regulariser is ``½|·|²``, over the size of the loss at zero. It is 0 exactly at a stationary
    point of the unrestricted feature model, does not change with the units of codewords, features or
    weights, and its square is about the relative distance of the loss from the minimum nearby.

    Parameters
    ----------
    features : (N, d) tensor
        Features of the whole training set; targets (N, q) likewise.
    weight, bias, weight_decay, feature_decay, bias_decay
        As in :func:`objective`.
    """
    n = len(features)
    outputs = features @ weight.T + (0.0 if bias is None else bias)
    residual = outputs - targets
    by_weight = residual.T @ features / n + weight_decay * weight
    by_features = residual @ weight / n + feature_decay * features
    total = by_weight.square().sum() / weight_decay + by_features.square().sum() / feature_decay
    if bias is not None:
        total = total + (residual.mean(0) + bias_decay * bias).square().sum() / (1.0 + bias_decay)
    size = float(targets.square().sum(1).mean())
    return math.sqrt(float(total) / size) if size > 0 else math.sqrt(float(total))
