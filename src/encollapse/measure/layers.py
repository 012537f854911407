"""Several layers of a network in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import nn

from encollapse._internal import checks
from encollapse._internal.progress import tracked
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.forward.capture import capture, find_layer
from encollapse.measure.forward.running import placed, run, undisturbed
from encollapse.measure.model import labeled_batches, loader_length
from encollapse.measure.moments.inputs import labeled_rows, moments_device
from encollapse.measure.moments.projection import keeps_covariance
from encollapse.measure.result import Collapse
from encollapse.metrics import Convention, as_convention


def measure_layers(
    model: nn.Module,
    loader: Iterable[Any],
    layers: Sequence[str | nn.Module],
    num_classes: int,
    *,
    maps: Literal["flatten", "mean", "mean-channels-first", "mean-channels-last"] = "flatten",
    covariance: bool | None = None,
    device: torch.device | str | None = None,
    convention: str | Convention = "default",
    label_key: str | None = None,
    ignore_index: int | None = None,
    progress: bool = True,
) -> dict[str, Collapse]:
    """Measure the collapse of what enters each of several layers. The network runs once.

    Only moments are kept, so what needs the samples a second time (nc4_agreement, ncc_accuracy, accuracy)
    is missing.

    Parameters
    ----------
    model, loader, device, convention, label_key, progress
        As for :func:`encollapse.measure.measure_model`.
    layers : sequence of str or torch.nn.Module
        Layers whose inputs are measured.
    num_classes : int
        K.
    maps : {"flatten", "mean", "mean-channels-first", "mean-channels-last"}
        Inputs of more than two axes are flattened, or averaged over positions: over all axes but the first and that
        of the features, which is the second in maps ``(n, channels, height, width)`` of convolutions and the last in
        tokens ``(n, tokens, features)``. ``"mean"`` takes it from the kind of the layer. Where the labels have those
        positions too, as (n, tokens), every position is a sample.
    covariance : bool, optional
        Keep a (d, d) covariance for each layer. False leaves out nc1_pinv and vci and saves their memory.
        Default: for the layers where it takes less than 4 GiB.

    ignore_index : int, optional
        Label of samples and positions that are left out. Default: -100.

    Returns
    -------
    dict
        A :class:`Collapse` for each layer, by its name, in the order asked for.

    Raises
    ------
    ArgumentError
        If a layer is unknown or does not run once a batch, the loader yields no samples, a label is out of range, an
        input is not finite, or the axis of the features cannot be told.
    ArgumentTypeError
        If `layers` is one layer and not a list of them, or what enters one are no floating-point numbers.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> images, labels = torch.randn(20, 3), torch.arange(20) % 5
    >>> found = ec.measure.measure_layers(network, [(images, labels)], ["0", "2"], num_classes=5)
    >>> {name: measured.num_samples for name, measured in found.items()}
    {'0': 20, '2': 20}
    """
    classes = checks.integer(num_classes, "num_classes", minimum=1)
    checks.choice(maps, "maps", ("flatten", "mean", "mean-channels-first", "mean-channels-last"))
    chosen = as_convention(convention)
    if isinstance(layers, str | nn.Module):
        raise ArgumentTypeError(f"layers: expected a list of layers, got one {type(layers).__name__}; put it in [ ]")
    named = dict(find_layer(model, layer) for layer in layers)
    if not named:
        raise ArgumentError("layers: name at least one")
    moments: dict[str, ClassMoments] = {}
    with placed(model, device) as place, undisturbed(model, place, loader):
        for inputs, targets in tracked(labeled_batches(loader, label_key), loader_length(loader), show=progress):
            with ExitStack() as stack:
                captured = {n: stack.enter_context(capture(model, m)) for n, m in named.items()}
                run(model, inputs, place)
            for name, found in captured.items():
                if len(found) != 1:
                    raise ArgumentError(f"layers: {name!r} ran {len(found)} times in one batch, and must run once")
                values, own = found[0], checks.to_numpy(targets, "labels")
                if not values.is_floating_point():
                    kind = str(values.dtype).removeprefix("torch.")
                    raise ArgumentTypeError(
                        f"layers: what enters {name!r} is {kind} and no features; name the layer behind it"
                    )
                checks.require_one_label_a_position(own.shape, values.shape)
                if own.ndim > 1 and values.ndim == own.ndim + 1:
                    axis = 1 if _channels_first(name, named[name], values, maps) else -1
                    rows = values.movedim(axis, -1)
                    checks.require_same_order(own.shape, rows.shape[:-1], name)
                    rows, own = rows.flatten(0, -2), own.reshape(-1)
                else:
                    rows = _as_rows(name, named[name], values, maps)
                rows, own = labeled_rows(rows, own, ignore_index)
                if name not in moments:
                    width = rows.shape[1]
                    kept = keeps_covariance(covariance, width)
                    moments[name] = ClassMoments(classes, width, device=moments_device(place), covariance=kept)
                moments[name].update(rows, own)
    if not moments:
        raise ArgumentError("loader: yielded no samples")
    return {name: moments[name].collapse(convention=chosen) for name in named}


_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_FIRST_NAMES = ("Pool1d", "Pool2d", "Pool3d")
_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention)


def _channels_first(name: str, layer: nn.Module, values: torch.Tensor, maps: str) -> bool:
    """Whether the features of an input of more than two axes are in its second axis, and not in the last."""
    if maps.startswith("mean-"):
        return maps == "mean-channels-first"
    for part in layer.modules():  # the first one inside that says so
        if isinstance(part, _FIRST) or type(part).__name__.endswith(_FIRST_NAMES):
            return True
        if isinstance(part, _LAST):
            return False
    if values.ndim > 3:
        return True  # images, as torch lays them out
    raise ArgumentError(
        f"maps: the input of {name!r} ({type(layer).__name__}) has shape {tuple(values.shape)}, and its features may "
        "be in axis 1 or in the last one; give maps='mean-channels-first' or 'mean-channels-last'"
    )


def _as_rows(name: str, layer: nn.Module, values: torch.Tensor, maps: str) -> torch.Tensor:
    if values.ndim <= 2:
        return values.reshape(len(values), -1)
    if maps == "flatten":
        return values.flatten(1)
    if not _channels_first(name, layer, values, maps):
        values = values.movedim(-1, 1)
    # No narrower than that, for a mean has more digits than its terms.
    wide = torch.promote_types(values.dtype, torch.float32)
    return values.double().flatten(2).mean(dim=2).to(wide)
