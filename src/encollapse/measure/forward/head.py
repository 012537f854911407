"""The classifier of a network: the module whose output is the network's output, as a linear map of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from encollapse._internal import checks
from encollapse.errors import ArgumentError
from encollapse.measure.forward.calls import Call, CallRecord
from encollapse.measure.forward.capture import find_layer
from encollapse.measure.forward.linear_map import LinearMap, is_plain, linear_map
from encollapse.measure.forward.outputs import Order, averaged_positions, order_of, scored_position, tensors_of
from encollapse.measure.forward.refusal import ran_too_often_or_not, refusal

Positions = Literal["all", "one", "mean"]
"""Whose scores the network returns, of those of a sequence or an image: of all, of one token, or their mean."""


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of a network, as it acted on one batch.

    Parameters
    ----------
    name : str
        Dotted name of the module in the network, or empty for the network itself.
    module : torch.nn.Module
        The module.
    map : LinearMap or None
        The weight that acts, or None where the module is not linear.
    features : tensor
        What entered the module, as the labels are ordered: see :meth:`arranged`.
    outputs : tensor
        What left it.
    positions : {"all", "one", "mean"}
        Of which positions the network returns the scores.
    order : {"same", "sequence first"}
        "sequence first" where the module sees (T, B, d), and the network returns (B, T, q).
    final : bool
        False where the network returns something else than the module: it does more with its output.
    """

    name: str
    module: nn.Module
    map: LinearMap | None
    features: torch.Tensor
    outputs: torch.Tensor
    positions: Positions = "all"
    order: Order = "same"
    final: bool = True

    @property
    def weight(self) -> torch.Tensor | None:
        """The weight (q, d) that acts."""
        return None if self.map is None else self.map.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """Its bias (q,), None where there is none."""
        return None if self.map is None else self.map.bias

    @property
    def on_sphere(self) -> bool:
        """Whether the module is linear in ``h/|h|``."""
        return self.map is not None and self.map.on_sphere

    @property
    def channels_first(self) -> bool:
        """Whether features are along axis 1."""
        return self.map is not None and self.map.channels_first

    def arranged(self, features: torch.Tensor, result: Any) -> torch.Tensor:
        """What entered the module in another batch, as the labels are ordered: of one position, or of all.

        Raises
        ------
        ArgumentError
            If the network returned neither scores of single tokens nor their mean, as in the first batch.
        """
        if self.order == "sequence first":
            return features.transpose(0, 1)
        if self.positions == "all" or self.map is None:
            return features
        found = (scored_position if self.positions == "one" else averaged_positions)(features, self.map, result)
        if found is None:
            what = "that of one of them" if self.positions == "one" else "their mean"
            raise ArgumentError(f"head: {self.name!r} scores every position, and the output of the model is not {what}")
        return found

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
            If the input holds more than one row of features a label, the labels have an axis too many, or positions
            of features and labels are not in the same order.
        """
        rows = features
        checks.require_one_label_a_position(labels_shape, features.shape)
        if features.ndim > 2 and len(labels_shape) == features.ndim - 1:
            axis = self._feature_axis(features, labels_shape)
            rows = features.movedim(axis, -1)
            checks.require_same_order(labels_shape, tuple(rows.shape[:-1]), self.name)
            rows = rows.flatten(0, -2)
        rows = rows.reshape(1, -1) if rows.ndim < 2 else rows.flatten(1)
        if self.weight is not None and rows.shape[1] != self.weight.shape[1]:
            raise ArgumentError(
                f"head: the input of {self.name!r} has shape {tuple(features.shape)}, more than one row of "
                f"{self.weight.shape[1]} features a sample, for labels of shape {labels_shape}"
                + _cure_for(features.movedim(1 if self.channels_first else -1, -1).shape[:-1], labels_shape)
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
        where = " of features averaged over positions" if self.positions == "mean" else ""
        later = "" if self.final else ", which the model changes before it returns them"
        size = f"{self.weight.shape[0]} outputs{sphere}{where} of dimension {self.weight.shape[1]}"
        return f"{self.name!r} ({kind}), {size}{later}"


def find_head(model: nn.Module, inputs: Any, device: torch.device, head: str | nn.Module | None = None) -> Head:
    """Run one batch and return the last layer of a network.

    A module is accepted by itself only where its output is the output of the network (or that is its softmax, its log
    softmax or its sigmoid), and where it is a linear map of the one tensor that enters the module, or of this tensor
    divided by its length. Of modules inside each other the innermost is taken. A layer that scores every position is
    accepted too where the network returns the scores of one token, or their mean. The network runs once. Only a module
    whose weight cannot be read runs again, on the axes of its input space.

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
        return _named(model, inputs, device, head)
    record = CallRecord()
    result = record.run(model, _candidates(model), inputs, device)
    outputs = tensors_of(result)
    found: list[Head] = []
    for call in sorted(record.calls.values(), key=lambda own: own.depth, reverse=True):
        inside = f"{call.name}." if call.name else ""
        order = _order(call, outputs)
        if order is not None and not any(other.name.startswith(inside) for other in found):
            found += [_head(call, own, order=order) for own in [linear_map(call)] if own is not None]
    if not found:
        reduced = (_of_positions(call, result) for call in record.calls.values() if is_plain(call.module))
        found = [accepted for accepted in reduced if accepted is not None]
    if len(found) != 1:
        raise ArgumentError(refusal(model, [own.name for own in found], record, outputs))
    if record.runs[found[0].name] != 1:
        raise ArgumentError(ran_too_often_or_not(model, found[0].name, record.runs[found[0].name]))
    return found[0]


def _named(model: nn.Module, inputs: Any, device: torch.device, head: str | nn.Module) -> Head:
    """The layer that was asked for."""
    name, module = find_layer(model, head)
    record = CallRecord()
    result = record.run(model, {name: module}, inputs, device)
    call, runs = record.calls.get(name), record.runs.get(name, 0)
    if runs != 1:
        raise ArgumentError(ran_too_often_or_not(model, name, runs))
    if call is None:
        raise ArgumentError(f"head: {name!r} was called without any tensor, so it has no input to measure")
    accepted = _of_positions(call, result)
    if accepted is not None:
        return accepted
    outputs = tensors_of(result)
    order = _order(call, outputs)
    acting = linear_map(call) if is_plain(module) or order is not None else None
    return _head(call, acting, order=order or "same", final=order is not None or not outputs)


def _of_positions(call: Call, result: Any) -> Head | None:
    """The head of a network that scores every position, and returns the scores of one token or their mean."""
    if call.output is None or call.output.ndim < 3 or call.features.ndim < 3:
        return None
    sizes = {value.numel() for value in tensors_of(result).values()}
    if not any(len(call.output) * count in sizes for count in (call.output.shape[1], call.output.shape[-1])):
        return None
    acting = linear_map(call)
    if acting is None:
        return None
    kinds: tuple[Positions, ...] = ("one", "mean")
    for positions in kinds:
        found = _head(call, acting, positions=positions)
        try:
            return replace(found, features=found.arranged(call.features, result))
        except ArgumentError:
            continue
    return None


def _head(call: Call, acting: LinearMap | None, *, order: Order = "same", **how: Any) -> Head:
    outputs = call.features if call.output is None else call.output
    found = Head(call.name, call.module, acting, call.features, outputs, order=order, **how)
    return found if order == "same" else replace(found, features=found.arranged(call.features, None))


def _order(call: Call, outputs: Mapping[str, torch.Tensor]) -> Order | None:
    return next((order for order in (order_of(call.output, wanted) for wanted in outputs.values()) if order), None)


def _cure_for(positions: tuple[int, ...], labels_shape: tuple[int, ...]) -> str:
    """What helps where positions have features, and labels only one axis."""
    if len(labels_shape) == 1 and labels_shape[0] == torch.Size(positions).numel():
        return f"; a label for each position has shape {tuple(positions)}: labels.reshape{tuple(positions)}"
    if labels_shape == tuple(positions[:1]):
        return "; measure_layers(..., maps='mean') averages them, and measure.collapse takes those of one position"
    return ""


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
