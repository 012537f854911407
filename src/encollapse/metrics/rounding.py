"""Directions along which features differ by nothing but their rounding, which no metric may invert."""

import math
from typing import NamedTuple

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics

_GAP = 100.0
"""How many times less features differ along a hidden direction than along any other."""

_SHARE = 0.5
"""Share of a single feature in the hidden directions from which on they are its own."""

_ONE, _SEVERAL, _AT_MOST = 16.0, 4.0, 1000.0
"""Roundings, times √d, up to which one hidden direction is rounding for sure, several are, and one may be.

A layer normalization subtracts a mean that is rounded, from all features of a sample alike. Of inputs whose mean is x
standard deviations this leaves about x/4 of them. Several directions are those of a group normalization, or the spread
of features that have all but collapsed.
"""


MAYBE_ROUNDING = (
    "along one direction the features differ by so little that rounding in a normalization before them may have made "
    "it, and the value depends on that; compute the features in float64, or bring the inputs of the normalization to a "
    "mean near 0"
)


class Hidden(NamedTuple):
    """Directions along which features differ too little.

    Parameters
    ----------
    directions : (g, d)
        Orthonormal rows w: ``wᵀh`` is the same for all features h up to rounding.
    coordinates : (d, d - g)
        ``h @ coordinates`` are the features along all other directions, each in units of its own size.
    sure : bool
        Whether rounding is all that there is, or only may be.
    """

    directions: FloatArray
    coordinates: FloatArray
    sure: bool


def clear_of_rounding(statistics: ClassStatistics, least: float, sizes: FloatArray) -> bool:
    """Whether features whose variance is at least `least` along every direction have no hidden one."""
    return least > (_most(statistics) * float(sizes.max())) ** 2


def hidden_in_covariance(statistics: ClassStatistics, total: FloatArray, sizes: FloatArray) -> Hidden | None:
    """Hidden directions of features of the given covariance (d, d) and sizes (d,), their root mean squares."""
    squares, axes = np.linalg.eigh(total / sizes / sizes[:, None])
    resolved = squares.clip(min=EPS * len(sizes) * squares[-1])
    return _hidden(statistics, np.sqrt(resolved), axes, sizes)


def hidden_in_means(statistics: ClassStatistics, centered: CenteredMeans) -> Hidden | None:
    """Hidden directions of class means (P, d) that are more than features, so that these could span them all."""
    sizes = mean_sizes(centered, statistics)
    _, lengths, axes = np.linalg.svd(centered.weighted / sizes, full_matrices=False)
    return _hidden(statistics, lengths[::-1], axes[::-1].T, sizes)


def mean_sizes(centered: CenteredMeans, statistics: ClassStatistics) -> FloatArray:
    """Root mean squares of the class means, feature by feature, and 1 where they are 0."""
    sizes = np.sqrt(centered.weights @ statistics.present_means**2)
    return np.where(sizes > 0.0, sizes, 1.0)


def _most(statistics: ClassStatistics) -> float:
    return _AT_MOST * math.sqrt(statistics.feature_dim) * statistics.resolution


def _hidden(statistics: ClassStatistics, spreads: FloatArray, axes: FloatArray, sizes: FloatArray) -> Hidden | None:
    """Hidden directions among `axes`, orthonormal columns along which features in their own units differ by `spreads`.

    Spreads ascend. Directions in which a single feature has a large share are those of a feature far from the origin
    and of no normalization, which rounds all alike. The widest gap that is surely above rounding counts, or one above
    the least.
    """
    unit = math.sqrt(len(sizes)) * statistics.resolution
    behind_gap = np.flatnonzero(spreads[1:] > _GAP * spreads[:-1]) + 1
    shares = np.cumsum(axes**2, axis=1).max(axis=0)
    behind_gap = behind_gap[shares[behind_gap - 1] <= _SHARE]
    limits = np.where(behind_gap == 1, _ONE, _SEVERAL) * unit
    certain = behind_gap[spreads[behind_gap - 1] <= limits]
    if len(certain):
        count = int(certain[-1])
    elif len(behind_gap) and behind_gap[0] == 1 and spreads[0] <= _AT_MOST * unit:
        count = 1
    else:
        return None
    directions, _ = np.linalg.qr(axes[:, :count] / sizes[:, None])
    return Hidden(np.asarray(directions.T), axes[:, count:] / sizes[:, None], bool(len(certain)))
