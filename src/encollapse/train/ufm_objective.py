"""The objective of the unrestricted feature model, and what plain weight decay minimizes in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from encollapse.train.losses import LOSSES, Loss


@dataclass(frozen=True)
class Objective:
    """A loss with its regularization.

    Attributes
    ----------
    loss : Loss
        Between outputs and targets.
    num_samples : int
        Number N of samples in the whole training set.
    weight_decay, feature_decay, bias_decay : float
        ``λ_W``, ``λ_H`` and ``λ_b``. The last may be infinite where there is no bias.
    parameter_decay : float
        λ of the parameters of the backbone, 0 but for plain weight decay.
    """

    loss: Loss
    num_samples: int
    weight_decay: float
    feature_decay: float
    bias_decay: float
    parameter_decay: float = 0.0

    def samples(
        self, outputs: Tensor, features: Tensor, targets: Tensor, count: int, weights: Tensor | None = None
    ) -> Tensor:
        """Sum over samples of ``w ℓ + (N λ_H/2)|h|²``, divided by `count`: all terms but those of parameters."""
        values = self.loss.values(outputs, targets)
        total = (values if weights is None else weights * values).sum()
        if self.feature_decay > 0:
            total = total + 0.5 * self.num_samples * self.feature_decay * features.square().sum()
        return total / count

    def penalty(self, weight: Tensor, bias: Tensor | None, parameters: Iterable[Tensor] = ()) -> Tensor:
        """``λ_W/2 |W|² + λ_b/2 |b|² + λ/2 Σ|θ|²`` over the given parameters of the backbone."""
        total = 0.5 * self.weight_decay * weight.square().sum()
        if bias is not None and self.bias_decay > 0:
            total = total + 0.5 * self.bias_decay * bias.square().sum()
        if self.parameter_decay > 0:
            squares = [parameter.square().sum() for parameter in parameters]
            total = total + 0.5 * self.parameter_decay * torch.stack(squares).sum().to(total)
        return total

    def eased(self, share: float) -> Objective:
        """The same with a share of the weight and feature decay."""
        return replace(self, weight_decay=share * self.weight_decay, feature_decay=share * self.feature_decay)


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
    loss: str = "mse",
) -> Tensor:
    """Value of ``F`` estimated from a minibatch, exact when the batch is the whole set :cite:p:`massion2026`.

    The mean over the batch of ``½|W h + b - e|² + (N λ_H/2)|h|²``, plus ``λ_W/2 |W|² + λ_b/2 |b|²``. The
    features are regularized themselves. The backbone is not regularized at all.

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
        The head's bias b, or None where there is none (``λ_b = ∞``).
    num_samples : int
        Number N of samples in the whole training set.
    weight_decay, feature_decay, bias_decay : float
        ``λ_W``, ``λ_H`` and ``λ_b``.
    loss : {"mse", "cross_entropy"}
        What takes the place of the first term.

    Returns
    -------
    Tensor
        The value, a scalar with its gradient.

    Examples
    --------
    >>> import torch
    >>> import encollapse as ec
    >>> features, weight, bias = torch.ones(3, 5), torch.ones(2, 5), torch.zeros(2)
    >>> targets = torch.tensor([[5.0, 4.0]]).repeat(3, 1)
    >>> decays = dict(weight_decay=0.2, feature_decay=0.1, bias_decay=0.0)
    >>> outputs = features @ weight.T + bias
    >>> value = ec.train.objective(outputs, features, targets, weight, bias, num_samples=3, **decays)
    >>> round(float(value), 4)  # ½ + ½ · 0.3 · 5 + ½ · 0.2 · 10
    2.25
    """
    whole = Objective(LOSSES[loss], num_samples, weight_decay, feature_decay, bias_decay)
    return whole.samples(outputs, features, targets, len(outputs)) + whole.penalty(weight, bias)
