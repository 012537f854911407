"""What a network returned, and how it follows from what one of its modules gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import torch

from encollapse.measure.forward.linear_map import LinearMap, rounding

Order = Literal["same", "sequence first"]
"""Whether axes of the features are those of the outputs of the network, or the first two are exchanged."""


def tensors_of(output: Any, name: str = "") -> dict[str, torch.Tensor]:
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
        found |= tensors_of(value, f"{name}.{key}" if name else str(key))
    return found


def score_counts(shape: tuple[int, ...]) -> set[int]:
    """How many classes a tensor of scores may be about, by its shape: its second or its last axis, or a single one."""
    return {shape[1], shape[-1]} if len(shape) > 1 else {1}


def order_of(own: torch.Tensor | None, wanted: torch.Tensor) -> Order | None:
    """The order of axes in which an output of a model is that of a module, to rounding, or its softmax or sigmoid.

    None where it is not. Where classes are is no matter: behind the positions, or before them as losses take them.
    """
    if own is None or own.numel() != wanted.numel() or own.device != wanted.device or not own.is_floating_point():
        return None
    return next((order for order, moved in _arranged(own, wanted) if _gives(moved, wanted)), None)


def _arranged(own: torch.Tensor, wanted: torch.Tensor) -> Iterator[tuple[Order, torch.Tensor]]:
    yield "same", own
    if own.ndim < 3 or own.ndim != wanted.ndim:
        return
    for order, values in (("same", own), ("sequence first", own.transpose(0, 1))):
        for moved in (values, values.movedim(-1, 1), values.movedim(1, -1)):
            if moved is not own and moved.shape == wanted.shape:
                yield order, moved  # type: ignore[misc]


def change_of(own: torch.Tensor, result: Any) -> str:
    """What a network makes of the outputs of a module before it returns them.

    Empty for nothing, or "log_softmax", "softmax" or "sigmoid".
    """
    changes = {_change(moved, wanted) for wanted in tensors_of(result).values() for _, moved in _fitting(own, wanted)}
    known = sorted(change for change in changes if change is not None)
    return known[0] if known else ""


def _fitting(own: torch.Tensor, wanted: torch.Tensor) -> Iterator[tuple[Order, torch.Tensor]]:
    if own.numel() == wanted.numel() and own.device == wanted.device:
        yield from _arranged(own, wanted)


def _gives(own: torch.Tensor, wanted: torch.Tensor) -> bool:
    return _change(own, wanted) is not None


def _change(own: torch.Tensor, wanted: torch.Tensor) -> str | None:
    """The function of the scores that is `wanted`, empty for the scores themselves, or None where none is."""
    if torch.equal(own.reshape(-1), wanted.reshape(-1)):
        return ""
    eps = max(torch.finfo(value.dtype).eps for value in (own, wanted))
    target, values = wanted.double().reshape(-1), own.double()
    scale = float(target.abs().nan_to_num(0.0, 0.0).max()) if len(target) else 0.0
    return next(
        (
            name
            for name, changed in _changed(values)
            if torch.allclose(changed.reshape(-1), target, rtol=0.0, atol=16 * eps * scale, equal_nan=True)
        ),
        None,
    )


def _changed(scores: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Scores as they are, and what networks make of them before they return them."""
    yield "", scores
    for axis in (1, -1) if scores.ndim > 2 else (-1,):
        yield "log_softmax", scores.log_softmax(axis)
        yield "softmax", scores.softmax(axis)
    yield "sigmoid", scores.sigmoid()


def scored_position(features: torch.Tensor, found: LinearMap, result: Any) -> torch.Tensor | None:
    """Features (B, d) of the tokens whose scores the network returned, of those (B, T, d) of all, or None."""
    for wanted in tensors_of(result).values():
        if features.ndim == 3 and wanted.shape == (len(features), len(found.weight)):
            scores = torch.nn.functional.linear(features, found.weight, found.bias)
            gaps = (scores.double() - wanted.double()[:, None]).abs().amax(dim=2)
            least, place = gaps.min(dim=1)
            bound = 64 * rounding(wanted) * max(float(scores.abs().max()), float(wanted.abs().max()))
            if bool((least <= bound).all()):
                return features[torch.arange(len(features), device=features.device), place]
    return None


def averaged_positions(features: torch.Tensor, found: LinearMap, result: Any) -> torch.Tensor | None:
    """Features (B, d) averaged over positions, where the network returned the mean of the scores there, or None."""
    axis = 1 if found.channels_first else -1
    if features.ndim < 3 or features.shape[axis] != found.weight.shape[1]:
        return None
    rows = features.double().movedim(axis, -1).flatten(1, -2)
    mean, weight = rows.mean(dim=1), found.weight.double()
    bias = 0.0 if found.bias is None else found.bias.double()
    for wanted in tensors_of(result).values():
        if wanted.numel() != len(mean) * len(weight) or wanted.shape[:1] != mean.shape[:1]:
            continue
        # Scores are rounded where they are stored, and their sums where they are added up.
        sums = rounding(wanted) if wanted.is_cuda else min(rounding(wanted), 2.0**-23)
        eps = 2 * float(torch.finfo(wanted.dtype).eps) + 16 * sums
        bound = eps * (rows.norm(dim=2).mean(dim=1)[:, None] * weight.norm(dim=1) + abs(bias))
        if bool(((mean @ weight.T + bias - wanted.double().reshape(len(mean), -1)).abs() <= bound).all()):
            return mean.to(torch.promote_types(features.dtype, torch.float32))
    return None
