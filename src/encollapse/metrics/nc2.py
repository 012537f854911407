"""NC2: how far the class means are from a simplex equiangular tight frame, or from another frame."""

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.metrics import pairs
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.pair_sums import two_valued_distance
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics
from encollapse.metrics.undefined import Undefined, centered_means, directed_means, distinct_means


def nc2_equinorm(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Coefficient of variation of the norms ``|m_k - μ|``: 0 where all are alike :cite:p:`papyan2020`."""
    norms = distinct_means(statistics, convention.averaging).norms
    return float(norms.std() / norms.mean())


def nc2_equiangular(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of the cosines of centered means :cite:p:`papyan2020`.

    0 where all angles are alike, whichever angle that is.
    """
    centered = directed_means(statistics, convention.averaging)
    return centered.pairs.cosines.deviation


def nc2_max_angle(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Mean over pairs of ``|cos(m_k - μ, m_l - μ) + 1/(K - 1)|`` :cite:p:`papyan2020`.

    0 where the angles are the widest that K directions can have. The absolute value is inside the mean:
    the signed mean vanishes for centered unit vectors whatever their angles.
    """
    centered = directed_means(statistics, convention.averaging)
    return centered.pairs.from_widest


def nc2_etf(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """``|G/|G| - T/|T||_F`` of the centered means against a simplex ETF, the form of :cite:t:`zhu2021`."""
    centered = distinct_means(statistics, convention.averaging)
    found, widest = centered.pairs, -1.0 / (statistics.num_present - 1)
    return two_valued_distance(found.norms**2, found.centered, pairs=2, off_diagonal=widest)


def nc2_etf_uncentered(statistics: ClassStatistics) -> float:
    """``|G/|G| - T/|T||_F`` of the uncentered means against a simplex ETF :cite:p:`massion2026`."""
    return _uncentered_distance(statistics, simplex=True)


def nc2_orthogonal(statistics: ClassStatistics) -> float:
    """``|G/|G| - I/|I||_F`` of the uncentered means against an orthogonal frame :cite:p:`massion2026`."""
    return _uncentered_distance(statistics, simplex=False)


def nc2_general_frame(statistics: ClassStatistics, lengths: ArrayLike | None = None) -> float:
    """``|G/|G| - D/|D||_F`` of the uncentered means against ``D = diag(s_k)``, orthogonal of other lengths.

    `lengths` (P,) are the squared lengths ``s_k`` of the present classes; by default the measured ones, so
    that only the angles count, as imbalanced data make the lengths differ.
    """
    means = _uncentered(statistics)
    squares = (
        np.einsum("pd,pd->p", means, means)
        if lengths is None
        else checks.array(lengths, "lengths", (len(means),), axes="(num_present,)")
    )
    if not squares.any():
        raise Undefined("every length of the frame is zero")
    return pairs.shape_distance(means, squares / squares.max(), 0.0)


def nc2_etf_weight(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """``|WWᵀ/|WWᵀ| - T/|T||_F`` of a weight (K, d) against a simplex ETF :cite:p:`zhu2021`.

    Raw rows, or rows about their mean where the convention says ``center_weight``.
    """
    rows = weight - weight.mean(axis=0) if convention.center_weight else weight
    if len(rows) < 2 or not rows.any():
        raise Undefined("the weight is zero" if len(rows) > 1 else "one row has no angles")
    return _from_simplex(rows)


def gnc2_log(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of ``log(1/|û_k - û_l|)``, û the unit centered means.

    0 where the directions are spread evenly over the sphere; unlike the angles of a simplex ETF this can
    be had for more classes than dimensions :cite:p:`liu2023,wu2024`.
    """
    centered = directed_means(statistics, convention.averaging)
    _require_distinct_directions(centered)
    return centered.pairs.logs.deviation


def gnc2_riesz(statistics: ClassStatistics, convention: Convention = DEFAULT, *, exponent: float = 1.0) -> float:
    """Coefficient of variation over pairs of the Riesz kernel ``|û_k - û_l|^-s`` :cite:p:`liu2023`."""
    power = -0.5 * checks.positive(exponent, "exponent")
    centered = directed_means(statistics, convention.averaging)
    _require_distinct_directions(centered)
    units = centered.deviations / centered.norms[:, None]
    mean, deviation = pairs.mean_and_deviation(lambda: pairs.distance_tiles(units), lambda s: s**power)
    return deviation / mean


def _require_distinct_directions(centered: CenteredMeans) -> None:
    # A direction is known as well as its deviation is, and that is known to `rounding`.
    if centered.pairs.closest_directions <= centered.rounding / centered.norms.min():
        raise Undefined("two centered class means have the same direction")


def _uncentered_distance(statistics: ClassStatistics, *, simplex: bool) -> float:
    _uncentered(statistics)
    found = statistics.centered("sample").pairs
    widest = -1.0 / (statistics.num_present - 1)
    return two_valued_distance(
        found.uncentered_norms**2, found.uncentered, pairs=2, off_diagonal=widest if simplex else 0.0
    )


def _from_simplex(points: FloatArray) -> float:
    return pairs.shape_distance(points, 1.0, -1.0 / (len(points) - 1))


def _uncentered(statistics: ClassStatistics) -> FloatArray:
    centered_means(statistics, "sample")
    if statistics.longest_mean == 0.0:
        raise Undefined("every class mean is zero")
    return statistics.present_means
