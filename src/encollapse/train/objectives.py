"""The objective of the unrestricted feature model on a minibatch."""

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
