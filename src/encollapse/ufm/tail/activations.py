"""Activations of the samples, reduced to what the minimization over a linear map of them needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal.rounding import EPS, TINY
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.ufm.bias_decay import mean_share

_CHUNK_ENTRIES = 2**22
"""Entries of the activations that are centered at a time: 32 MiB of float64."""
_SINGLE_FLOOR, _SINGLE_CEILING = 1e-12, 1e12
"""Range of the largest activation in which sums of squares are far within single precision."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of activations and labels in which the bias of a squared error is eliminated.

    With ``β = λ_b/(1 + λ_b)`` the best bias leaves ``1/(2N) |(Y - G Φ)(P + √β v vᵀ)|²`` for ``v = 1/√N``: the common
    part of activations and labels shrinks by ``√β``.

    Attributes
    ----------
    values : (r,)
        Positive eigenvalues λ of the second moments, ascending.
    basis : (p, r)
        Their eigenvectors.
    products : (q, r)
        Second moments of labels and activations, in this basis.
    energy : float
        Mean square of the labels.
    share : float
        ``1 - √β``, the share of the mean that is taken off.
    """

    values: FloatArray
    basis: FloatArray
    products: FloatArray
    energy: float
    share: float


@dataclass(frozen=True, eq=False)
class WeighedMoments:
    """Second moments of weighted activations, less a part of their mean, by their eigenvectors.

    Attributes
    ----------
    values : (m,)
        Eigenvalues, ascending. Those within rounding of 0 are raised.
    basis : (p, m)
        Eigenvectors.
    center : (p,)
        What was taken off the activations: the share ``1 - √β`` of their mean.
    """

    values: FloatArray
    basis: FloatArray
    center: FloatArray


def largest_entry(array: FloatArray) -> float:
    """Size of the largest entry, without a copy."""
    return max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))


def _center_share(bias_decay: float) -> float:
    """``1 - √β``."""
    return 1.0 - math.sqrt(mean_share(bias_decay))


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations of samples in classes.

    Attributes
    ----------
    rows : (N, p)
        One row a sample.
    labels : (N,)
        Class of each sample, from 0 to K - 1.
    codewords : (q, K)
        Targets of the classes, some of which may have no samples.
    """

    rows: FloatArray
    labels: IntArray
    codewords: FloatArray

    @classmethod
    def of(cls, activations: FloatArray, labels: IntArray, codewords: FloatArray, constant: float) -> Activations:
        """Append the entry `constant` to every row, unless it is 0."""
        if constant != 0.0:
            rows = np.empty((len(activations), activations.shape[1] + 1))
            rows[:, :-1] = activations
            rows[:, -1] = constant
            activations = rows
        return cls(activations, labels, codewords)

    @cached_property
    def counts(self) -> IntArray:
        """Samples of each class, (K,)."""
        return np.bincount(self.labels, minlength=self.codewords.shape[1]).astype(np.int64)

    @cached_property
    def mean(self) -> FloatArray:
        """Mean of the rows, (p,)."""
        return np.asarray(self.rows.mean(axis=0))

    @cached_property
    def class_means(self) -> FloatArray:
        """Mean of the rows of each class (p, K), or NaN for a class without samples."""
        means = np.full((self.rows.shape[1], len(self.counts)), np.nan)
        for k in np.flatnonzero(self.counts):
            means[:, k] = self.rows[self.labels == k].mean(axis=0)
        return means

    @cached_property
    def mean_label(self) -> FloatArray:
        """Mean of the labels, (q,)."""
        return np.asarray(self.codewords @ (self.counts / len(self.labels)))

    def targets(self, share: float) -> FloatArray:
        """Codewords (q, K) less `share` times their mean.

        A common part far above the spread is taken off exactly: differences of close numbers are, and a second pass
        takes off what the rounding of the mean leaves behind.
        """
        if not share:
            return self.codewords
        centered = self.codewords - self.mean_label[:, None]
        centered -= (centered @ (self.counts / len(self.labels)))[:, None]
        return np.asarray(centered + (1.0 - share) * self.mean_label[:, None])

    @cached_property
    def _left_over(self) -> FloatArray:
        """What the rounding of the mean leaves behind, (p,)."""
        total = np.zeros(self.rows.shape[1])
        for part in self._parts():
            total += (self.rows[part] - self.mean).sum(axis=0)
        return total / len(self.rows)

    def _parts(self) -> Iterator[slice]:
        size = max(1, _CHUNK_ENTRIES // self.rows.shape[1])
        for start in range(0, len(self.rows), size):
            yield slice(start, start + size)

    def chunks(self, share: float) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the rows less `share` times their mean, some at a time, exactly, as :meth:`targets` does."""
        for part in self._parts():
            block = self.rows[part]
            if share:
                block = block - self.mean
                block += (1.0 - share) * self.mean - self._left_over
            yield part, block

    @cached_property
    def _coordinates(self) -> tuple[FloatArray, FloatArray | None]:
        """Rows in a basis (p, N) of their span, where that is the smaller side."""
        if self.rows.shape[1] <= len(self.rows):
            return self.rows, None
        basis, triangle = np.linalg.qr(self.rows.T)
        return np.ascontiguousarray(triangle.T), basis

    def moments(self, bias_decay: float) -> Moments:
        """Second moments for a bias decay from 0 to infinity."""
        share = _center_share(bias_decay)
        coordinates, span = self._coordinates
        inside = self if span is None else Activations(coordinates, self.labels, self.codewords)
        n, p = coordinates.shape
        second = np.zeros((p, p))
        sums = np.zeros((self.codewords.shape[1], p))
        for part, rows in inside.chunks(share):
            second += rows.T @ rows
            for k in np.unique(self.labels[part]):
                sums[k] += rows[self.labels[part] == k].sum(axis=0)
        targets = self.targets(share)
        values, vectors = np.linalg.eigh(second / n)
        kept = values > max(n, p) * EPS * values[-1]
        if values[-1] <= 0:
            kept[:] = False
        values, vectors = values[kept], vectors[:, kept]
        return Moments(
            values=values,
            basis=vectors if span is None else span @ vectors,
            products=(targets @ sums) @ vectors / n,
            energy=float((targets**2).sum(axis=0) @ self.counts) / n,
            share=share,
        )

    @cached_property
    def coarse(self) -> Any:
        """The rows, where they are many in single precision, for what need not be exact."""
        fits = self.rows.size > _CHUNK_ENTRIES and _SINGLE_FLOOR < largest_entry(self.rows) < _SINGLE_CEILING
        return self.rows.astype(np.float32) if fits else self.rows

    def metric(self, weights: FloatArray, bias_decay: float) -> WeighedMoments:
        """Second moments with `weights` (N,) for the samples, for a bias decay in units of the curvature."""
        shares = weights / weights.sum()
        center = _center_share(bias_decay) * (shares @ self.rows)
        rows = self.coarse
        n, p = rows.shape
        roots = np.sqrt(shares).astype(rows.dtype)
        if n < p:
            centered = (rows - center.astype(rows.dtype)) * roots[:, None]
            # A sample that hardly weighs is in the span all the same.
            basis = np.linalg.qr(np.asarray(self.rows.T))[0]
            inside = centered @ basis
            second = inside.T @ inside
        else:
            basis, second = None, np.zeros((p, p))
            size = max(1, _CHUNK_ENTRIES // p)
            for start in range(0, n, size):
                part = slice(start, start + size)
                block = (rows[part] - center.astype(rows.dtype)) * roots[part, None]
                second += block.T @ block
        values, vectors = np.linalg.eigh(second)
        floor = max(n, p) * float(np.finfo(rows.dtype).eps) * max(float(values[-1]), TINY)
        return WeighedMoments(np.maximum(values, floor), vectors if basis is None else basis @ vectors, center)

    def least_map(self, features: FloatArray, *, coarse: bool) -> FloatArray:
        """The least V (d, p) with ``V φ_i`` next to the features (N, d). `coarse` ones are known to float32 only."""
        coordinates, span = self._coordinates
        values, vectors = np.linalg.eigh(coordinates.T @ coordinates)
        kept = values > (1e-9 if coarse else 1e-13) * values[-1]
        vectors = vectors[:, kept]
        found = np.zeros((features.shape[1], vectors.shape[1]))
        for _ in range(2):  # the second pass mends what squaring the activations has lost
            rest = features - coordinates @ (vectors @ found.T)
            found += (rest.T @ coordinates) @ vectors / values[kept]
        found = found @ vectors.T
        return np.asarray(found if span is None else found @ span.T)

    def misfit(
        self, matrix: FloatArray, bias_decay: float, basis: FloatArray | None = None
    ) -> tuple[float, FloatArray]:
        """Mean square of labels less outputs of G, and minus half of its derivative in G.

        The best bias is eliminated as in :class:`Moments`. With a `basis` (p, r) of the span, G is in its coordinates.
        """
        share = _center_share(bias_decay)
        targets = self.targets(share)
        total, slope = 0.0, np.zeros_like(matrix)
        for part, rows in self.chunks(share):
            seen = rows if basis is None else rows @ basis
            rest = targets.T[self.labels[part]] - seen @ matrix.T
            total += float(np.sum(rest**2))
            slope += rest.T @ seen
        return total / len(self.rows), slope / len(self.rows)

    def outputs(self, matrix: FloatArray) -> FloatArray:
        """``G Φ`` (q, N)."""
        return np.asarray(matrix @ self.rows.T)

    def gradient(self, change: FloatArray) -> FloatArray:
        """``change Φᵀ`` (q, p) for a change of the outputs (q, N)."""
        return np.asarray(change @ self.rows)
