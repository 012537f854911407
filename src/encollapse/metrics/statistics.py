"""`ClassStatistics`: the moments of a set of features from which every collapse metric is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError, Undefined
from encollapse.metrics.linear_algebra import NUMPY, SMALL, CholeskyScatter, LinearAlgebra, row_lengths
from encollapse.metrics.pair_sums import PairSums, pair_sums

Averaging = Literal["sample", "class"]
"""Weights of the classes in an average: by their samples, or all alike."""


_MANY_CLASSES = 1000
"""Number of classes up to which the labels of few samples are taken at their word."""


@dataclass(frozen=True, eq=False)
class ProjectedWithin:
    """The within-class covariance along the class means, where all of it was not formed.

    Parameters
    ----------
    basis : (r, d)
        Orthonormal rows that span the differences of class means.
    matrix : (r, r)
        ``Q Σ_W Qᵀ`` for the rows Q of `basis`.
    averaging : {"sample", "class"}
        How ``Σ_W`` averages over classes.
    """

    basis: FloatArray
    matrix: FloatArray
    averaging: Averaging


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Counts, means and within-class scatter of labeled features, float64, copied and read-only.

    Parameters
    ----------
    means : (K, d)
        Class means as rows. NaN for a class without samples, so that it can never enter an average.
    counts : (K,) ints
        Samples of each class. 0 marks a class that was not seen.
    within_trace : (K,)
        Trace of the covariance of each class (divided by ``n_k``), or NaN for an absent class.
    within_covariance : (d, d), optional
        ``Σ_W = Σ_k Σ_i (h_ki - m_k)(h_ki - m_k)ᵀ / N``. None where it was not kept.
    class_averaged_covariance : (d, d), optional
        The plain average over present classes of their covariances. Needed only where a convention
        averages over classes and the counts differ. Otherwise it is `within_covariance`.
    resolution : float
        Machine epsilon of the dtype the features arrived in: what their own rounding allows to resolve.
    projected : ProjectedWithin, optional
        ``Σ_W`` along the class means, in place of a covariance.
    algebra : LinearAlgebra
        Who multiplies and factorizes the large matrices of the metrics.
    covariance_resolution : float
        Machine epsilon of the products that the covariance was added up from.
    covariance_again : bool
        Whether the covariance was added up in a pass of its own, once the means were known.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry of a present class is not finite, a variance is negative, or no
        class has samples.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.metrics.ClassStatistics(means=[[1.0, 0.0], [0.0, 2.0]], counts=[5, 3], within_trace=[0.1, 0.2])
    ClassStatistics(num_classes=2, feature_dim=2, num_samples=8)
    """

    means: FloatArray
    counts: IntArray
    within_trace: FloatArray
    within_covariance: FloatArray | None = None
    class_averaged_covariance: FloatArray | None = None
    resolution: float = EPS
    projected: ProjectedWithin | None = None
    algebra: LinearAlgebra = NUMPY
    covariance_resolution: float = EPS
    covariance_again: bool = False

    def __post_init__(self) -> None:
        counts = checks.to_numpy(self.counts, "counts")
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any() or not counts.any():
            raise ArgumentError("counts: expected whole numbers of 0 or above, shape (num_classes,), not all zero")
        k, present = len(counts), counts > 0
        self._set("counts", counts.astype(np.int64))
        means = checks.array(self.means, "means", (k, None), axes="(num_classes, feature_dim)", finite=False)
        trace = checks.array(self.within_trace, "within_trace", (k,), axes="(num_classes,)", finite=False)
        for name, values in (("means", means), ("within_trace", trace)):
            if not np.isfinite(values if present.all() else values[present]).all():
                raise ArgumentError(
                    f"{name}: every entry of a class that is present must be finite; features beyond 1e150 "
                    "overflow when squared: scale them first"
                )
            values[~present] = np.nan
        if (trace[present] < 0).any():
            raise ArgumentError("within_trace: expected variances of 0 or above")
        self._set("means", means)
        self._set("within_trace", trace)
        for name in ("within_covariance", "class_averaged_covariance"):
            value = getattr(self, name)
            if value is not None:
                self._set(name, checks.array(value, name, (self.feature_dim, self.feature_dim)))
        object.__setattr__(self, "resolution", checks.positive(self.resolution, "resolution"))

    @classmethod
    def from_features(cls, features: ArrayLike, labels: ArrayLike, num_classes: int | None = None) -> ClassStatistics:
        """Moments of features that are at hand, in two passes of float64.

        Means first, then covariances from the residuals about them: spreads of 1e-8 about means of size 10 keep
        their digits. It holds two copies of the features. :func:`encollapse.measure.collapse` takes blocks.

        Parameters
        ----------
        features : (N, d) array
            One row a sample, numpy or torch.
        labels : (N,) ints
            Classes from 0 to K - 1. Classes without samples are allowed.
        num_classes : int, optional
            Number of classes. Default: the largest label plus one.

        Returns
        -------
        ClassStatistics
            With the covariances of both averagings.

        Raises
        ------
        ArgumentError
            If there are no samples, an entry is not finite, a label is out of range, or the lengths disagree.
        ArgumentTypeError
            If features are not numbers, or labels not whole ones.

        Examples
        --------
        >>> import encollapse as ec
        >>> statistics = ec.metrics.ClassStatistics.from_features([[1.0, 2], [3, 2], [0, 5]], [0, 0, 1])
        >>> statistics.means
        array([[2., 2.],
               [0., 5.]])
        >>> statistics.within_trace
        array([1., 0.])
        """
        raw = checks.to_numpy(features, "features")
        rows = checks.array(raw, "features", (None, None), axes="(num_samples, feature_dim)")
        most = 2**62 if num_classes is None else checks.integer(num_classes, "num_classes", minimum=1)
        targets = checks.class_labels(labels, most)
        if len(targets) != len(rows):
            raise ArgumentError(f"labels: got {len(targets)} labels for {len(rows)} rows of features")
        size = plausible_classes(int(targets.max()) + 1, len(rows)) if num_classes is None else most
        memory.require_room("num_classes", size, 1, instead="give the number of classes that there are")
        counts = np.bincount(targets, minlength=size)
        present = np.flatnonzero(counts)
        own = counts[present]
        starts = np.cumsum(own) - own
        rows = rows[np.argsort(targets, kind="stable")]
        with np.errstate(over="ignore", invalid="ignore"):
            means = rows[starts]  # one sample of each class: sums about it keep the digits of a small spread
            rows -= np.repeat(means, own, axis=0)
            shifts = np.add.reduceat(rows, starts, axis=0) / own[:, None]
            means += shifts
            rows -= np.repeat(shifts, own, axis=0)
            traces = np.add.reduceat(np.einsum("nd,nd->n", rows, rows), starts) / own
            pooled = rows.T @ rows / len(rows)
            averaged = None
            if (own != own[0]).any():
                rows /= np.sqrt(np.repeat(own * float(len(own)), own))[:, None]
                averaged = rows.T @ rows
        everywhere = np.full((size, rows.shape[1]), np.nan)
        everywhere[present] = means
        within = np.full(size, np.nan)
        within[present] = traces
        resolution = float(np.finfo(raw.dtype).eps) if raw.dtype.kind == "f" else EPS
        return cls(everywhere, counts, within, pooled, averaged, resolution)

    def _set(self, name: str, value: np.ndarray[Any, Any]) -> None:
        object.__setattr__(self, name, checks.read_only(value))

    def __repr__(self) -> str:
        return (
            f"ClassStatistics(num_classes={self.num_classes}, feature_dim={self.feature_dim}, "
            f"num_samples={self.num_samples})"
        )

    @property
    def num_classes(self) -> int:
        """Number of classes K, absent ones included."""
        return len(self.counts)

    @property
    def feature_dim(self) -> int:
        """Feature dimension d."""
        return int(self.means.shape[1])

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return int(self.counts.sum())

    @property
    def present(self) -> IntArray:
        """Indices of the classes that have samples, ascending."""
        return np.flatnonzero(self.counts).astype(np.int64)

    @property
    def num_present(self) -> int:
        """Number of classes that have samples."""
        return int(np.count_nonzero(self.counts))

    @property
    def priors(self) -> FloatArray:
        """Class frequencies ``n_k / N``, shape (K,)."""
        return np.asarray(self.counts / self.num_samples)

    @property
    def present_means(self) -> FloatArray:
        """Means of the classes that have samples, shape (num_present, d)."""
        return self.means if self.num_present == self.num_classes else self.means[self.present]

    @cached_property
    def longest_mean(self) -> float:
        """Length of the longest class mean."""
        return float(row_lengths(self.present_means).max())

    @cached_property
    def squarable(self) -> bool:
        """Whether squares of lengths of the class means, and their reciprocals, are in the range of float64."""
        peak = float(np.abs(self.present_means).max())
        return peak == 0.0 or SMALL < peak < 1.0 / SMALL

    @property
    def mean_rounding(self) -> float:
        """Length below which a difference of class means is float64 rounding of the means themselves."""
        return 8 * EPS * self.longest_mean

    @property
    def balanced(self) -> bool:
        """Whether all present classes have as many samples."""
        counts = self.counts[self.present]
        return bool((counts == counts[0]).all())

    def weights(self, averaging: Averaging) -> FloatArray:
        """Weights of the present classes in an average. They sum to one. Shape (num_present,)."""
        if averaging == "class":
            return np.full(self.num_present, 1.0 / self.num_present)
        return self.priors[self.present]

    def centered(self, averaging: Averaging) -> CenteredMeans:
        """Means of the present classes about the global mean of the given averaging, computed once."""
        if averaging not in self._centered:
            self._centered[averaging] = _center(self, averaging)
        return self._centered[averaging]

    def about(self, means: ArrayLike) -> ClassStatistics:
        """Moments of the same samples about the class means of others, such as those of a training set.

        With ``δ_k`` the difference of the means, the second moments about the others are larger by ``δ_k δ_kᵀ``. All
        metrics of the result say how samples stand to these means.

        Parameters
        ----------
        means : (K, d) array
            Class means. Rows of classes without samples here may be NaN.

        Returns
        -------
        ClassStatistics
            With counts of these samples and means of the others.

        Raises
        ------
        ArgumentError
            If the shape is another, or a class with samples has no mean.

        Examples
        --------
        >>> import encollapse as ec
        >>> held_out = ec.metrics.ClassStatistics.from_features([[1.0, 2], [3, 2], [0, 5]], [0, 0, 1])
        >>> held_out.about([[2.0, 0], [0, 5]]).within_trace
        array([5., 0.])
        """
        given = checks.array(means, "means", self.means.shape, axes="(num_classes, feature_dim)", finite=False)
        absent = self.present[~np.isfinite(given[self.present]).all(axis=1)]
        if len(absent):
            raise ArgumentError(
                f"means: has no mean of class {absent[0]}, which has samples here; leave these samples out"
            )
        moved = self.means - given
        matrices = {}
        for name, averaging in (("within_covariance", "sample"), ("class_averaged_covariance", "class")):
            matrix = getattr(self, name)
            if matrix is not None:
                rows = np.sqrt(self.weights(averaging))[:, None] * moved[self.present]  # type: ignore[arg-type]
                matrices[name] = matrix + rows.T @ rows
        trace = self.within_trace + np.square(moved).sum(axis=1)
        return replace(self, means=given, within_trace=trace, projected=None, **matrices)

    def within(self, averaging: Averaging) -> CholeskyScatter | None:
        """Within-class covariance of the given averaging with its factor, computed once, or None if unknown."""
        if averaging not in self._within:
            pooled = averaging == "sample" or self.balanced
            matrix = self.within_covariance if pooled else self.class_averaged_covariance
            self._within[averaging] = None if matrix is None else CholeskyScatter.of(matrix, self.algebra)
        return self._within[averaging]

    @cached_property
    def _within(self) -> dict[Averaging, CholeskyScatter | None]:
        return {}

    @cached_property
    def _centered(self) -> dict[Averaging, CenteredMeans]:
        return {}


@dataclass(frozen=True, eq=False)
class CenteredMeans:
    """Means of the present classes about a global mean.

    Parameters
    ----------
    classes : (P,) ints
        Which classes the rows belong to.
    weights : (P,)
        Their weights in averages over classes.
    global_mean : (d,)
        ``μ = Σ w_k m_k``.
    deviations : (P, d)
        ``m_k - μ`` as rows.
    rounding : float
        Length below which a deviation is rounding.
    algebra : LinearAlgebra
        Who multiplies large matrices.
    """

    classes: IntArray
    weights: FloatArray
    global_mean: FloatArray
    deviations: FloatArray
    rounding: float
    algebra: LinearAlgebra = NUMPY

    @cached_property
    def norms(self) -> FloatArray:
        """Lengths of the deviations, shape (P,)."""
        return row_lengths(self.deviations)

    @cached_property
    def pairs(self) -> PairSums:
        """Sums over the pairs of at least two means, swept once for all metrics."""
        return pair_sums(self.deviations, self.global_mean, self.algebra)

    @cached_property
    def between(self) -> FloatArray:
        """Between-class covariance ``Σ_B`` (d, d), in units of ``norms.max()²``."""
        rows = self.deviations * (np.sqrt(self.weights) / self.norms.max())[:, None]
        return np.asarray(checks.read_only(self.algebra.gram(rows)))

    @property
    def weighted(self) -> FloatArray:
        """Rows ``√w_k (m_k - μ)``, shape (P, d). With X for this matrix, ``Σ_B = XᵀX``."""
        return np.asarray(np.sqrt(self.weights)[:, None] * self.deviations)

    @property
    def between_trace(self) -> float:
        """Trace of the between-class covariance ``Σ w_k |m_k - μ|²``."""
        return float(self.weights @ self.norms**2)

    @property
    def coincide(self) -> bool:
        """Whether all means are the same up to rounding."""
        return bool(self.norms.max() <= self.rounding) or self.between_trace == 0.0


def _center(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    classes, weights = statistics.present, statistics.weights(averaging)
    means = statistics.present_means
    # Differences to one of the means are nearly exact where all means are far from the origin; averaging
    # those keeps the rounding of a large global mean out of the deviations.
    about_first = means - means[0]
    shift = weights @ about_first
    global_mean = means[0] + shift
    about_first -= shift
    return CenteredMeans(
        classes=checks.read_only(classes),
        weights=checks.read_only(weights),
        global_mean=checks.read_only(global_mean),
        deviations=checks.read_only(about_first),
        rounding=statistics.mean_rounding,
        algebra=statistics.algebra,
    )


def plausible_classes(count: int, num_rows: int) -> int:
    """Return a number of classes that was inferred from labels, if it can be meant."""
    if count > max(_MANY_CLASSES, num_rows):
        raise ArgumentError(
            f"labels: the largest is {count - 1}, with only {num_rows} samples; pass num_classes={count} if "
            "that is meant"
        )
    return count


class Unresolved(Undefined):
    """A metric has no value because the arithmetic of what it is computed from was too coarse."""


def centered_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means of at least two present classes.

    Raises
    ------
    Undefined
        If only one class has samples.
    """
    if statistics.num_present < 2:
        raise Undefined(f"only class {statistics.present[0]} has samples; at least two classes are needed")
    return statistics.centered(averaging)


def distinct_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means of at least two present classes that do not all coincide.

    Raises
    ------
    Undefined
        If only one class has samples, or all class means are the same up to rounding.
    """
    centered = centered_means(statistics, averaging)
    if centered.coincide:
        raise Undefined("all class means coincide")
    return centered


def directed_means(statistics: ClassStatistics, averaging: Averaging) -> CenteredMeans:
    """Centered means each of which has a direction.

    Raises
    ------
    Undefined
        If a class mean coincides with the global mean, or only one class has samples.
    """
    centered = distinct_means(statistics, averaging)
    at_center = centered.norms <= centered.rounding
    if at_center.any():
        raise Undefined(
            f"the mean of class {centered.classes[at_center.argmax()]} coincides with the global mean, "
            "so it has no direction"
        )
    return centered
