"""The moments of labelled features as plain values: update, merge, and what they amount to.

Collapse means spreads that vanish beside means of size one, where ``Σ h hᵀ - n m mᵀ`` loses everything.
Here each class has an anchor, its first sample; only differences to it are ever added up, and scatters
about two means are joined by the rule of Chan, Golub and LeVeque :cite:p:`chan1983`,

    S = S_a + S_b + (n_a n_b / n) (m_b - m_a)(m_b - m_a)ᵀ,

in which no term is negative. Everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, eq=False)
class MomentState:
    """Moments of K classes of features.

    Parameters
    ----------
    counts : (K,) int64
        Samples of each class.
    anchors : (K, d)
        A provisional centre of each class; zero for a class without samples.
    offsets : (K, d)
        Class mean minus anchor.
    traces : (K,)
        ``Σ_i |h_i - m|²`` of each class.
    scatter : (d, d), optional
        ``Σ (h_i - m_k)(h_i - m_k)ᵀ`` pooled over classes; None where it is not kept.
    resolution : float
        The coarsest machine epsilon among the dtypes that came in; 0 before anything has.
    """

    counts: torch.Tensor
    anchors: torch.Tensor
    offsets: torch.Tensor
    traces: torch.Tensor
    scatter: torch.Tensor | None
    resolution: float = 0.0

    @property
    def means(self) -> torch.Tensor:
        """Class means (K, d); NaN for a class without samples."""
        means = self.anchors + self.offsets
        means[self.counts == 0] = torch.nan
        return means

    def to(self, device: torch.device) -> MomentState:
        """Return the same moments on another device."""
        return MomentState(
            counts=self.counts.to(device),
            anchors=self.anchors.to(device),
            offsets=self.offsets.to(device),
            traces=self.traces.to(device),
            scatter=None if self.scatter is None else self.scatter.to(device),
            resolution=self.resolution,
        )


def empty(num_classes: int, feature_dim: int, *, device: torch.device, covariance: bool) -> MomentState:
    """Moments of nothing."""

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    return MomentState(
        counts=torch.zeros(num_classes, dtype=torch.int64, device=device),
        anchors=zeros(num_classes, feature_dim),
        offsets=zeros(num_classes, feature_dim),
        traces=zeros(num_classes),
        scatter=zeros(feature_dim, feature_dim) if covariance else None,
    )


def update(
    state: MomentState, features: torch.Tensor, labels: torch.Tensor, resolution: float
) -> MomentState:
    """Moments after a batch: features (n, d) finite float64, labels (n,) int64 from 0 to K - 1."""
    state = replace(state, resolution=max(state.resolution, resolution))
    if not len(labels):
        return state
    classes, place = torch.unique(labels, return_inverse=True)
    known = _take(state, classes)
    merged = merge(known, _of_batch(features, place, known))
    return _put(state, classes, merged)


def merge(a: MomentState, b: MomentState) -> MomentState:
    """Moments of two disjoint sets of samples together."""
    counts = a.counts + b.counts
    share = b.counts.double() / counts.clamp(min=1)  # whole numbers would divide to float32
    delta = (b.anchors - a.anchors) + (b.offsets - a.offsets)
    both = (a.counts * share)[:, None]
    fresh = (a.counts == 0)[:, None]
    scatter = None
    if a.scatter is not None and b.scatter is not None:
        weighted = both.sqrt() * delta
        scatter = a.scatter + b.scatter + weighted.T @ weighted
    return MomentState(
        counts=counts,
        anchors=torch.where(fresh, b.anchors, a.anchors),
        offsets=torch.where(fresh, b.offsets, a.offsets + share[:, None] * delta),
        traces=a.traces + b.traces + (both * delta.square()).sum(dim=1),
        scatter=scatter,
        resolution=max(a.resolution, b.resolution),
    )


def _of_batch(features: torch.Tensor, place: torch.Tensor, known: MomentState) -> MomentState:
    """Moments of a batch about the anchors of `known`, or about its own first samples for new classes."""
    num_classes, num_rows = len(known.counts), len(features)
    counts = torch.bincount(place, minlength=num_classes)
    rows = torch.arange(num_rows, device=features.device)
    first = torch.full_like(counts, num_rows).scatter_reduce(0, place, rows, "amin")
    anchors = torch.where((known.counts == 0)[:, None], features[first], known.anchors)
    shifted = features - anchors[place]
    offsets = torch.zeros_like(anchors).index_add_(0, place, shifted) / counts[:, None]
    residuals = shifted - offsets[place]
    return MomentState(
        counts=counts,
        anchors=anchors,
        offsets=offsets,
        traces=torch.zeros_like(known.traces).index_add_(0, place, residuals.square().sum(dim=1)),
        scatter=None if known.scatter is None else residuals.T @ residuals,
    )


def _take(state: MomentState, classes: torch.Tensor) -> MomentState:
    return replace(
        state,
        counts=state.counts[classes],
        anchors=state.anchors[classes],
        offsets=state.offsets[classes],
        traces=state.traces[classes],
    )


def _put(state: MomentState, classes: torch.Tensor, part: MomentState) -> MomentState:
    return replace(
        part,
        counts=state.counts.index_copy(0, classes, part.counts),
        anchors=state.anchors.index_copy(0, classes, part.anchors),
        offsets=state.offsets.index_copy(0, classes, part.offsets),
        traces=state.traces.index_copy(0, classes, part.traces),
    )
