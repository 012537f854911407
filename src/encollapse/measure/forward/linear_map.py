"""A module as a linear map of what entered it: read from its weight, or found by its outputs on the axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from encollapse.measure.forward.calls import Call
from encollapse.measure.forward.running import acting_parameters

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PROBED_DIM = 2**13  # features up to which a map is tried on every axis
_PROBED_ENTRIES = 2**26
"""The widest module, and the largest weight, that is found by running the module on the axes of its input space."""
_COMPARED_ENTRIES = 2**26
"""Entries of a batch of features or outputs in which weight and outputs are compared."""
_CHUNK = 1024  # axes at a time


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a module computes.

    Parameters
    ----------
    weight : (q, d) tensor
        The weight that acts, normalizations and parametrizations applied.
    bias : (q,) tensor or None
        Its bias.
    on_sphere : bool
        The module divides features by their length first (cosine classifiers): it is linear in ``h/|h|``.
    channels_first : bool
        The module is a convolution over single positions: features are along axis 1.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    on_sphere: bool = False
    channels_first: bool = False


def is_plain(module: nn.Module) -> bool:
    """Whether a module is a linear layer or a convolution that computes as these do, whatever makes its weight."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in (nn.Linear, *CONVOLUTIONS))


def linear_map(call: Call) -> LinearMap | None:
    """The weight and the bias that act, if the module is a linear map of its only tensor on this batch."""
    tensors = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, torch.Tensor)]
    if len(tensors) != 1 or call.output is None or not call.output.numel():
        return None
    return (_read(call) if is_plain(call.module) else None) or _probed(call)


def rounding(output: torch.Tensor) -> float:
    """Machine epsilon of the products behind an output, which on a GPU may be those of TF32."""
    eps = float(torch.finfo(output.dtype).eps)
    return max(eps, 2.0**-10) if output.device.type == "cuda" else max(eps, 1e-15)


def _read(call: Call) -> LinearMap | None:
    """The map of a linear layer or of a convolution over single positions, from its weight."""
    weight, bias = (None if value is None else value.detach() for value in acting_parameters(call.module))
    assert weight is not None
    module = call.module
    if not isinstance(module, CONVOLUTIONS):
        found = LinearMap(weight, bias)
    elif {*module.kernel_size, *module.stride, module.groups} == {1} and _unpadded(module):
        found = LinearMap(weight.flatten(1), bias, channels_first=True)
    else:
        return None
    return found if _acts(found, call) else None


def _unpadded(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    """Whether a convolution of size 1 adds no border. "same" and "valid" mean so."""
    return isinstance(module.padding, str) or not any(module.padding)


def _acts(found: LinearMap, call: Call) -> bool:
    """Whether weight and bias give the outputs of the batch, to the rounding of the products that were computed."""
    assert call.output is not None
    axis, (size, dim) = (1 if found.channels_first else -1), found.weight.shape
    if call.features.shape[axis] == dim and call.output.shape[axis] == size:
        rows, out = (v.movedim(axis, -1).reshape(-1, v.shape[axis]) for v in (call.features, call.output))
    else:
        rows, out = call.features.flatten(1), call.output.flatten(1)
    if rows.shape[1] != dim or out.shape != (len(rows), size):
        return False
    step = -(-len(rows) * max(size, dim) // _COMPARED_ENTRIES)  # of a text with a large vocabulary some rows do
    exact = torch.float64 if found.weight.numel() <= _COMPARED_ENTRIES else torch.float32
    x, out, weight = rows[::step].to(exact), out[::step], found.weight.to(exact)
    x = functional.normalize(x, dim=1) if found.on_sphere else x
    bias = x.new_zeros(size) if found.bias is None else found.bias.to(exact)
    # |x| |w| bounds the sum of the moduli of the terms.
    bound = x.norm(dim=1)[:, None] * weight.norm(dim=1) + bias.abs()
    wrong = (torch.addmm(bias, x, weight.T) - out.to(exact)).abs() > 16 * rounding(call.output) * bound
    return not bool(wrong.any())  # entries that are not finite are none that differ


def _probed(call: Call) -> LinearMap | None:
    """The map of any module, from its outputs on the axes of its input space."""
    features, output = call.features, call.output
    assert output is not None
    first = features.ndim > 2 and math.prod(features.shape[2:]) == 1
    by_position = features.ndim > 2 and not first and output.shape[:-1] == features.shape[:-1]
    dim = features.shape[-1] if by_position else features[0].numel()
    size = output.shape[-1] if by_position else output[0].numel()
    if not by_position and math.prod(output.shape[2:]) > 1:
        return None  # scores of many positions, which are not those of one row of features
    if not (features.is_floating_point() and output.is_floating_point()) or features.ndim < 2:
        return None
    if not 0 < dim <= _PROBED_DIM or dim * size > _PROBED_ENTRIES or not torch.isfinite(features).all():
        return None
    spherical = _keeps_scale(call)
    if spherical is None:
        return None
    length = 1.0 if spherical else 2.0 ** round(math.log2(float(features.double().square().mean().sqrt()) or 1.0))
    differences, sums = [], []
    for start in range(0, dim, _CHUNK):
        axes = torch.zeros(min(_CHUNK, dim - start), dim, device=features.device, dtype=features.dtype)
        axes[torch.arange(len(axes)), start + torch.arange(len(axes))] = length
        shape = (1, len(axes), dim) if by_position else (len(axes), *features.shape[1:])
        ahead, back = call.again(axes.reshape(shape)), call.again(-axes.reshape(shape))
        if ahead is None or back is None or ahead.numel() != len(axes) * size or back.shape != ahead.shape:
            return None
        differences.append((ahead - back).reshape(-1, size) / (2 * length))
        sums.append((ahead + back).reshape(-1, size) / 2)
    weight, bias = torch.cat(differences).T, torch.cat(sums).mean(dim=0)
    noise = 4 * torch.finfo(output.dtype).eps * float(weight.abs().max()) * length
    found = LinearMap(weight, bias if float(bias.abs().max()) > noise else None, on_sphere=spherical)
    return found if _acts(found, call) else None


def _keeps_scale(call: Call) -> bool | None:
    """False for what may be linear, True for what sees directions alone, by two cheap tests, or None for neither."""
    assert call.output is not None
    x = call.features[:8]
    own, double, zero = call.again(x), call.again(2 * x), call.again(0 * x)
    if own is None or double is None or zero is None or not own.shape == double.shape == zero.shape:
        return None
    zero = zero.nan_to_num()  # x/|x| need not be defined there
    scale = (
        64 * rounding(call.output) * math.sqrt(x[0].numel()) * max(float(own.abs().max()), float(double.abs().max()))
    )
    if float((double - own).abs().max()) <= scale / 8 and float((own - zero).abs().max()) > scale:
        return True
    return False if float((double - 2 * own + zero).abs().max()) <= scale else None
