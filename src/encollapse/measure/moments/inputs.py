"""Features and labels as they come in: checked once, then handed on in blocks of float32 or float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError

IGNORED_LABEL = -100
"""What frameworks put for positions without a label."""

BLOCK_ENTRIES = 2**22
"""Entries of a block of features that is worked on at once (32 MiB in float64)."""

SINGLE_FROM_DIM = 64  # below it products in float64 are about as fast
SINGLE_FROM_ENTRIES = 2**16
"""Features of fewer dimensions, and blocks of fewer entries, are worked on in float64: it costs no time."""

Rows = np.ndarray[Any, np.dtype[Any]]
"""float32 or float64."""

_SINGLE_EPS = float(np.finfo(np.float32).eps)


class RowSource(Protocol):
    """Features that can be read again and again, block by block."""

    @property
    def num_rows(self) -> int:
        """Number of samples."""
        ...

    def blocks(self, device: torch.device) -> Iterator[torch.Tensor]:
        """Blocks (rows, feature_dim) on `device`, float32 or float64, in the order of the samples."""
        ...


class FeatureRows:
    """Features ``(N, d)`` given as an array, a tensor or nested lists, converted only block by block.

    Raises
    ------
    ArgumentError
        If the shape is not ``(N, d)`` with ``d`` at least 1.
    ArgumentTypeError
        If the dtype is not a real floating-point one.
    """

    def __init__(self, features: ArrayLike, name: str = "features") -> None:
        self._name = name
        if isinstance(features, torch.Tensor):
            checks.require_dense(features, name)
            self._rows: Any = checks.whole(features.detach())
        else:
            self._rows = checks.to_numpy(features, name)
        self.resolution = _resolution(self._rows, name)
        shape = tuple(self._rows.shape)
        if len(shape) != 2:
            raise ArgumentError(
                f"{name}: expected shape (N, d), one row a sample, got {shape}; flatten it with .reshape(len(x), -1)"
            )
        if shape[1] == 0:
            raise ArgumentError(f"{name}: expected at least one feature dimension, got shape {shape}")
        self.num_rows, self.feature_dim = shape

    @property
    def device(self) -> torch.device:
        """Where the features are."""
        return self._rows.device if isinstance(self._rows, torch.Tensor) else torch.device("cpu")

    def usable_as_they_are(self, device: torch.device) -> bool:
        """Whether large blocks on `device` are views of the features and take no memory."""
        wanted = working_dtype(self.resolution, self.num_rows, self.feature_dim)
        if isinstance(self._rows, torch.Tensor):
            return self.device == device and self._rows.dtype == wanted
        native = np.float32 if wanted == torch.float32 else np.float64
        return device.type == "cpu" and self._rows.dtype == native and _shareable(self._rows)

    @property
    def kept_dtype(self) -> torch.dtype:
        """Return float32 or float64, whichever holds the features as they are."""
        return torch.float32 if self.resolution >= _SINGLE_EPS else torch.float64

    def plain(self, device: torch.device) -> torch.Tensor | np.ndarray[Any, Any]:
        """Return all features in :attr:`kept_dtype`, on the processor as an array. They may share memory with ours.

        Raises
        ------
        ArgumentError
            If an entry is not finite.
        """
        rows: Any = self._rows
        on_cpu = device.type == "cpu"
        if not isinstance(rows, torch.Tensor):
            rows = rows.astype(np.float32 if self.kept_dtype == torch.float32 else np.float64, copy=False)
            values = rows if on_cpu else torch.from_numpy(np.array(rows)).to(device)
        else:
            rows = rows.to(device=device, dtype=self.kept_dtype)
            values = rows.resolve_neg().numpy() if on_cpu else rows
        if not has_finite_sum(values):
            require_finite(torch.as_tensor(values if isinstance(values, torch.Tensor) else values.copy()), self._name)
        return values

    def blocks(self, device: torch.device, rows: int | None = None, *, double: bool = False) -> Iterator[torch.Tensor]:
        """Blocks on `device`, in the order of the samples, of :func:`working_dtype` or all float64.

        They may share memory with the features: do not write to them. Entries are not checked.
        """
        step = rows_per_block(self.feature_dim) if rows is None else rows
        for start in range(0, self.num_rows, step):
            yield to_working(self._rows[start : start + step], device, double=double)


def plain_batch(features: ArrayLike, labels: ArrayLike, feature_dim: int) -> tuple[Rows, IntArray] | None:
    """Return the memory of a batch as most loops give it: float32 or float64 rows and int64 labels on the processor.

    None for any other batch, right or wrong, which :class:`FeatureRows` and :func:`labels_for` look at more closely:
    that takes as long as adding up a batch of 32. Entries and labels are not checked.
    """
    if type(features) is not torch.Tensor or type(labels) is not torch.Tensor:
        return None
    try:
        rows = (features.detach() if features.requires_grad else features).numpy()
        targets = labels.numpy()
    except (RuntimeError, TypeError):  # on another device, sparse, of a dtype that numpy has not, or only seen negated
        return None
    if rows.dtype.char not in "fd" or targets.dtype.kind != "i" or targets.itemsize != 8 or targets.ndim != 1:
        return None
    if rows.shape != (len(targets), feature_dim) or not (rows.flags.c_contiguous and targets.flags.c_contiguous):
        return None
    return rows, targets


def has_finite_sum(values: torch.Tensor | Rows) -> bool:
    """Whether all entries are finite for sure: one that is not leaves no finite sum, but large ones may not either."""
    with np.errstate(all="ignore"):
        return math.isfinite(float(values.sum()))


def array_resolution(rows: Rows) -> float:
    """Machine epsilon of a float32 or float64 array, sooner than numpy looks it up."""
    return _SINGLE_EPS if rows.itemsize == 4 else EPS


def rows_per_block(feature_dim: int) -> int:
    """Rows of a block of about ``BLOCK_ENTRIES`` entries, more where a (d, d) total costs as much as they."""
    return max(1, BLOCK_ENTRIES // feature_dim, feature_dim // 4)


def working_dtype(resolution: float, rows: int, feature_dim: int) -> torch.dtype:
    """Return float32 for features of at most that precision in blocks worth the speed, otherwise float64."""
    worth = feature_dim >= SINGLE_FROM_DIM and rows * feature_dim >= SINGLE_FROM_ENTRIES
    return torch.float32 if worth and resolution >= _SINGLE_EPS else torch.float64


def product_resolution(resolution: float, feature_dim: int) -> float:
    """Machine epsilon of the coarsest products that features of some resolution may have been multiplied in."""
    return _SINGLE_EPS if feature_dim >= SINGLE_FROM_DIM and resolution >= _SINGLE_EPS else EPS


def to_working(rows: Any, device: torch.device, *, double: bool = False) -> torch.Tensor:
    """Return rows, a tensor or a numpy array, on `device` in the dtype to compute in."""
    dtype = torch.float64 if double else working_dtype(_resolution(rows, "features"), *rows.shape)
    if isinstance(rows, torch.Tensor):
        reachable = rows.cpu() if rows.device.type == "mps" else rows
        return reachable.to(device=device, dtype=dtype)
    native = np.float32 if dtype == torch.float32 else np.float64
    shared = rows.dtype == native and _shareable(rows)
    usable = rows if shared else np.array(rows, dtype=native, order="C")
    return torch.from_numpy(usable).to(device)


def _shareable(rows: Any) -> bool:
    """Whether torch can use the memory of a numpy array: neither read-only nor negatively strided.

    A single reversed row counts as contiguous all the same.
    """
    return bool(rows.flags.writeable and rows.flags.c_contiguous and min(rows.strides) >= 0)


def require_finite(block: torch.Tensor, name: str, *, first_row: int = 0) -> None:
    """Raise naming the first row with an entry that is not finite."""
    bad = ~torch.isfinite(block)
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ArgumentError(
            f"{name}: every entry must be finite, got {float(block[row, column])} in row {first_row + row}, "
            f"column {column}; remove or repair such rows first"
        )


def labeled_rows(features: ArrayLike, labels: ArrayLike, ignore_index: int | None) -> tuple[ArrayLike, ArrayLike]:
    """Return features (N, d) and labels (N,): one row a label where positions have their own, without ignored ones.

    Positions are all axes of the labels. The features have one more, last or second.

    Raises
    ------
    ArgumentError
        If either axis may be that of the features, or the labels have an axis too many.
    """
    given = checks.to_numpy(labels, "labels")
    if isinstance(features, torch.Tensor):
        checks.require_dense(features, "features")
    values: Any = features if isinstance(features, torch.Tensor) else checks.to_numpy(features, "features")
    shape = tuple(values.shape)
    checks.require_one_label_a_position(given.shape, shape)
    if given.ndim > 1 and len(shape) == given.ndim + 1:
        last, second = shape[:-1] == given.shape, (shape[0], *shape[2:]) == given.shape
        if last and second:
            raise ArgumentError(
                f"features: shape {shape} may have the features in axis 1 or in the last one, for labels of shape "
                f"{given.shape}; give rows, by .reshape(-1, {shape[-1]}) or .movedim(1, -1).reshape(-1, {shape[1]})"
            )
        if last or second:
            moved = values if last else torch.as_tensor(values).movedim(1, -1)
            values, given = moved.reshape(-1, moved.shape[-1]), given.reshape(-1)
    kept = labels_kept(given, ignore_index)
    if kept.all() or kept.ndim != 1 or tuple(values.shape[:1]) != kept.shape:
        return values, given
    return values[torch.from_numpy(kept).to(values.device) if isinstance(values, torch.Tensor) else kept], given[kept]


def labels_kept(labels: np.ndarray[Any, Any], ignore_index: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where labels are not `ignore_index`, by default -100."""
    ignored = IGNORED_LABEL if ignore_index is None else checks.integer(ignore_index, "ignore_index", minimum=-(2**62))
    return np.asarray(labels != ignored) if labels.dtype.kind in "iu" else np.ones(labels.shape, dtype=bool)


def labels_for(labels: ArrayLike, num_classes: int, num_rows: int, name: str = "labels") -> IntArray:
    """Return labels ``(N,)`` from 0 to K - 1, one for each of `num_rows` rows of features."""
    checked = checks.class_labels(labels, num_classes, name)
    if len(checked) != num_rows:
        raise ArgumentError(f"{name}: got {len(checked)} labels for {num_rows} rows of features")
    return checked


def float64_device(device: torch.device | str, name: str = "device") -> torch.device:
    """Return the device if it computes in float64.

    Raises
    ------
    ArgumentError
        If it does not (Apple's ``mps``), or is not there.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=place).item()  # 'meta' has no values
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            f"{name}: {device!s} cannot hold float64 numbers ({reason}); use 'cpu' or a CUDA device"
        ) from None
    return place


def moments_device(place: torch.device) -> torch.device:
    """Return the device, or the processor where it has no float64."""
    return float64_device("cpu" if place.type == "mps" else place)


def _resolution(rows: Any, name: str) -> float:
    if isinstance(rows, torch.Tensor):
        if not rows.is_floating_point():
            raise _not_floating(name, str(rows.dtype).removeprefix("torch."), ".double()")
        return max(float(torch.finfo(rows.dtype).eps), EPS)
    if rows.dtype.kind != "f":
        raise _not_floating(name, str(rows.dtype), ".astype(float)")
    return max(float(np.finfo(rows.dtype).eps), EPS)


def _not_floating(name: str, dtype: str, cure: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{name}: expected real floating-point numbers, got dtype {dtype}; convert with {cure} if that is meant"
    )
