"""Moments as named tensors and as ``.safetensors`` files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from encollapse._internal import files
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.measure.moments import state as moment_state
from encollapse.measure.moments.state import MomentState

_FORMAT = {"format": "encollapse.moments", "version": "3"}
_EARLIER = _FORMAT | {"version": "2"}
"""Files without a digest are still read."""
_WHAT = "not a file of class moments"


def named(state: MomentState) -> dict[str, torch.Tensor]:
    """Return the tensors of the moments by name, as they are."""
    tensors = {
        "counts": state.counts,
        "anchors": state.anchors,
        "sums": state.sums,
        "squares": state.squares,
        "resolution": torch.tensor(state.resolution, dtype=torch.float64),
    }
    if state.scatter is not None:
        tensors["scatter"] = state.scatter
    return tensors


def to_tensors(state: MomentState) -> dict[str, torch.Tensor]:
    """Return the moments as named tensors (copies)."""
    return {name: tensor.clone() for name, tensor in named(state).items()}


def from_tensors(tensors: Mapping[str, Any], like: MomentState) -> MomentState:
    """Return moments from named tensors, with the shapes of `like`.

    Raises
    ------
    ArgumentError
        If an entry is missing or unknown, has another shape or dtype, or cannot be right.
    """
    expected = named(like)
    if not isinstance(tensors, Mapping):
        raise ArgumentTypeError(f"state: expected what state_dict() returned, got {tensors!r}")
    if set(tensors) != set(expected):
        raise ArgumentError(f"state: expected the entries {sorted(expected)}, got {sorted(map(str, tensors))}")
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
    )


def save(state: MomentState, path: str | Path) -> Path:
    """Write moments to a ``.safetensors`` file, which appears whole or not at all."""
    from safetensors.torch import save_file

    target = files.with_suffix(path, "path", (".safetensors",))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in named(state).items()}
    with files.atomic(target) as temporary:
        save_file(tensors, temporary, metadata=_FORMAT | {"digest": _digest(tensors)})
    return target


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of names, kinds and numbers: a bit that turns over in a file changes moments without a word."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()


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
        with files.reading(source, _WHAT), safe_open(source, framework="pt") as archive:
            header = archive.metadata() or {}
            digest = header.pop("digest", None)
            if header not in (_FORMAT, _EARLIER):
                raise ArgumentError(f"its header is {header}, expected {_FORMAT}")
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        if header == _FORMAT and digest != _digest(tensors):
            raise ArgumentError("its numbers are not those that were written; take another copy, or measure again")
        if "anchors" not in tensors or tensors["anchors"].ndim != 2:
            raise ArgumentError("it has no (K, d) entry 'anchors'")
        # What the file ought to hold takes no memory: a header may lie.
        num_classes, feature_dim = tensors["anchors"].shape
        like = moment_state.empty(
            num_classes, feature_dim, device=torch.device("meta"), covariance="scatter" in tensors
        )
        return from_tensors(tensors, like).to(device)
    except (SafetensorError, ArgumentError) as error:
        raise FileFormatError(f"{source}: {_WHAT}: {error}") from None
