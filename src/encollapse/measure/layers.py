"""Several layers of a network in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import nn

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure.class_moments import ClassMoments
from encollapse.measure.forward.capture import capture, find_layer
from encollapse.measure.forward.running import placed, run, undisturbed
from encollapse.measure.model import labeled_batches
from encollapse.measure.moments.inputs import moments_device
from encollapse.measure.moments.projection import keeps_covariance
from encollapse.measure.result import Collapse
from encollapse.metrics import Convention, as_convention


def measure_layers(
    model: nn.Module,
    loader: Iterable[Any],
    layers: Sequence[str | nn.Module],
    num_classes: int,
    *,
    maps: Literal["flatten", "mean"] = "flatten",
    covariance: bool | None = None,
    device: torch.device | str | None = None,
    convention: str | Convention = "default",
    label_key: str | None = None,
) -> dict[str, Collapse]:
    """Measure the collapse of what enters each of several layers; the network runs once.

    Only moments are kept, so what needs the samples a second time (nc4_agreement, ncc_accuracy, accuracy)
    is missing.

    Parameters
    ----------
    model, loader, device, convention, label_key
        As for :func:`encollapse.measure.measure_model`.
    layers : sequence of str or torch.nn.Module
        Layers whose inputs are measured.
    num_classes : int
        K.
    maps : {"flatten", "mean"}
        Inputs of more than two axes, such as maps of convolutions ``(n, channels, height, width)``, are
        flattened or averaged over all axes after the second.
    covariance : bool, optional
        Keep a (d, d) covariance for each layer; False leaves out nc1_pinv and vci and saves their memory.
        Default: for the layers where it takes less than 4 GiB.

    Returns
    -------
    dict
        A :class:`Collapse` for each layer, by its name, in the order asked for.

    Raises
    ------
    ArgumentError
        If a layer is unknown or does not run once a batch, the loader yields no samples, a label is out of range or
        an input is not finite.
    ArgumentTypeError
        If `layers` is one layer and not a list of them.

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
    checks.choice(maps, "maps", ("flatten", "mean"))
    chosen = as_convention(convention)
    if isinstance(layers, str | nn.Module):
        raise ArgumentTypeError(f"layers: expected a list of layers, got one {type(layers).__name__}; put it in [ ]")
    named = dict(find_layer(model, layer) for layer in layers)
    if not named:
        raise ArgumentError("layers: name at least one")
    moments: dict[str, ClassMoments] = {}
    with placed(model, device) as place, undisturbed(model, place, loader):
        for inputs, targets in labeled_batches(loader, label_key):
            with ExitStack() as stack:
                captured = {n: stack.enter_context(capture(model, m)) for n, m in named.items()}
                run(model, inputs, place)
            for name, found in captured.items():
                if len(found) != 1:
                    raise ArgumentError(f"layers: {name!r} ran {len(found)} times in one batch, and must run once")
                rows = _as_rows(found[0], maps)
                if name not in moments:
                    width = rows.shape[1]
                    kept = keeps_covariance(covariance, width)
                    moments[name] = ClassMoments(classes, width, device=moments_device(place), covariance=kept)
                moments[name].update(rows, targets)
    if not moments:
        raise ArgumentError("loader: yielded no samples")
    return {name: moments[name].collapse(convention=chosen) for name in named}


def _as_rows(values: torch.Tensor, maps: str) -> torch.Tensor:
    if values.ndim <= 2:
        return values.reshape(len(values), -1)
    if maps == "flatten":
        return values.flatten(1)
    # No narrower than that, for a mean has more digits than its terms.
    wide = torch.promote_types(values.dtype, torch.float32)
    return values.double().flatten(2).mean(dim=2).to(wide)
