"""One pass over the data: features, labels, and what the conditions of a law are checked with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encollapse._internal import checks
from encollapse._internal.progress import tracked
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.diagnosis.tail import Tail, owner, read_tail, with_graph, with_other_uses
from encollapse.errors import ArgumentError
from encollapse.measure.forward.head import Head
from encollapse.measure.forward.running import run
from encollapse.measure.model import labeled_batches, loader_length

_UNIT = 0.05  # mean squares of a normalized row or column, but for ε and running averages


@dataclass(frozen=True, eq=False)
class Observation:
    """What a pass over the data has seen.

    Attributes
    ----------
    features : (N, d)
        Inputs of the head, float32 or as the network gives them.
    labels : (N,)
        Classes.
    codewords : (q, K), optional
        Distinct targets, where the loader gives vectors instead of classes.
    head_error, tail_error : float
        Largest relative difference between the network's outputs and the head on the features, and between the
        features and what the tail makes of its normalization's output.
    mean_error, variance_ratio : float, optional
        Largest mean, in standard deviations, and mean variance of the normalized coordinates over the data.
    smallest_variance : float, optional
        Median variance that the normalization divides by.
    largest_feature, spatial_share : float, optional
        Largest entry of the features, and share of the price that is variation over positions.
    lowest_feature : float
        Least entry of the features.
    sizes : dict of str to float
        Largest modulus of an entry of the tail's offset and biases, by their names.
    scaled_kind : str, optional
        What a normalization without a module turned out to be.
    dropout : str
        A dropout between the normalization and the head, by name, or empty if none.
    channels : int, optional
        Gains of the normalization.
    runs : int
        How often the normalization, or the lowest layer of a linear tail, ran in one batch.
    tied_to : str
        Another owner of the head's weight, or empty if none.
    activations : (N, p), optional
        Inputs of the lowest linear layer of a linear tail.
    batch_size, smallest_batch, batches : int
        Of the loader: samples in its largest and in its smallest batch, and how many there are.
    noise_batch : float
        Harmonic mean of the sizes of the batches: a batch's mean has the variance of the samples over it, on average.
    """

    features: Any
    labels: IntArray
    codewords: FloatArray | None
    head_error: float
    tail_error: float | None
    mean_error: float | None
    variance_ratio: float | None
    smallest_variance: float | None
    largest_feature: float | None
    lowest_feature: float
    sizes: dict[str, float]
    spatial_share: float | None
    scaled_kind: str | None
    dropout: str
    channels: int | None
    runs: int
    tied_to: str
    activations: Any
    batch_size: int
    smallest_batch: int
    batches: int
    noise_batch: float

    @property
    def feature_dim(self) -> int:
        """Dimension d of the features."""
        return int(self.features.shape[1])


def tail_of(network: nn.Module, head: Head, inputs: Any, device: torch.device) -> Tail:
    """Read the tail of a network off the graph of one batch."""
    made: list[Any] = []
    hook = head.module.register_forward_hook(lambda *call: made.append(call[2]))
    try:
        with with_graph(network), _inputs_of(head.module) as seen:
            result = run(network, inputs, device)
    finally:
        hook.remove()
    if len(seen) != 1:
        raise ArgumentError(f"head: {head.name!r} ran {len(seen)} times in one batch, and must run once")
    tail = read_tail(seen[0], network)
    return with_other_uses(tail, network, made[0], result) if isinstance(made[0], Tensor) else tail


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the inputs of a module with the graph that made them."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        yield seen
    finally:
        hook.remove()


def dropout_after(network: nn.Module, head: Head, tail: Tail, inputs: Any, device: torch.device) -> str:
    """Name of a dropout that acts between the tail's last normalization or layer and the head.

    The network runs in training mode but for its normalizations, and the walk back from its features meets the random
    mask. Modules are looked at by their order too, for networks that do not run so.
    """
    start = owner(network, tail.gain or tail.weights[0])[1] if tail.gain or tail.weights else None
    order: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda m, *_: order.append(m)) for module in network.modules()]
    try:
        run(network, inputs, device)
    finally:
        for hook in hooks:
            hook.remove()
    names = {id(module): name for name, module in network.named_modules()}
    first = max((i for i, module in enumerate(order) if module is start), default=None)
    if first is not None:
        for module in order[first + 1 :]:
            if module is head.module:
                break
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
                return str(names[id(module)])
    inner = [module for module in head.module.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    if any(module.p > 0 for module in inner):
        return f"inside {head.name}"
    return _dropout_by_function(network, head, tail, inputs, device)


def _dropout_by_function(network: nn.Module, head: Head, tail: Tail, inputs: Any, device: torch.device) -> str:
    flags = [module for module in network.modules() if not hasattr(module, "running_mean")]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        for module in flags:
            module.training = True  # not train(), which may do more than to set the flag
        with with_graph(network), _inputs_of(head.module) as seen:
            run(network, inputs, device)
        found = read_tail(seen[0], network)
    except (RuntimeError, ValueError, TypeError, IndexError, ArgumentError):
        return ""  # a network that does not run on these inputs in training mode; its modules were looked at
    finally:
        for module in flags:
            module.training = False
        for buffer, value in buffers:
            buffer.copy_(value)
    return "a random mask or noise in training mode" if found.kind != tail.kind and tail.kind != "other" else ""


class _Column:
    """Sums over samples and positions of a normalization's output, by coordinate."""

    def __init__(self, gain: Tensor, offset: Tensor | None, rows: bool) -> None:
        self._gain = gain.detach().double().flatten()
        self._offset = None if offset is None else offset.detach().double().flatten()
        self.rows = rows
        self.count = 0
        self.sums = torch.zeros(len(self._gain), dtype=torch.float64, device=gain.device)
        self.squares = torch.zeros_like(self.sums)
        self.row_squares: list[tuple[float, float]] = []

    def add(self, outputs: Tensor) -> None:
        values = outputs.detach().double()
        if not self.rows and values.ndim > 2:
            values = values.movedim(1, -1)
        values = values.reshape(-1, len(self._gain))
        if self._offset is not None:
            values = values - self._offset
        live = self._gain.abs() > 0
        values = torch.where(live, values / torch.where(live, self._gain, 1.0), 0.0)
        self.count += len(values)
        self.sums += values.sum(0)
        self.squares += values.square().sum(0)
        mean, square = values.mean(1), values.square().mean(1)
        self.row_squares.append((float((square - 1).abs().max()), float(mean.abs().max())))
        self.live = live

    def by_column(self, norm: nn.Module | None = None) -> tuple[float, float]:
        """Largest mean, and mean variance, over the coordinates with a gain, but for what ε takes from the variance."""
        mean = (self.sums / self.count)[self.live]
        variance = (self.squares / self.count)[self.live] - mean.square()
        running = getattr(norm, "running_var", None)
        if running is not None:
            kept = running.double()[self.live]
            share = kept / (kept + float(getattr(norm, "eps", 0.0)))
            variance, mean = variance[share > 0] / share[share > 0], mean[share > 0] / share[share > 0].sqrt()
        if not len(mean):
            return 0.0, 1.0
        return float(mean.abs().max()), float(variance.mean())

    def kind(self) -> str | None:
        mean, variance = self.by_column()
        square, middle = (max(pair[i] for pair in self.row_squares) for i in (0, 1))
        if square < _UNIT:
            return "layer_norm" if middle < _UNIT else "rms_norm"
        return "batch_norm" if mean < _UNIT and abs(variance - 1) < _UNIT else None


def observe(
    network: nn.Module,
    loader: Iterable[Any],
    head: Head,
    tail: Tail,
    *,
    device: torch.device,
    label_key: str | None,
    dropout: str,
    progress: bool,
) -> Observation:
    """Run the network over the loader once."""
    norm = owner(network, tail.gain)[1] if tail.gain is not None else None
    parameters = dict(network.named_parameters())
    columns = None
    if norm is not None and tail.gain is not None:
        offset = None if tail.offset is None else parameters[tail.offset]
        columns = _Column(parameters[tail.gain], offset, tail.kind != "batch_norm")
    below = owner(network, tail.weights[-1])[1] if tail.kind == "linear" and not (tail.relu or tail.pooled) else None
    features: list[Tensor] = []
    activations: list[Tensor] = []
    targets: list[Any] = []
    head_error, tail_error, spatial, price = 0.0, None, 0.0, 0.0
    sizes: list[int] = []
    runs = 1
    for inputs, labels in tracked(labeled_batches(loader, label_key), loader_length(loader), show=progress):
        with (
            _watched(head.module, inputs=True) as into,
            _watched(head.module, inputs=False) as out,
            _watched(norm, inputs=False) as made,
            _watched(below, inputs=True) as phi,
        ):
            run(network, inputs, device)
        targets.append(checks.to_numpy(labels, "labels"))
        rows = head.rows(into[0], targets[-1].shape)
        features.append(rows.cpu())
        sizes.append(len(rows))
        head_error = max(head_error, _head_error(head, rows, out[0]))
        runs = max(runs, len(made), len(phi))
        if columns is not None and made:
            columns.add(made[-1])
            error, variation, whole = _through_tail(made[-1], rows, tail)
            tail_error = error if tail_error is None or error is None else max(tail_error, error)
            spatial, price = spatial + variation, price + whole
        if phi:
            below_rows = phi[-1].detach().flatten(0, -2)
            error = _through_layers(below_rows, rows, tail, parameters)
            tail_error = error if tail_error is None else max(tail_error, error)
            activations.append(below_rows.cpu())
    if not features or not sum(sizes):
        raise ArgumentError(
            "loader: yielded no samples; a generator can be used only once, and a loader must not be empty"
        )
    classes, codewords = _classes(targets)
    by_column = (None, None) if columns is None or not columns.count else columns.by_column(norm)
    together = torch.cat(features)
    largest = float(together.max()) if tail.ceiling is not None else None
    return Observation(
        features=together,
        labels=classes,
        codewords=codewords,
        head_error=head_error,
        tail_error=tail_error,
        mean_error=by_column[0],
        variance_ratio=by_column[1],
        smallest_variance=_variance(norm),
        largest_feature=largest,
        lowest_feature=float(together.min()) if together.numel() else 0.0,
        sizes={
            name: float(parameters[name].detach().abs().max())
            for name in (tail.offset, *tail.biases)
            if name is not None
        },
        spatial_share=spatial / price if price else None,
        scaled_kind=columns.kind() if columns is not None and columns.count else None,
        dropout=dropout,
        channels=None if tail.gain is None else parameters[tail.gain].numel(),
        runs=runs,
        tied_to=_tied(network, head),
        activations=torch.cat(activations) if activations else None,
        batch_size=max(sizes),
        smallest_batch=min(sizes),
        batches=len(sizes),
        noise_batch=len(sizes) / sum(1 / max(1, size) for size in sizes),
    )


@contextmanager
def _watched(module: nn.Module | None, *, inputs: bool) -> Iterator[list[Tensor]]:
    """Collect the first input or the output of a module, or nothing for None."""
    seen: list[Tensor] = []
    if module is None:
        yield seen
        return
    # A clone: an activation that works in place would overwrite what is kept.
    hook = module.register_forward_hook(lambda _, given, made: seen.append((given[0] if inputs else made).clone()))
    try:
        yield seen
    finally:
        hook.remove()


def _through_tail(made: Tensor, rows: Tensor, tail: Tail) -> tuple[float | None, float, float]:
    """Error of the features against the tail behind a normalization, variation over positions, and price."""
    values = made.double()
    if tail.relu:
        values = values.clamp(min=0.0, max=tail.ceiling)
    if tail.kind != "batch_norm":
        return _among_rows(values, rows), 0.0, 0.0
    price = float(made.double().square().sum()) / max(1, made[0].numel() // made.shape[1] if made.ndim > 2 else 1)
    if made.ndim > 2 and tail.pooled:
        return *_pooled(values, rows), price
    if made.ndim > 2:
        # Rows are positions, or hold all positions of a sample.
        apart = len(rows) != len(made)
        values = values.movedim(1, -1).flatten(0, -2) if apart else values.flatten(1)
    return None if values.shape != rows.shape else _off(values, rows), 0.0, price


def _off(values: Tensor, rows: Tensor) -> float:
    """Largest difference, relative to the largest feature."""
    scale = float(rows.double().abs().max()) or 1.0
    return float((values - rows.double()).abs().max()) / scale


def _among_rows(values: Tensor, rows: Tensor) -> float | None:
    """Error of the features against the nearest of the rows of their sample that were normalized."""
    width = rows.shape[1]
    if values.numel() == rows.numel():
        return _off(values.reshape(rows.shape), rows)
    if len(values) != len(rows) or values.shape[-1] != width:
        return None
    gaps = (values.reshape(len(rows), -1, width) - rows.double()[:, None]).abs().amax(dim=2)
    return float(gaps.amin(dim=1).max()) / (float(rows.double().abs().max()) or 1.0)


def _pooled(values: Tensor, rows: Tensor) -> tuple[float | None, float]:
    """Error of the features against averages over equal cells of the maps, and the variation within the cells.

    Cells that overlap, or leave positions out, count some positions more than others, and are no such averages.
    """
    space = values.shape[2:]
    pool: dict[int, Any] = {
        1: functional.adaptive_avg_pool1d,
        2: functional.adaptive_avg_pool2d,
        3: functional.adaptive_avg_pool3d,
    }
    found: tuple[float | None, float] = None, 0.0
    if len(rows) != len(values) or len(space) not in pool:
        return found
    cells = rows.shape[1] // values.shape[1]
    grids = [grid for grid in itertools.product(*(_divisors(n) for n in space)) if math.prod(grid) == cells]
    for grid in grids:
        means = pool[len(space)](values, list(grid))
        if means.flatten(1).shape != rows.shape:
            continue
        error = _off(means.flatten(1), rows)
        if found[0] is None or error < found[0]:
            whole = float(values.square().sum()) / math.prod(space)
            found = error, max(0.0, whole - float(means.square().sum()) / cells)
    return found


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _through_layers(below: Tensor, rows: Tensor, tail: Tail, parameters: Mapping[str, Tensor]) -> float:
    """Error of the features against the linear layers of the tail over what entered the lowest."""
    values = below.double()
    for weight, bias in zip(reversed(tail.weights), reversed(tail.biases), strict=True):
        matrix = parameters[weight].detach().double()
        if values.shape[1] != matrix.shape[1]:
            return math.inf
        values = values @ matrix.T
        if bias is not None:
            values = values + parameters[bias].detach().double()
    return math.inf if values.shape != rows.shape else _off(values, rows)


def _head_error(head: Head, rows: Tensor, outputs: Tensor) -> float:
    """Largest difference between the acting affine map and what the head has made, relative to the largest output."""
    if head.weight is None:
        return math.inf
    made = outputs.detach().double()
    made = (made.movedim(1, -1) if head.channels_first and made.ndim > 2 else made).reshape(len(rows), -1)
    mapped = rows.double() @ head.weight.double().T
    mapped = mapped if head.bias is None else mapped + head.bias.double()
    return float((mapped - made).abs().max()) / (float(made.abs().max()) or 1.0)


def _variance(norm: nn.Module | None) -> float | None:
    running = getattr(norm, "running_var", None)
    return None if running is None else float(running.double().median())


def _tied(network: nn.Module, head: Head) -> str:
    weight = getattr(head.module, "weight", None)
    if weight is None:
        return ""
    owners = [name for name, parameter in network.named_parameters(remove_duplicate=False) if parameter is weight]
    others = [name for name in owners if name.rpartition(".")[0] != head.name]
    return others[0] if others else ""


def _classes(targets: list[Any]) -> tuple[IntArray, FloatArray | None]:
    """Class of every sample, and the codewords where targets are vectors."""
    together = np.concatenate(targets)
    if together.ndim == 2 and np.issubdtype(together.dtype, np.floating):
        distinct, classes = np.unique(together, axis=0, return_inverse=True)
        if len(distinct) > max(1000, len(together) // 2):
            raise ArgumentError(
                f"loader: its targets are {len(distinct)} different vectors for {len(together)} samples, and no classes"
            )
        return np.asarray(classes).reshape(-1), np.asarray(distinct, dtype=np.float64).T
    return checks.class_labels(together.reshape(-1), 2**62), None
