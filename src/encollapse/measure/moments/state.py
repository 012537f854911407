"""The moments of labeled features as plain values: what they amount to, and how two sets are joined.

Collapse means spreads that vanish beside means of size one, where ``Σ h hᵀ - n m mᵀ`` loses everything.
Here each class has an anchor near its mean, and only differences to it are ever added up. What they amount
to about the mean is what they are about the anchor, less ``n δ δᵀ`` with ``δ`` the mean minus the anchor.
Anchors are kept so near to their means (:mod:`encollapse.measure.moments.accumulate`) that this costs no digits.
Two sets are joined by moving each from its own means to the common ones, after Chan, Golub and LeVeque
:cite:p:`chan1983`: every term that is added is about means, so that none is negative. All totals are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from encollapse.errors import MemoryLimitError
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.measure.moments.torch_algebra import exact_products

_WORTH_SINGLE = 2**18  # entries from which float32 is worth its rounding


@dataclass(frozen=True, eq=False)
class MomentState:
    """Moments of K classes of features.

    Parameters
    ----------
    counts : (K,) int64
        Samples of each class.
    anchors : (K, d)
        A provisional center of each class, or zero for a class without samples.
    sums : (K, d)
        ``Σ_i (h_i - anchor)`` of each class.
    squares : (K,)
        ``Σ_i |h_i - anchor|²`` of each class.
    scatter : (d, d), optional
        ``Σ (h_i - anchor)(h_i - anchor)ᵀ`` pooled over classes, None where it is not kept. Only the entries
        on and above the diagonal count.
    resolution : float
        The coarsest machine epsilon among the dtypes that came in, or 0 before anything has.
    """

    counts: torch.Tensor
    anchors: torch.Tensor
    sums: torch.Tensor
    squares: torch.Tensor
    scatter: torch.Tensor | None
    resolution: float = 0.0

    @cached_property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.counts)

    @cached_property
    def feature_dim(self) -> int:
        """Feature dimension d."""
        return int(self.anchors.shape[1])

    @property
    def offsets(self) -> torch.Tensor:
        """Class mean minus anchor (K, d), or zero for a class without samples."""
        return self.sums / self.counts.clamp(min=1)[:, None]

    @property
    def means(self) -> torch.Tensor:
        """Class means (K, d), or NaN for a class without samples."""
        means = self.anchors + self.offsets
        means[self.counts == 0] = torch.nan
        return means

    @property
    def traces(self) -> torch.Tensor:
        """``Σ_i |h_i - m|²`` of each class about its mean (K,)."""
        return (self.squares - self.counts * self.offsets.square().sum(dim=1)).clamp(min=0.0)

    def within_scatter(self) -> torch.Tensor | None:
        """``Σ (h_i - m_k)(h_i - m_k)ᵀ`` about the class means, symmetric (d, d)."""
        if self.scatter is None:
            return None
        total = self.scatter.clone()
        # What is subtracted is about as large as the scatter: products as exact as those of large blocks will do.
        single = self.resolution > _DOUBLE and self.anchors.numel() >= _WORTH_SINGLE
        _add_offsets(total, self.counts, self.offsets, sign=-1, single=single)
        upper = total.triu_()
        return upper + upper.triu(1).T

    def to(self, device: torch.device) -> MomentState:
        """Return the same moments on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def copy(self) -> MomentState:
        """Return the same moments in tensors of their own."""
        return self._each(torch.Tensor.clone)

    def blank(self) -> MomentState:
        """Return moments of nothing, of the same shape and resolution."""
        return self._each(torch.zeros_like)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> MomentState:
        return replace(
            self,
            counts=change(self.counts),
            anchors=change(self.anchors),
            sums=change(self.sums),
            squares=change(self.squares),
            scatter=None if self.scatter is None else change(self.scatter),
        )


def fresh_zeros(*shape: int) -> torch.Tensor:
    """Zeros in float64 on the processor, of which numpy asks for memory in large pages and only when it is written."""
    return torch.from_numpy(np.zeros(shape))


def empty_rows(rows: int, dim: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Room for rows (n, d). On the processor numpy asks for it in large pages, which are first touched much sooner."""
    if device.type != "cpu":
        return torch.empty(rows, dim, dtype=dtype, device=device)
    return torch.from_numpy(np.empty((rows, dim), np.float32 if dtype == torch.float32 else np.float64))


def empty(num_classes: int, feature_dim: int, *, device: torch.device, covariance: bool) -> MomentState:
    """Moments of nothing.

    Raises
    ------
    MemoryLimitError
        If there is no memory for them.
    """

    def zeros(*shape: int) -> torch.Tensor:
        return fresh_zeros(*shape) if device.type == "cpu" else torch.zeros(shape, dtype=torch.float64, device=device)

    try:
        return MomentState(
            counts=torch.zeros(num_classes, dtype=torch.int64, device=device),
            anchors=zeros(num_classes, feature_dim),
            sums=zeros(num_classes, feature_dim),
            squares=zeros(num_classes),
            scatter=zeros(feature_dim, feature_dim) if covariance else None,
        )
    except (RuntimeError, TypeError, MemoryError, ValueError):
        # There is no memory, or the size is no number of bytes.
        means, square = 16 * num_classes * (feature_dim + 1), 8 * feature_dim**2 if covariance else 0
        cure = "covariance=False takes less" if square > means else "are there so many classes?"
        raise MemoryLimitError(
            f"moments: {num_classes} classes in {feature_dim} dimensions take {means + square:,} bytes, and "
            f"{device} has no room for them; {cure}"
        ) from None


def merge(a: MomentState, b: MomentState) -> MomentState:
    """Moments of two disjoint sets of samples together. Neither is changed, and an empty `b` gives back `a`."""
    if not b.counts.any():
        return replace(a, resolution=max(a.resolution, b.resolution))
    if not a.counts.any():
        return replace(b.copy(), resolution=max(a.resolution, b.resolution))
    counts = a.counts + b.counts
    share = b.counts.double() / counts.clamp(min=1)  # whole numbers would divide to float32
    fresh = (a.counts == 0)[:, None]
    start = torch.where(fresh, b.anchors, a.anchors)
    delta = (b.anchors - start) + b.offsets
    offsets = torch.where(fresh, delta, a.offsets + share[:, None] * (delta - a.offsets))
    resolution = max(a.resolution, b.resolution)
    anchors, _ = nearer_anchors(start, offsets, single=resolution > _DOUBLE)
    first, second = reanchored(a, anchors), reanchored(b, anchors)
    return MomentState(
        counts=counts,
        anchors=anchors,
        sums=first.sums + second.sums,
        squares=first.squares + second.squares,
        scatter=None if first.scatter is None or second.scatter is None else first.scatter + second.scatter,
        resolution=resolution,
    )


def reanchored(state: MomentState, anchors: torch.Tensor) -> MomentState:
    """Return the same moments about other anchors (K, d). States about the same anchors add up entry by entry."""
    used = (state.counts > 0)[:, None]
    old = state.offsets
    new = torch.where(used, (state.anchors - anchors) + old, 0.0)
    scatter = None
    if state.scatter is not None:
        scatter = state.scatter.clone()
        _add_offsets(scatter, state.counts, old, sign=-1)
        _add_offsets(scatter, state.counts, new, sign=1)
    return replace(
        state,
        anchors=anchors,
        sums=state.counts[:, None] * new,
        squares=state.traces + state.counts * new.square().sum(dim=1),
        scatter=scatter,
    )


def nearer_anchors(anchors: torch.Tensor, offsets: torch.Tensor, *, single: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return anchors moved to the means ``anchor + offset``, and what is left of the offsets.

    With `single` the anchors are float32 numbers, so that float32 features can be taken from them.
    """
    moved = anchors + offsets
    if single:
        moved = torch.where(moved.abs() < _LARGEST_SINGLE, moved.float().double(), moved)
    return moved, offsets - (moved - anchors)


def move_anchors(state: MomentState, classes: torch.Tensor, offsets: torch.Tensor, *, single: bool) -> None:
    """Move the anchors of some classes by about `offsets`, in place. The moments stay what they are."""
    counts, start, old = state.counts[classes], state.anchors[classes], state.offsets[classes]
    moved, _ = nearer_anchors(start, offsets, single=single)
    new = old - (moved - start)
    if state.scatter is not None:
        _add_offsets(state.scatter, counts, old, sign=-1)
        _add_offsets(state.scatter, counts, new, sign=1)
    state.squares[classes] = state.traces[classes] + counts * new.square().sum(dim=1)
    state.sums[classes] = counts[:, None] * new
    state.anchors[classes] = moved


def _add_offsets(
    total: torch.Tensor, counts: torch.Tensor, offsets: torch.Tensor, *, sign: int, single: bool = False
) -> None:
    """``total += sign · Σ n δ δᵀ`` in place, of float32 products if `single`."""
    used = (counts > 0) & offsets.any(dim=1)
    if not used.all():  # of many classes few may have been seen
        counts, offsets = counts[used], offsets[used]
    rows = offsets * counts.double().sqrt()[:, None]
    if not single or not len(rows):
        add_gram(total, rows, sign=sign)
        return
    unit = float(rows.abs().max())
    if 0.0 < unit < torch.inf:
        with exact_products(rows.device):
            add_gram(total, (rows / unit).float(), sign=sign, unit=unit)


_DOUBLE = torch.finfo(torch.float64).eps
_LARGEST_SINGLE = torch.finfo(torch.float32).max
