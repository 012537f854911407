"""NC2: how far the class means are from a simplex equiangular tight frame, or from an orthogonal one."""

import numpy as np

from encollapse._typing import FloatArray
from encollapse.geometry.frames import frame_distance, orthogonal_gram, simplex_etf_gram
from encollapse.geometry.metrics.convention import DEFAULT, Convention
from encollapse.geometry.metrics.separation import squared_distances
from encollapse.geometry.metrics.undefined import Undefined, centered_means, directed_means, distinct_means
from encollapse.geometry.statistics import CenteredMeans, ClassStatistics


def nc2_equinorm(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Coefficient of variation of the norms ``|m_k - μ|``: 0 where all are alike :cite:p:`papyan2020`."""
    norms = distinct_means(statistics, convention.averaging).norms
    return float(norms.std() / norms.mean())


def nc2_equiangular(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of the cosines of centred means :cite:p:`papyan2020`.

    0 where all angles are alike, whichever angle that is.
    """
    return float(_pair_cosines(statistics, convention).std())


def nc2_max_angle(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Mean over pairs of ``|cos(m_k - μ, m_l - μ) + 1/(K - 1)|`` :cite:p:`papyan2020`.

    0 where the angles are the widest that K directions can have. The absolute value is inside the mean:
    the signed mean vanishes for centred unit vectors whatever their angles.
    """
    cosines = _pair_cosines(statistics, convention)
    return float(np.abs(cosines + 1.0 / (statistics.num_present - 1)).mean())


def nc2_etf(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``|G/|G| - T/|T||_F`` of the centred means against a simplex ETF :cite:p:`zhu2021`."""
    centred = distinct_means(statistics, convention.averaging)
    return frame_distance(_scaled_gram(centred.deviations), simplex_etf_gram(statistics.num_present))


def nc2_etf_uncentered(statistics: ClassStatistics) -> float:
    """``|G/|G| - T/|T||_F`` of the uncentred means against a simplex ETF :cite:p:`massion2026`."""
    return frame_distance(_uncentered_gram(statistics), simplex_etf_gram(statistics.num_present))


def nc2_orthogonal(statistics: ClassStatistics) -> float:
    """``|G/|G| - I/|I||_F`` of the uncentred means against an orthogonal frame :cite:p:`massion2026`."""
    return frame_distance(_uncentered_gram(statistics), orthogonal_gram(statistics.num_present))


def gnc2_log(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of ``log(1/|û_k - û_l|)``, û the unit centred means.

    0 where the directions are spread evenly over the sphere; unlike the angles of a simplex ETF this can
    be had for more classes than dimensions :cite:p:`liu2023,wu2024`.
    """
    centred = directed_means(statistics, convention.averaging)
    units = _units(centred)
    distances = squared_distances(units, 0, len(units))[np.triu_indices(len(units), 1)]
    # A direction is known as well as its deviation is, and that is known to `rounding`.
    if (distances <= (centred.rounding / centred.norms.min()) ** 2).any():
        raise Undefined("two centred class means have the same direction")
    return float((-0.5 * np.log(distances)).std())


def _units(centred: CenteredMeans) -> FloatArray:
    return np.asarray(centred.deviations / centred.norms[:, None])


def _pair_cosines(statistics: ClassStatistics, convention: Convention) -> FloatArray:
    units = _units(directed_means(statistics, convention.averaging))
    cosines = np.clip(units @ units.T, -1.0, 1.0)
    return np.asarray(cosines[np.triu_indices(len(units), 1)])


def _uncentered_gram(statistics: ClassStatistics) -> FloatArray:
    centered_means(statistics, "sample")
    means = statistics.means[statistics.present]
    if not means.any():
        raise Undefined("every class mean is zero")
    return _scaled_gram(means)


def _scaled_gram(points: FloatArray) -> FloatArray:
    # Shapes have no scale, and squares of tiny or huge lengths would leave the range of float64.
    scaled = points / np.abs(points).max()
    return np.asarray(scaled @ scaled.T)
