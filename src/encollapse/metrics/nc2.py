"""NC2: how far the class means are from a simplex equiangular tight frame, or from another frame."""

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import row_lengths, squarable
from encollapse.metrics.pair_sums import PairSums, pair_sums
from encollapse.metrics.pairs import PairSpread, pair_tiles, shape_distance, squared_distances, two_valued_distance
from encollapse.metrics.registry import metric
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics, centered_means, directed_means, distinct_means


@metric(
    "NC2, equal norms",
    "coefficient of variation of |m_k - μ|",
    r"\mathrm{std}_k |m_k - \mu| \,/\, \mathrm{mean}_k |m_k - \mu|",
    "papyan2020",
    family="nc2",
    example="0.1236",
)
def nc2_equinorm(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Coefficient of variation of the norms of centered means: 0 where all are alike."""
    norms = distinct_means(statistics, convention.averaging).norms
    return convention.standard_deviation(float(norms.std()), len(norms)) / float(norms.mean())


@metric(
    "NC2, equal angles",
    "standard deviation of the cosines of centered means",
    r"\mathrm{std}_{k<l} \cos(m_k - \mu, m_l - \mu)",
    "papyan2020",
    family="nc2",
    range=(0.0, 1.0),
    example="0.1575",
)
def nc2_equiangular(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of the cosines of centered means.

    0 where all angles are alike, whichever angle that is.
    """
    centered = directed_means(statistics, convention.averaging)
    return convention.standard_deviation(centered.pairs.cosines.deviation, _pairs(centered))


@metric(
    "NC2, largest angle",
    "mean |cos + 1/(K-1)| of centered means",
    r"\mathrm{mean}_{k<l} |\cos(m_k - \mu, m_l - \mu) + 1/(K - 1)|",
    "papyan2020",
    family="nc2",
    range=(0.0, 2.0),
    example="0.151",
)
def nc2_max_angle(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Mean over pairs of the difference of a cosine from that of the widest angles.

    0 where the angles are the widest that K directions can have. The absolute value is inside the mean:
    the signed mean vanishes for centered unit vectors whatever their angles.
    """
    centered = directed_means(statistics, convention.averaging)
    return centered.pairs.from_widest


@metric(
    "NC2, simplex",
    "centered means against a simplex ETF, |G/|G| - T/|T||",
    r"\left| G_c/|G_c|_F - T/|T|_F \right|_F, \quad T = I - J/K",
    "zhu2021",
    family="nc2",
    range=(0.0, 2.0),
    example="0.3171",
)
def nc2_etf(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Distance of the shape of the centered means from a simplex ETF."""
    centered = distinct_means(statistics, convention.averaging)
    found, widest = centered.pairs, -1.0 / (statistics.num_present - 1)
    return two_valued_distance(found.norms**2, found.centered, pairs=2, off_diagonal=widest)


@metric(
    "NC2, simplex, uncentered",
    "uncentered means against a simplex ETF",
    r"\left| G/|G|_F - T/|T|_F \right|_F, \quad T = I - J/K",
    "massion2026",
    family="nc2",
    range=(0.0, 2.0),
    example="0.7933",
)
def nc2_etf_uncentered(statistics: ClassStatistics) -> float:
    """Distance of the shape of the uncentered means from a simplex ETF."""
    return _uncentered_distance(statistics, simplex=True)


@metric(
    "NC2, orthogonal",
    "uncentered means against an orthogonal frame",
    r"\left| G/|G|_F - I/|I|_F \right|_F",
    "massion2026",
    family="nc2",
    range=(0.0, 2.0),
    example="0.3099",
)
def nc2_orthogonal(statistics: ClassStatistics) -> float:
    """Distance of the shape of the uncentered means from an orthogonal frame."""
    return _uncentered_distance(statistics, simplex=False)


@metric(
    "NC2, own lengths",
    "uncentered means against an orthogonal frame of their own lengths",
    r"\left| G/|G|_F - D/|D|_F \right|_F, \quad D = \mathrm{diag}(|m_k|^2)",
    family="nc2",
    range=(0.0, 2.0),
    detail=True,
    example="0.2",
)
def nc2_general_frame(statistics: ClassStatistics, lengths: ArrayLike | None = None) -> float:
    """Distance of the shape of the uncentered means from an orthogonal frame of other lengths.

    Parameters
    ----------
    lengths : (P,) array, optional
        Squared lengths of the frame for the present classes. Default: the measured ones, so that only the angles
        count, as imbalanced data make the lengths differ.
    """
    means = _uncentered(statistics)
    squares = (
        np.einsum("pd,pd->p", means, means)
        if lengths is None
        else checks.array(lengths, "lengths", (len(means),), axes="(num_present,)")
    )
    if not squares.any():
        raise Undefined("every length of the frame is zero")
    return shape_distance(means, squares / squares.max(), 0.0)


@metric(
    "NC2, simplex, classifier",
    "classifier against a simplex ETF",
    r"\left| W W^\top/|W W^\top|_F - T/|T|_F \right|_F",
    "zhu2021",
    family="nc2",
    range=(0.0, 2.0),
    detail=True,
    example="0.8969",
)
def nc2_etf_weight(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Distance of the shape of the rows of a weight (K, d) from a simplex ETF.

    Raw rows, or rows about their mean where the convention says ``center_weight``.
    """
    rows = _rows_of(weight, convention)
    return shape_distance(rows, 1.0, -1.0 / (len(rows) - 1))


@metric(
    "NC2, equal norms, classifier",
    "coefficient of variation of |w_k|",
    r"\mathrm{std}_k |w_k| \,/\, \mathrm{mean}_k |w_k|",
    "papyan2020",
    family="nc2",
    detail=True,
    example="0.3696",
)
def nc2_equinorm_weight(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Coefficient of variation of the lengths of the rows of a weight (K, d). No features are needed.

    Raw rows, or rows about their mean where the convention says ``center_weight``.
    """
    norms = row_lengths(squarable(_rows_of(weight, convention)))
    return convention.standard_deviation(float(norms.std()), len(norms)) / float(norms.mean())


@metric(
    "NC2, equal angles, classifier",
    "standard deviation of the cosines of the rows of the classifier",
    r"\mathrm{std}_{k<l} \cos(w_k, w_l)",
    "papyan2020",
    family="nc2",
    range=(0.0, 1.0),
    detail=True,
    example="0.1143",
)
def nc2_equiangular_weight(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of the cosines of the rows of a weight (K, d). No features are needed."""
    found = _directed_rows(weight, convention)
    return convention.standard_deviation(found.cosines.deviation, len(found.norms) * (len(found.norms) - 1) // 2)


@metric(
    "NC2, largest angle, classifier",
    "mean |cos + 1/(K-1)| of the rows of the classifier",
    r"\mathrm{mean}_{k<l} |\cos(w_k, w_l) + 1/(K - 1)|",
    "papyan2020",
    family="nc2",
    range=(0.0, 2.0),
    detail=True,
    example="0.5808",
)
def nc2_max_angle_weight(weight: FloatArray, convention: Convention = DEFAULT) -> float:
    """Mean over pairs of the difference of a cosine of rows of a weight (K, d) from that of the widest angles."""
    return _directed_rows(weight, convention).from_widest


def _rows_of(weight: FloatArray, convention: Convention) -> FloatArray:
    rows = np.asarray(weight, dtype=np.float64)
    rows = rows - rows.mean(axis=0) if convention.center_weight else rows
    if len(rows) < 2 or not rows.any():
        raise Undefined("the weight is zero" if len(rows) > 1 else "one row has no angles")
    return rows


def _directed_rows(weight: FloatArray, convention: Convention) -> PairSums:
    rows = squarable(_rows_of(weight, convention))
    if not row_lengths(rows).all():
        raise Undefined(f"row {row_lengths(rows).argmin()} of the classifier is zero")
    return pair_sums(rows, np.zeros(rows.shape[1]))


@metric(
    "GNC2, log kernel",
    "standard deviation of log(1/|û_k - û_l|)",
    r"\mathrm{std}_{k<l} \log(1/|\hat u_k - \hat u_l|), \quad \hat u_k = (m_k - \mu)/|m_k - \mu|",
    "liu2023,wu2024",
    family="nc2",
    example="0.0512",
)
def gnc2_log(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Standard deviation over pairs of the logarithmic kernel of the directions of centered means.

    0 where the directions are spread evenly over the sphere. Unlike the angles of a simplex ETF this can
    be had for more classes than dimensions :cite:p:`liu2023,wu2024`.
    """
    centered = directed_means(statistics, convention.averaging)
    _require_distinct_directions(centered)
    return convention.standard_deviation(centered.pairs.logs.deviation, _pairs(centered))


@metric(
    "GNC2, Riesz kernel",
    "coefficient of variation of 1/|û_k - û_l|",
    r"\mathrm{std}_{k<l} |\hat u_k - \hat u_l|^{-1} \,/\, \mathrm{mean}_{k<l} |\hat u_k - \hat u_l|^{-1}",
    "liu2023",
    family="nc2",
    detail=True,
    example="0.0503",
)
def gnc2_riesz(statistics: ClassStatistics, convention: Convention = DEFAULT, *, exponent: float = 1.0) -> float:
    """Coefficient of variation over pairs of the Riesz kernel of the directions of centered means.

    Parameters
    ----------
    exponent : float
        s in ``|û_k - û_l|^-s``.
    """
    power = -0.5 * checks.positive(exponent, "exponent")
    centered = directed_means(statistics, convention.averaging)
    _require_distinct_directions(centered)
    units = centered.deviations / centered.norms[:, None]
    spread = PairSpread()
    for rows, columns in pair_tiles(len(units)):
        squares = squared_distances(units[rows], units[columns])
        if rows == columns:
            np.fill_diagonal(squares, 1.0)
            spread.add(squares**power, diagonal=0, weight=0.5)
        else:
            spread.add(squares**power)
    return convention.standard_deviation(spread.deviation, _pairs(centered)) / spread.mean


def _pairs(centered: CenteredMeans) -> int:
    return len(centered.norms) * (len(centered.norms) - 1) // 2


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


def _uncentered(statistics: ClassStatistics) -> FloatArray:
    centered_means(statistics, "sample")
    if statistics.longest_mean == 0.0:
        raise Undefined("every class mean is zero")
    return statistics.present_means
