"""Leaving a saddle: a step along the direction in which the objective falls, which its gradient does not show."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import LBFGS

from encollapse.train.loop.dead_units import wake_dead_units_
from encollapse.train.loop.stationarity import class_residual
from encollapse.train.loop.task import Task

FREE = 0.1
"""Share of a full step below which a direction of feature space counts as free."""

ITERATIONS = 40
"""Of L-BFGS, with which the backbone follows."""

DAMPING = 1e-3
"""Of the least squares in the last layer, as a share of the mean square of what enters it."""


def leave_saddle(task: Task) -> bool:
    """Grow head and features along the singular vectors of the residual above the threshold, and say whether any are.

    With ``R = Σ s_i u_i v_iᵀ`` as in :class:`encollapse.train.Stationarity`, the proximal step of the convex problem in
    ``Z = W M diag(√π)`` adds ``(s_i - c) u_i v_iᵀ`` for each ``s_i > c``, whose directions Z does not have yet. It
    becomes ``W += √(s_i - c) u_i r_iᵀ`` and ``m_k += √(s_i - c) r_i v_ik/√π_k`` in feature directions r that the head
    does not use. The backbone is fitted to these features by least squares. The r are those nearest to fixed random
    images of the u, so that they turn along with these where singular values are equal, and rounding, which decides
    between equal ones, does not decide the step.
    """
    rows = task.workers.span(task.num_samples)
    with torch.no_grad():
        features = task.workers.gather(task.all_features(rows).cpu().double(), task.num_samples)
        weight = task.head.weight.cpu().double()
        bias = 0.0 if task.head.bias is None else task.head.bias.cpu().double()
        slopes = task.loss.slopes(features @ weight.T + bias, task.codewords)
        if task.weights is not None:
            slopes = slopes * task.weights[:, None]
        left, sizes, right = torch.linalg.svd(-class_residual(slopes, task.labels), full_matrices=False)
        _, used, directions = torch.linalg.svd(weight, full_matrices=True)
        threshold = task.units.decay
        # Free is what the head uses little beside what the step gives: with many classes none is wholly unused.
        free = directions[int((used > FREE * (sizes[0] - threshold).clamp(min=0).sqrt()).sum()) :]
        count = min(int((sizes > threshold).sum()), len(free))
        if count == 0:
            return False
        amounts = (sizes[:count] - threshold).clamp(min=0).sqrt()
        shares = torch.bincount(task.labels).double() / task.num_samples
        ways = _nearest(free, left[:, :count])
        steps = (amounts[:, None] * right[:count] / shares.clamp(min=1e-300).sqrt()).T @ ways
        task.head.weight.add_(((left[:, :count] * amounts) @ ways).to(task.head.weight))
        targets = (features + steps[task.labels])[rows]
    wake_dead_units_(task)
    _fit_last_layer_(task, targets, rows)
    _follow(task, targets, rows)
    return True


def _nearest(free: Tensor, left: Tensor) -> Tensor:
    """Orthonormal rows in the span of the rows `free`, one for each column of `left`, nearest to random images."""
    image = torch.randn(free.shape[1], len(left), dtype=left.dtype, generator=torch.Generator().manual_seed(0))
    outer, _, inner = torch.linalg.svd(free @ image @ left, full_matrices=False)
    nearest: Tensor = (outer @ inner).T @ free
    return nearest


@torch.no_grad()
def _fit_last_layer_(task: Task, targets: Tensor, rows: slice) -> None:
    """Least squares in the last linear layer alone, which with wide layers is most of the way for few samples."""
    backbone = task.classifier.backbone
    if backbone.last is None or backbone.tail is not None:
        return
    task.classifier.eval()
    entering = backbone.activations(task.inputs[rows]).cpu().double()
    entering = torch.cat([entering, entering.new_ones(len(entering), 1)], dim=1)
    missing = targets - task.all_features(rows).cpu().double()
    gram, product = task.workers.sum(entering.T @ entering), task.workers.sum(entering.T @ missing)
    gram.diagonal().add_(DAMPING * gram.diagonal().mean())
    change = torch.linalg.solve(gram, product)
    backbone.last.weight.add_(change[:-1].T.to(backbone.last.weight))
    backbone.last.bias.add_(change[-1].to(backbone.last.bias))


def _follow(task: Task, targets: Tensor, rows: slice) -> None:
    """Fit the backbone to features of the samples `rows`."""
    trained = list(task.backbone_parameters())
    optimizer = LBFGS(
        trained,
        max_iter=ITERATIONS,
        max_eval=4 * ITERATIONS,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    task.classifier.eval()

    def distance() -> Tensor:
        optimizer.zero_grad()
        found = task.all_features(rows).cpu().double()
        loss = 0.5 * (found - targets).square().sum() / task.num_samples
        loss.backward()  # type: ignore[no-untyped-call]
        task.workers.sum_gradients(trained)
        return task.workers.sum(loss.detach())

    optimizer.step(distance)  # type: ignore[no-untyped-call]
