"""What is said where the classifier of a network is not plain to see: the layers that may be meant, and a cure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from encollapse.measure.forward.calls import CallRecord
from encollapse.measure.forward.linear_map import CONVOLUTIONS
from encollapse.measure.forward.outputs import order_of, score_counts

_SHOWN = 8  # candidates in an error, the last ones
_BY_HAND = (
    "ec.measure.collapse(features, labels, weight=..., bias=...) takes features that ec.measure.capture or the network "
    "itself returns"
)


def ran_too_often_or_not(model: nn.Module, name: str, runs: int) -> str:
    """Why a module that did not run once a batch is refused."""
    if runs:
        return (
            f"head: {name!r} ran {runs} times in one batch, and must run once; let the network make one pass over a "
            "batch (one view, one crop), or name another layer"
        )
    unused = any(value.ndim > 1 for value in model.get_submodule(name).parameters(recurse=False))
    cure = f"; if the model multiplies by its weight itself, let it call the layer: {_BY_HAND}" if unused else ""
    return f"head: {name!r} ran 0 times in one batch, and must run once; name another layer{cure}"


def refusal(model: nn.Module, names: Sequence[str], record: CallRecord, outputs: Mapping[str, torch.Tensor]) -> str:
    """Why no module is the classifier, or which several may be, by `names`."""
    shown = ", ".join(str(tuple(value.shape)) for value in outputs.values()) or "no tensor of numbers"
    if names:
        reason = f"{len(names)} modules are linear and give an output of the model ({shown})"
        return f"head: {reason}; {_such_as(names[-1])}: {_listed(names, record)}"
    reason = f"no module that ran gives the output of the model ({shown}) as a linear map of its input"
    reason += _of_neighbors(record, outputs)
    odd = sum(int((~value.isfinite()).sum()) for value in outputs.values())
    if odd:
        reason += f" ({odd} of {sum(value.numel() for value in outputs.values())} entries of it are not finite)"
    leaves = [name for name in record.shapes if not list(record.modules[name].children())]
    if not leaves:
        public = [name for name, _ in model.named_modules() if name and not re.search(r"(^|\.)_", name)]
        others = [name for name in public if not any(own.startswith(f"{name}.") for own in public)][-_SHOWN:]
        there = f", of {', '.join(map(repr, others))}" if others else ""
        return f"head: {reason}; name the layer whose inputs are the features{there}"
    counts = {count for value in outputs.values() for count in score_counts(tuple(value.shape))}
    fitting = [name for name in leaves if not counts or counts & score_counts(record.outputs.get(name, ()))]
    if fitting:
        cure = f"{_such_as(fitting[-1])}: "
    else:
        idle = [
            f"{name!r} {tuple(value.shape)}, which did not run" if name else f"its own {tuple(value.shape)}"
            for name, part in model.named_modules()
            for value in part.parameters(recurse=False)
            if value.ndim == 2 and name not in record.runs and counts & set(value.shape)
        ]
        used = f" (such as {'; '.join(idle)})" if idle else ""
        cure = (
            f"if it multiplies by a weight itself{used}, let it call a layer that does. {_BY_HAND}. Or name a layer "
            "whose inputs are the features, by head=...: "
        )
    return f"head: {reason}; {cure}{_listed(leaves, record)}"


def _such_as(name: str) -> str:
    return f"name the layer whose inputs are the features, such as head={name!r}"


def _listed(names: Sequence[str], record: CallRecord) -> str:
    listed = []
    for name in names[-_SHOWN:]:
        times = "" if record.runs[name] == 1 else f", ran {record.runs[name]} times"
        listed.append(f"{name!r} ({type(record.modules[name]).__name__}, {record.shapes[name]}{times})")
    return ", ".join(listed)


def _of_neighbors(record: CallRecord, outputs: Mapping[str, torch.Tensor]) -> str:
    """What is said of a last layer that is a convolution over several positions."""
    for name, call in record.calls.items():
        if any(order_of(call.output, wanted) for wanted in outputs.values()):
            final = record.modules[name]
            if isinstance(final, CONVOLUTIONS) and math.prod(final.kernel_size) > 1:
                size = "x".join(map(str, final.kernel_size))
                return (
                    f" (a {type(final).__name__} of size {size} reads the neighbors of a position too: named as the "
                    "head it is measured by the features at each position, without a weight, or give measure.collapse "
                    "unfolded patches)"
                )
            return ""
    return ""
