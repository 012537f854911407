"""The classifier of a network: the module whose output is the network's output, as a linear map of its input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.measure.forward.calls import Call, CallRecord
from encollapse.measure.forward.capture import find_layer
from encollapse.measure.forward.running import acting_parameters

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PROBED_DIM = 2**13  # features up to which a map is tried on every axis
_PROBED_ENTRIES = 2**26
"""The widest module, and the largest weight, that is found by running the module on the axes of its input space."""
_COMPARED_ENTRIES = 2**26
"""Entries of a batch of features or outputs in which weight and outputs are compared."""
_CHUNK = 1024  # axes at a time
_SHOWN = 8  # candidates in an error, the last ones


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of a network, as it acted on one batch.

    Parameters
    ----------
    name : str
        Dotted name of the module in the network, or empty for the network itself.
    module : torch.nn.Module
        The module.
    weight : (q, d) tensor or None
        The weight that acts, normalizations and parametrizations applied, or None where the module is not linear.
    bias : (q,) tensor or None
        Its bias, None where there is none.
    features : tensor
        What entered the module, in the shape it came in.
    outputs : tensor
        What left it.
    on_sphere : bool
        The module divides features by their length first (cosine classifiers): it is linear in ``h/|h|``.
    channels_first : bool
        The module is a convolution over single positions: features are along axis 1.
    at_one_position : bool
        The module scores every token of a sequence, and the output of the network is that of one token: `features`
        are those of that token.
    final : bool
        False where the network gives as many numbers as the module, but others: it does more with them.
    """

    name: str
    module: nn.Module
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    features: torch.Tensor
    outputs: torch.Tensor
    on_sphere: bool = False
    channels_first: bool = False
    at_one_position: bool = False
    final: bool = True

    def scored(self, features: torch.Tensor, result: Any) -> torch.Tensor:
        """Features (B, d) of the tokens whose scores the network returned, of those (B, T, d) of all.

        Raises
        ------
        ArgumentError
            If the network returned no scores of single tokens.
        """
        assert self.weight is not None
        found = None
        for wanted in _tensors(result).values():
            if features.ndim == 3 and wanted.shape == (len(features), len(self.weight)):
                scores = functional.linear(features, self.weight, self.bias)
                found = _scored_token(scores, wanted)
        if found is None:
            raise ArgumentError(
                f"head: {self.name!r} scores every token, and the output of the model is not that of one of them"
            )
        return features[torch.arange(len(features), device=features.device), found]

    def rows(self, features: torch.Tensor, labels_shape: tuple[int, ...]) -> torch.Tensor:
        """Features (N, d), one row a label, from what entered the module.

        Parameters
        ----------
        features : tensor
            One row a sample, or with labels for each position of a sequence or an image a row for each position.
        labels_shape : tuple
            Shape of the labels of the batch.

        Raises
        ------
        ArgumentError
            If the input holds more than one row of features a label, or the labels have an axis too many.
        """
        rows = features
        checks.require_one_label_a_position(labels_shape, features.shape)
        if features.ndim > 2 and len(labels_shape) == features.ndim - 1:
            axis = self._feature_axis(features, labels_shape)
            rows = features.movedim(axis, -1).flatten(0, -2)
        rows = rows.reshape(1, -1) if rows.ndim < 2 else rows.flatten(1)
        if self.weight is not None and rows.shape[1] != self.weight.shape[1]:
            raise ArgumentError(
                f"head: the input of {self.name!r} has shape {tuple(features.shape)}, more than one row of "
                f"{self.weight.shape[1]} features a sample, for labels of shape {labels_shape}"
            )
        return functional.normalize(rows, dim=1) if self.on_sphere else rows

    def _feature_axis(self, features: torch.Tensor, labels_shape: tuple[int, ...]) -> int:
        if self.weight is not None:
            return 1 if self.channels_first else -1
        shape = tuple(features.shape)
        first, last = shape[2:] == labels_shape[1:], shape[1:-1] == labels_shape[1:]
        if first and last:
            raise ArgumentError(
                f"head: features of shape {shape} may have their channels in axis 1 or in the last one, for labels of "
                f"shape {labels_shape}; name the last layer itself, or give measure.collapse the rows"
            )
        return 1 if first else -1

    def __str__(self) -> str:
        kind = type(self.module).__name__
        if self.weight is None:
            return f"{self.name!r} ({kind}), no linear map"
        sphere = " of features of length 1" if self.on_sphere else ""
        later = "" if self.final else ", which the model changes before it returns them"
        size = f"{self.weight.shape[0]} outputs{sphere} of dimension {self.weight.shape[1]}"
        return f"{self.name!r} ({kind}), {size}{later}"


def find_head(model: nn.Module, inputs: Any, device: torch.device, head: str | nn.Module | None = None) -> Head:
    """Run one batch and return the last layer of a network.

    A module is accepted by itself only where its output is the output of the network (or that is its softmax or log
    softmax), and where it is a linear map of the one tensor that enters the module, or of this tensor divided by its
    length. Of modules inside each other the innermost is taken. The network runs once. Only a module whose weight
    cannot be read runs again, on the axes of its input space.

    Parameters
    ----------
    model : torch.nn.Module
        The network, in evaluation mode and without gradients: call this inside :func:`undisturbed`.
    inputs : tensor, sequence or mapping
        One batch.
    device : torch.device
        Where the network is.
    head : str or torch.nn.Module, optional
        The last layer. It may be any module: where it is no linear map, ``weight`` is None.

    Returns
    -------
    Head
        The module with the weight that acts, and what entered and left it in this batch.

    Raises
    ------
    ArgumentError
        If no module is the last layer by these rules, or several are. The text lists what may be meant. If the module
        ran more than once, or not at all.
    """
    if head is not None:
        name, module = find_layer(model, head)
        record = CallRecord()
        result = record.run(model, {name: module}, inputs, device)
        call = record.calls.get(name)
        if call is not None and record.runs.get(name) == 1:
            accepted = _of_one_token(call, result)
            if accepted is not None:
                return accepted
        if record.runs.get(name) != 1:
            raise ArgumentError(_ran(name, record.runs.get(name, 0)))
        if call is None:
            raise ArgumentError(f"head: {name!r} was called without any tensor, so it has no input to measure")
        outputs = _tensors(result)
        same = _is_any_of(call, outputs)
        found_map = (_linear_map(call) if _is_plain(module) or same else None) or _as_head(call)
        like = any(call.output is not None and value.numel() == call.output.numel() for value in outputs.values())
        return replace(found_map, final=same or not like)
    record = CallRecord()
    result = record.run(model, _candidates(model), inputs, device)
    outputs = _tensors(result)
    found: list[Head] = []
    for call in sorted(record.calls.values(), key=lambda own: own.depth, reverse=True):
        inside = f"{call.name}." if call.name else ""
        if not any(other.name.startswith(inside) for other in found) and _is_any_of(call, outputs):
            accepted = _linear_map(call)
            found += [] if accepted is None else [accepted]
    if not found:
        pooled = (_of_one_token(call, result) for call in record.calls.values() if _is_plain(call.module))
        found = [accepted for accepted in pooled if accepted is not None]
    if len(found) != 1:
        raise ArgumentError(_refusal(found, record, outputs))
    if record.runs[found[0].name] != 1:
        raise ArgumentError(_ran(found[0].name, record.runs[found[0].name]))
    return found[0]


def _scored_token(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor | None:
    """Positions (B,) whose scores (B, T, q) are those wanted (B, q), to rounding, or None where one has none."""
    gaps = (scores.double() - wanted.double()[:, None]).abs().amax(dim=2)
    least, place = gaps.min(dim=1)
    bound = 64 * _rounding(wanted) * max(float(scores.abs().max()), float(wanted.abs().max()))
    return place if bool((least <= bound).all()) else None


def _of_one_token(call: Call, result: Any) -> Head | None:
    """The head of a sequence classifier, which scores every token and returns the scores of the last one."""
    scores = call.output
    if scores is None or scores.ndim != 3 or call.features.ndim != 3:
        return None
    shape = (len(scores), scores.shape[2])
    if not any(tuple(value.shape) == shape for value in _tensors(result).values()):
        return None
    head = _linear_map(call)
    if head is None:
        return None
    try:
        return replace(head, features=head.scored(call.features, result), at_one_position=True)
    except ArgumentError:
        return None


def _ran(name: str, runs: int) -> str:
    return f"head: {name!r} ran {runs} times in one batch, and must run once; name another layer"


def _refusal(found: list[Head], record: CallRecord, outputs: Mapping[str, torch.Tensor]) -> str:
    """What is said where the last layer is not plain to see."""
    shown = ", ".join(str(tuple(value.shape)) for value in outputs.values()) or "no tensor of numbers"
    if found:
        reason = f"{len(found)} modules are linear and give an output of the model ({shown})"
        names = [head.name for head in found]
    else:
        reason = f"no module that ran gives the output of the model ({shown}) as a linear map of its input"
        names = [name for name in record.shapes if not list(record.modules[name].children())]
    if not names:
        return f"head: {reason}; name the layer whose inputs are the features"
    final = next((record.modules[n] for n, own in record.calls.items() if not found and _is_any_of(own, outputs)), None)
    if isinstance(final, _CONVOLUTIONS) and math.prod(final.kernel_size) > 1:
        size = "x".join(map(str, final.kernel_size))
        reason += (
            f" (a {type(final).__name__} of size {size} reads the neighbors of a position too: named as the head it is "
            "measured by the features at each position, without a weight, or give measure.collapse unfolded patches)"
        )
    listed = []
    for name in names[-_SHOWN:]:
        times = "" if record.runs[name] == 1 else f", ran {record.runs[name]} times"
        listed.append(f"{name!r} ({type(record.modules[name]).__name__}, {record.shapes[name]}{times})")
    return f"head: {reason}; name the layer whose inputs are the features, such as head={names[-1]!r}: " + ", ".join(
        listed
    )


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that may be the classifier: those with a matrix, for what has none does not tell classes apart.

    Parametrizations compute weights, not outputs. A network with several layers is none: its inputs are no features.
    """
    named = dict(model.named_modules())
    found = {
        name: module
        for name, module in named.items()
        if any(value.ndim >= 2 for value in (*module.parameters(), *module.buffers()))
        and not isinstance(module, torch.jit.ScriptModule)  # which runs no hooks
        and "parametrizations" not in name.split(".")
    }
    if len(found) > 1:
        found.pop("", None)
    return found


def _tensors(output: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Tensors of numbers in what a model returned, by where they are, or the logits alone where they are named so."""
    if isinstance(output, torch.Tensor):
        return {name: output.detach()} if output.is_floating_point() and output.ndim else {}
    if hasattr(output, "_asdict"):  # a named tuple
        output = output._asdict()
    elif is_dataclass(output) and not isinstance(output, Mapping | type):
        output = {own.name: getattr(output, own.name) for own in fields(output)}
    elif isinstance(output, tuple | list):
        output = {str(i): value for i, value in enumerate(output)}
    if not isinstance(output, Mapping):
        return {}
    if isinstance(output.get("logits"), torch.Tensor):
        return {"logits": output["logits"].detach()}
    found: dict[str, torch.Tensor] = {}
    for key, value in output.items():
        found |= _tensors(value, f"{name}.{key}" if name else str(key))
    return found


def _is_any_of(call: Call, outputs: Mapping[str, torch.Tensor]) -> bool:
    return call.output is not None and any(_gives(call.output, wanted) for wanted in outputs.values())


def _as_head(call: Call, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None, **how: bool) -> Head:
    outputs = call.features if call.output is None else call.output
    return Head(call.name, call.module, weight, bias, call.features, outputs, **how)


def _gives(own: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether the output of the model is that of a module, to rounding, or its softmax or log softmax."""
    if own.numel() != wanted.numel() or own.device != wanted.device:
        return False
    if not own.is_floating_point():
        return False
    if torch.equal(own.reshape(-1), wanted.reshape(-1)):
        return True
    eps = max(torch.finfo(value.dtype).eps for value in (own, wanted))
    axis = 1 if own.ndim > 3 else -1
    target, values = wanted.double().reshape(-1), own.double()
    scale = float(target.abs().nan_to_num(0.0, 0.0).max()) if len(target) else 0.0
    return any(
        torch.allclose(changed.reshape(-1), target, rtol=0.0, atol=16 * eps * scale, equal_nan=True)
        for changed in (values, values.log_softmax(axis), values.softmax(axis))
    )


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is a linear layer or a convolution that computes as these do, whatever makes its weight."""
    return any(
        isinstance(module, kind) and type(module).forward is kind.forward for kind in (nn.Linear, *_CONVOLUTIONS)
    )


def _linear_map(call: Call) -> Head | None:
    """The weight and the bias that act, if the module is a linear map of its only tensor on this batch."""
    tensors = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, torch.Tensor)]
    if len(tensors) != 1 or call.output is None or not call.output.numel():
        return None
    return (_read(call) if _is_plain(call.module) else None) or _probed(call)


def _read(call: Call) -> Head | None:
    """The map of a linear layer or of a convolution over single positions, from its weight."""
    weight, bias = (None if value is None else value.detach() for value in acting_parameters(call.module))
    assert weight is not None
    module = call.module
    if not isinstance(module, _CONVOLUTIONS):
        head = _as_head(call, weight, bias)
    elif {*module.kernel_size, *module.stride, module.groups} == {1} and _unpadded(module):
        head = _as_head(call, weight.flatten(1), bias, channels_first=True)
    else:
        return None
    return head if _acts(head, call) else None


def _unpadded(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    """Whether a convolution of size 1 adds no border. "same" and "valid" mean so."""
    return isinstance(module.padding, str) or not any(module.padding)


def _acts(head: Head, call: Call) -> bool:
    """Whether weight and bias give the outputs of the batch, to the rounding of the products that were computed."""
    assert head.weight is not None
    assert call.output is not None
    axis = 1 if head.channels_first else -1
    if call.features.shape[axis] == head.weight.shape[1] and call.output.shape[axis] == head.weight.shape[0]:
        rows, out = (v.movedim(axis, -1).reshape(-1, v.shape[axis]) for v in (call.features, call.output))
    else:
        rows, out = call.features.flatten(1), call.output.flatten(1)
    if rows.shape[1] != head.weight.shape[1] or out.shape != (len(rows), len(head.weight)):
        return False
    step = -(-len(rows) * max(head.weight.shape) // _COMPARED_ENTRIES)  # of a text with a large vocabulary some rows do
    exact = torch.float64 if head.weight.numel() <= _COMPARED_ENTRIES else torch.float32
    x, out, weight = rows[::step].to(exact), out[::step], head.weight.to(exact)
    x = functional.normalize(x, dim=1) if head.on_sphere else x
    bias = x.new_zeros(len(weight)) if head.bias is None else head.bias.to(exact)
    # |x| |w| bounds the sum of the moduli of the terms.
    bound = x.norm(dim=1)[:, None] * weight.norm(dim=1) + bias.abs()
    wrong = (torch.addmm(bias, x, weight.T) - out.to(exact)).abs() > 16 * _rounding(call.output) * bound
    return not bool(wrong.any())  # entries that are not finite are none that differ


def _rounding(output: torch.Tensor) -> float:
    """Machine epsilon of the products behind an output, which on a GPU may be those of TF32."""
    eps = float(torch.finfo(output.dtype).eps)
    return max(eps, 2.0**-10) if output.device.type == "cuda" else max(eps, 1e-15)


def _probed(call: Call) -> Head | None:
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
    head = _as_head(call, weight, bias if float(bias.abs().max()) > noise else None, on_sphere=spherical)
    return head if _acts(head, call) else None


def _keeps_scale(call: Call) -> bool | None:
    """False for what may be linear, True for what sees directions alone, by two cheap tests, or None for neither."""
    assert call.output is not None
    x = call.features[:8]
    own, double, zero = call.again(x), call.again(2 * x), call.again(0 * x)
    if own is None or double is None or zero is None or not own.shape == double.shape == zero.shape:
        return None
    zero = zero.nan_to_num()  # x/|x| need not be defined there
    scale = (
        64 * _rounding(call.output) * math.sqrt(x[0].numel()) * max(float(own.abs().max()), float(double.abs().max()))
    )
    if float((double - own).abs().max()) <= scale / 8 and float((own - zero).abs().max()) > scale:
        return True
    return False if float((double - 2 * own + zero).abs().max()) <= scale else None
