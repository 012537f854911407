"""How far a network is from a minimum of the objective, judged from the network alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from encollapse.train.losses import LOSSES, Loss

if TYPE_CHECKING:
    from encollapse.train.loop.task import Task


@dataclass(frozen=True)
class Stationarity:
    """First- and second-order conditions of the objective in W, b and the features, free of scale.

    Both parts are 0 at a minimum of the unrestricted feature model, and neither needs to know it.

    Attributes
    ----------
    descent : float
        Squared norm of the gradient, ``(|∂_W F|²/λ_W + |∂_H F|²/λ_H + |∂_b F|²/(1+λ_b)) / mean|e|²``: in the
        variables in which each regularizer is ``½|·|²``, relative to the loss at zero. It is about the
        relative loss that descent can still gain.
    escape : float
        ``max(0, |R|_op/c - 1)``, where R (q, K) holds the mean residual ``e_k - W m_k - b`` of each class (under
        cross-entropy, codeword less softmax) times ``√π_k``, and ``c = √(N λ_W λ_H)``. Growing W and the features
        together along the top singular vectors of R, in a direction of feature space that neither uses, lowers F if
        and only if this is positive: it is the negative curvature of a saddle, which networks pass slowly because the
        gradient vanishes there too. 0 where the head uses every direction already.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.train.Stationarity(descent=1e-6, escape=0.25).value
    0.25
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
    loss: str | Loss = "mse",
    weights: Tensor | None = None,
    fixed_weight: bool = False,
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
    weight, bias, weight_decay, feature_decay, bias_decay, loss
        As in :func:`encollapse.train.objective`. `loss` may be an object with values, slopes and scale.
    weights : (N,) tensor, optional
        Weight of each sample's loss. Default: 1.
    rectified : bool
        Features cannot be negative. The gradient then counts only where a feature may follow it, and `escape` is 0,
        for no free direction is known.
    fixed_weight : bool
        The weight is given. Its gradient does not count, and `escape` is 0, for what is left is convex.

    Returns
    -------
    Stationarity
        Its two parts, and their larger one as ``value``.

    Examples
    --------
    At zero the gradient vanishes, and yet the objective falls from there:

    >>> import torch
    >>> import encollapse as ec
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> zero, weight = torch.zeros(4, 5), torch.zeros(2, 5)
    >>> decays = dict(weight_decay=0.1, feature_decay=0.025, bias_decay=0.0)
    >>> found = ec.train.stationarity(zero, torch.eye(2)[labels], labels, weight, None, **decays)
    >>> round(found.descent, 6), round(found.escape, 4)
    (0.0, 6.0711)
    """
    n, measure = len(features), LOSSES[loss] if isinstance(loss, str) else loss
    outputs = features @ weight.T + (0.0 if bias is None else bias)
    slopes = measure.slopes(outputs, targets)
    if weights is not None:
        slopes = slopes * weights[:, None]
    by_features = slopes @ weight / n + feature_decay * features
    if rectified:
        by_features = torch.where(features > 0, by_features, by_features.clamp(max=0.0))
    total = by_features.square().sum() / feature_decay
    if not fixed_weight:
        by_weight = slopes.T @ features / n + weight_decay * weight
        total = total + by_weight.square().sum() / weight_decay
    if bias is not None:
        total = total + (slopes.mean(0) + bias_decay * bias).square().sum() / (1.0 + bias_decay)
    descent = _relative(float(total), measure.scale(targets))
    if rectified or fixed_weight or not math.isfinite(descent):
        return Stationarity(descent, 0.0)
    if int(torch.linalg.matrix_rank(weight, rtol=1e-3)) == weight.shape[1]:
        return Stationarity(descent, 0.0)
    threshold = math.sqrt(n * feature_decay) * math.sqrt(weight_decay)
    excess = float(torch.linalg.matrix_norm(class_residual(slopes, labels), 2)) / threshold - 1.0
    return Stationarity(descent, max(0.0, excess))


def parameter_stationarity(task: Task) -> Stationarity:
    """First-order condition of an objective that regularizes parameters and no features.

    `descent` is the squared gradient in all trained parameters, each over its decay (over ``1 + λ_b`` for the head's
    bias), relative to the loss at zero. `escape` is 0. Weights whose scale a last batch normalization undoes have no
    size of their own, so that their gradient counts relative to what they are: ``(|∂_θ F| |θ|)²``, over the loss at
    zero in place of a decay.
    """
    trained = [p for p in task.classifier.parameters() if p.requires_grad]
    with torch.enable_grad():
        for parameter in trained:
            parameter.grad = None
        rows, workers, head = task.workers.span(task.num_samples), task.workers, task.head
        features = task.all_features(rows).cpu().double()
        outputs = features @ head.weight.cpu().double().T
        if head.bias is not None:
            outputs = outputs + head.bias.cpu().double()
        targets, weights = task.codewords[rows], task.weights_of(rows)
        loss = task.objective.samples(outputs, features, targets, task.num_samples, weights)
        if workers.leads:
            loss = loss + task.objective.penalty(head.weight, head.bias, task.backbone_parameters()).cpu()
        loss.backward()  # type: ignore[no-untyped-call]
    workers.sum_gradients(trained)
    total, scale = 0.0, task.loss.scale(task.codewords)
    free = {id(p) for p, _ in task.classifier.backbone.scale_free()}
    for parameter in trained:
        decay = 1.0 + task.objective.bias_decay if parameter is head.bias else task.objective.weight_decay
        if id(parameter) in free:
            decay = scale / max(float(parameter.detach().double().square().sum()), 1e-300)
        if parameter.grad is not None:
            total += float(parameter.grad.double().square().sum()) / decay
            parameter.grad = None
    return Stationarity(_relative(total, scale), 0.0)


def _relative(value: float, scale: float) -> float:
    return value / scale if scale > 0 else value


def class_residual(slopes: Tensor, labels: Tensor) -> Tensor:
    """Mean slope of each class times ``√π_k``, shape (q, K), from slopes (N, q) and labels (N,)."""
    counts = torch.bincount(labels).to(slopes.dtype)
    sums = slopes.new_zeros(len(counts), slopes.shape[1]).index_add_(0, labels, slopes)
    return (sums / (len(labels) * counts.clamp(min=1)).sqrt()[:, None]).T
