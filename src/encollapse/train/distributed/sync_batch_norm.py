"""Batch normalization over a batch that several processes share out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from encollapse.train.distributed.process_group import ProcessGroup


@contextmanager
def shared_statistics(module: nn.Module, workers: ProcessGroup) -> Iterator[None]:
    """In this block batch normalization uses mean and variance of the batch of all processes together.

    PyTorch's own ``SyncBatchNorm`` does so on GPUs alone.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)] if workers.count > 1 else []
    for layer in layers:
        layer.forward = partial(_normalize, layer, workers)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _normalize(layer: _BatchNorm, workers: ProcessGroup, inputs: Tensor) -> Tensor:
    """What `layer` makes of `inputs` (N, C, ...), a part of the batch that may be empty."""
    if not layer.training:
        return _alone(layer, inputs)
    values = inputs.float()
    others = [axis for axis in range(values.dim()) if axis != 1]
    sizes = values.new_tensor([len(values), values.numel() / max(1, values.shape[1])])
    sums = _sum(torch.cat([values.sum(others), sizes]), workers)
    rows, count = sums[-2:].tolist()
    if rows < 2:
        # One sample has no spread, as in `layers.BatchNorm`.
        layer.eval()
        try:
            return _alone(layer, inputs)
        finally:
            layer.train()
    shape = [1, -1] + [1] * (values.dim() - 2)
    mean = sums[:-2] / count
    centered = values - mean.view(shape)
    variance = _sum(centered.square().sum(others), workers) / count
    if layer.running_mean is not None and layer.running_var is not None:
        with torch.no_grad():
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked.add_(1)
            share = layer.momentum
            if share is None:
                share = 1.0 / float(layer.num_batches_tracked)
            layer.running_mean.lerp_(mean, share)
            layer.running_var.lerp_(variance * (count / (count - 1)), share)
    outputs = centered * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        outputs = outputs * layer.weight.view(shape) + layer.bias.view(shape)
    normalized: Tensor = outputs.to(inputs.dtype)
    return normalized


def _alone(layer: _BatchNorm, inputs: Tensor) -> Tensor:
    outputs: Tensor = type(layer).forward(layer, inputs)
    return outputs


class _Sum(torch.autograd.Function):
    """A sum over all processes, with the sum of their gradients as its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, workers: ProcessGroup) -> Tensor:
        ctx.workers = workers
        return workers.sum(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total: Tensor = ctx.workers.sum(gradients[0])
        return total, None


def _sum(value: Tensor, workers: ProcessGroup) -> Tensor:
    total: Tensor = _Sum.apply(value, workers)  # type: ignore[no-untyped-call]
    return total
