"""Moments as named tensors and as ``.safetensors`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from encollapse._internal import files
from encollapse.errors import ArgumentError, FileFormatError
from encollapse.measure.moments import state as moment_state
from encollapse.measure.moments.state import MomentState

_FORMAT = {"format": "encollapse.moments", "version": "2"}


def to_tensors(state: MomentState) -> dict[str, torch.Tensor]:
    """Return the moments as named tensors (copies)."""
    tensors = {
        "counts": state.counts,
        "anchors": state.anchors,
        "sums": state.sums,
        "squares": state.squares,
        "resolution": torch.tensor(state.resolution, dtype=torch.float64),
    }
    if state.scatter is not None:
        tensors["scatter"] = state.scatter
    return {name: tensor.clone() for name, tensor in tensors.items()}


def from_tensors(tensors: Mapping[str, Any], like: MomentState) -> MomentState:
    """Return moments from named tensors, with the shapes and on the device of `like`.

    Raises
    ------
    ArgumentError
        If an entry is missing or unknown, has another shape or dtype, or cannot be right.
    """
    expected = to_tensors(like)
    if set(tensors) != set(expected):
        raise ArgumentError(f"state: expected the entries {sorted(expected)}, got {sorted(tensors)}")
    for name, own in expected.items():
        value = tensors[name]
        if not isinstance(value, torch.Tensor) or value.shape != own.shape or value.dtype != own.dtype:
            shown = f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, torch.Tensor) else value
            raise ArgumentError(f"state: {name} must have shape {tuple(own.shape)} of {own.dtype}, got {shown}")
        if not torch.isfinite(value).all():
            raise ArgumentError(f"state: {name} has entries that are not finite")
    if any((tensors[name] < 0).any() for name in ("counts", "squares", "resolution")):
        raise ArgumentError("state: counts, squares and resolution must be 0 or above")
    return MomentState(
        counts=tensors["counts"].clone(),
        anchors=tensors["anchors"].clone(),
        sums=tensors["sums"].clone(),
        squares=tensors["squares"].clone(),
        scatter=tensors["scatter"].clone() if "scatter" in tensors else None,
        resolution=float(tensors["resolution"]),
    ).to(like.counts.device)


def save(state: MomentState, path: str | Path) -> Path:
    """Write moments to a ``.safetensors`` file, which appears whole or not at all."""
    from safetensors.torch import save_file

    target = files.with_suffix(path, "path", (".safetensors",))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in to_tensors(state).items()}
    with files.atomic(target) as temporary:
        save_file(tensors, temporary, metadata=_FORMAT)
    return target


def load(path: str | Path, device: torch.device) -> MomentState:
    """Read moments written by :func:`save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file does not hold moments that this version reads.
    """
    from safetensors import SafetensorError, safe_open

    source = files.with_suffix(path, "path", (".safetensors",))
    try:
        with safe_open(source, framework="pt") as archive:
            if archive.metadata() != _FORMAT:
                raise ArgumentError(f"its header is {archive.metadata()}, expected {_FORMAT}")
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        if "anchors" not in tensors or tensors["anchors"].ndim != 2:
            raise ArgumentError("it has no (K, d) entry 'anchors'")
        num_classes, feature_dim = tensors["anchors"].shape
        like = moment_state.empty(num_classes, feature_dim, device=device, covariance="scatter" in tensors)
        return from_tensors(tensors, like)
    except (SafetensorError, ArgumentError) as error:
        raise FileFormatError(f"{source}: not a file of class moments: {error}") from None
