"""The best head for given features."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def best_head(
    features: Tensor, targets: Tensor, *, weight_decay: float, bias_decay: float
) -> tuple[Tensor, Tensor | None]:
    """Weight (q, d) and bias (q,) that minimise the objective for fixed features: a ridge regression.

    Solved in float64 on the CPU, whatever the features' type and device. Without a bias (`bias_decay` infinite) the
    second value is None.

    Parameters
    ----------
    features, targets : (N, d), (N, q) tensors
        One row a sample.
    weight_decay, bias_decay : float
        ``λ_W`` above 0 and ``λ_b`` of 0 or above.
    """
    columns, wanted = features.cpu().double(), targets.cpu().double()
    decays = [weight_decay] * columns.shape[1]
    if not math.isinf(bias_decay):
        columns = torch.cat([columns, columns.new_ones(len(columns), 1)], 1)
        decays.append(bias_decay)
    gram = columns.T @ columns / len(columns) + torch.diag(columns.new_tensor(decays))
    solution = torch.linalg.solve(gram, columns.T @ wanted / len(columns))
    if math.isinf(bias_decay):
        return solution.T.contiguous(), None
    return solution[:-1].T.contiguous(), solution[-1]
