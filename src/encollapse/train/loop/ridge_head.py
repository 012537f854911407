"""The best head for given features."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Sum = Callable[[Tensor], Tensor]


def _alone(value: Tensor) -> Tensor:
    return value


@torch.no_grad()
def best_head(
    features: Tensor,
    targets: Tensor,
    *,
    weight_decay: float,
    bias_decay: float,
    weights: Tensor | None = None,
    total: Sum = _alone,
) -> tuple[Tensor, Tensor | None]:
    """Weight (q, d) and bias (q,) that minimize the squared loss for fixed features: a ridge regression.

    Solved in float64 on the CPU, whatever the features' type and device. Without a bias (`bias_decay` infinite) the
    second value is None.

    Parameters
    ----------
    features, targets : (N, d), (N, q) tensors
        One row a sample.
    weight_decay, bias_decay : float
        ``λ_W`` above 0 and ``λ_b`` of 0 or above.
    weights : (N,) tensor, optional
        Weight of each sample's loss. Default: 1.
    total : callable
        Sums a tensor over all processes that hold a part of the samples.
    """
    columns, wanted = features.cpu().double(), targets.cpu().double()
    decays = [weight_decay] * columns.shape[1]
    if not math.isinf(bias_decay):
        columns = torch.cat([columns, columns.new_ones(len(columns), 1)], 1)
        decays.append(bias_decay)
    count = total(columns.new_tensor(len(columns)))
    weighted = columns if weights is None else columns * weights.to(columns)[:, None]
    gram = total(weighted.T @ columns) / count + torch.diag(columns.new_tensor(decays))
    solution = torch.linalg.solve(gram, total(weighted.T @ wanted) / count)
    if math.isinf(bias_decay):
        return solution.T.contiguous(), None
    return solution[:-1].T.contiguous(), solution[-1]


@torch.no_grad()
def best_bias(
    features: Tensor,
    targets: Tensor,
    weight: Tensor,
    *,
    bias_decay: float,
    weights: Tensor | None = None,
    total: Sum = _alone,
) -> Tensor | None:
    """Bias (q,) that minimizes the squared loss for fixed features and weight: ``(1 + λ_b) b = mean(e - W h)``.

    With a weight w for each sample, shape (N,): ``(mean(w) + λ_b) b = mean(w (e - W h))``.
    """
    if math.isinf(bias_decay):
        return None
    left_over = targets.cpu().double() - features.cpu().double() @ weight.cpu().double().T
    each = left_over.new_ones(len(left_over)) if weights is None else weights.to(left_over)
    count = total(left_over.new_tensor(len(left_over)))
    return total(each @ left_over) / (total(each.sum()) + count * bias_decay)
