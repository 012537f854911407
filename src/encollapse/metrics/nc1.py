"""NC1: how small the spread within classes is beside the spread between them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.linear_algebra import (
    CholeskyScatter,
    LinearAlgebra,
    conditioned,
    factor,
    largest_sum,
    quotient_of_factors,
    row_lengths,
    without_null_direction,
)
from encollapse.metrics.pairs import pair_tiles, squared_distances
from encollapse.metrics.registry import metric
from encollapse.metrics.rounding import (
    MAYBE_ROUNDING,
    Hidden,
    clear_of_rounding,
    hidden_in_covariance,
    hidden_in_means,
    mean_sizes,
)
from encollapse.metrics.statistics import CenteredMeans, ClassStatistics, Unresolved, centered_means, distinct_means

Root = Callable[[], FloatArray]
"""What gives R (d, r) with ``Σ_B⁺ = R Rᵀ``, computed where it is asked for."""

_FAR_ABOVE_ROUNDING = 1e6  # a spread this far above rounding has six digits
_WELL_CONDITIONED = 1e-3  # a least eigenvalue this large has three digits fewer than the matrix
_CONDITIONED = 1e-9
"""Reciprocal condition numbers from which on rounding of float32 and of float64 products cannot matter."""

UNRESOLVED = (
    "it asks for directions of little spread that float32 products do not resolve; pass the features as float64, or "
    "use collapse(...), which takes a second pass"
)

BELOW_ROUNDING = (
    "it asks for directions of so little spread that float64 does not tell it from the rounding of the largest; leave "
    "outliers out, or bring the features to like scales"
)

_RESOLVED, _NEGLIGIBLE = 3e-5, 1e-10
"""Relative and absolute rounding that a value may have."""

_SURE = 5.0
"""Estimates of rounding that float64 values may be off by: the eigenvalues round as the products do, and all of a
sample far out rounds alike. Of 300 sets of samples with such a one, none that passed was off by more."""

_AS_ZERO = 1e-6
"""Value of `vci` up to which few samples, whose index is 0, need no estimate of rounding."""


@metric("NC1, tr(Σ_W Σ_B⁺)/K", "tr(Σ_W Σ_B⁺)/K", r"\mathrm{tr}(\Sigma_W \Sigma_B^+)/K", "papyan2020", example="0.0506")
def nc1_pinv(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Spread within the classes in units of the spread between them, direction by direction.

    K is the number of present classes.
    With the weighted centered means ``Mc = U S Vᵀ`` (``Σ_B = Mc Mcᵀ``) this is ``Σ_j u_jᵀ Σ_W u_j / s_j²``,
    taken over the known rank ``min(K - 1, d)``: a cut-off in pinv either drops small class directions or
    inverts the spurious K-th one. Cholesky factors of ``Σ_B`` on its range give it where they are well
    conditioned, and otherwise the singular vectors, of which only
    those below the rounding of the means are left out. So is the direction that a layer normalization fills with its
    rounding, which more classes than features would take for one of the means.
    """
    total = nc1_quotient(statistics, convention)
    return total / statistics.num_present if convention.nc1_per_class else total


@metric(
    "NC1, tr(Σ_W Σ_B⁺)",
    "tr(Σ_W Σ_B⁺), not divided by K",
    r"\mathrm{tr}(\Sigma_W \Sigma_B^+)",
    "papyan2020",
    detail=True,
    example="0.1519",
)
def nc1_quotient(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """NC1 over the ``min(K - 1, d)`` between-class directions, never divided by K.

    What codes compute that take the top K - 1 eigenvectors of ``Σ_B``.
    """
    projected = statistics.projected
    if projected is None:
        within = factored_within(statistics, convention)
        centered = distinct_means(statistics, convention.averaging)
        deviations = centered.deviations
    else:
        if projected.averaging != convention.within_averaging and not statistics.balanced:
            raise Undefined(f"the covariance along the class means is {projected.averaging}-averaged")
        within = CholeskyScatter.of(projected.matrix, statistics.algebra)
        centered = distinct_means(statistics, convention.averaging)
        deviations = statistics.algebra.product(centered.deviations, projected.basis.T)
    weights = _between_weights(centered, convention)
    as_averaged = projected is None and np.array_equal(weights, centered.weights)
    known = partial(getattr, centered, "between") if as_averaged else None
    hidden = _hidden_in_means(statistics, centered)
    resolution = statistics.covariance_resolution if projected is None else EPS
    if hidden is None:
        return _resolved_quotient(*_quotient_trace(within, deviations, weights, centered, known), within, resolution)
    away = hidden.directions if projected is None else hidden.directions @ projected.basis.T
    others = deviations - (deviations @ away.T) @ away
    value, root = _quotient_by_directions(within, others, weights, centered, others.shape[1] - len(away))
    if not hidden.sure:
        _require_same(value, _quotient_trace(within, deviations, weights, centered, known)[0])
    return _resolved_quotient(value, root, within, resolution)


def _resolved_quotient(value: float, root: Root, within: CholeskyScatter, resolution: float) -> float:
    """The value, refused where rounding of the products in ``Σ_W`` moves it.

    Entries of ``Σ_W`` round by ``ε √(Σ_ii Σ_jj)`` each, independently, which moves ``tr(Σ_W R Rᵀ)`` by the standard
    deviation ``ε |Rᵀ diag(Σ_W) R|_F``, at most by the trace in place of the norm.
    """
    single = resolution > EPS
    if within.condition >= (_WELL_CONDITIONED if single else _CONDITIONED):
        return value
    eps, allowed = resolution if single else _SURE * EPS, max(_RESOLVED * value, _NEGLIGIBLE)
    columns = np.sqrt(np.maximum(np.diag(within.matrix), 0.0))[:, None] * root()
    if eps * float(np.vdot(columns, columns)) > allowed and eps * float(np.linalg.norm(columns.T @ columns)) > allowed:
        raise Unresolved(UNRESOLVED if single else BELOW_ROUNDING)
    return value


def _hidden_in_means(statistics: ClassStatistics, centered: CenteredMeans) -> Hidden | None:
    """Directions along which only rounding tells the class means apart, where they are more than features.

    Fewer classes have no direction to spare for it.
    """
    if len(centered.deviations) <= statistics.feature_dim:
        return None
    _, condition = conditioned(centered.between, centered.algebra)
    least = condition * largest_sum(centered.between) * float(centered.norms.max()) ** 2
    if clear_of_rounding(statistics, least, mean_sizes(centered, statistics)):
        return None
    return hidden_in_means(statistics, centered)


def _require_same(without: float, full: float) -> None:
    """Refuse a value that depends on a direction that may be rounding."""
    if abs(full - without) > max(_RESOLVED * without, _NEGLIGIBLE):
        raise Undefined(MAYBE_ROUNDING)


@metric(
    "NC1, tr Σ_W / tr Σ_B",
    "tr Σ_W / tr Σ_B",
    r"\mathrm{tr}\,\Sigma_W / \mathrm{tr}\,\Sigma_B",
    "tirer2023",
    example="0.1309",
)
def nc1_trace_ratio(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Variance within the classes over the variance of their means."""
    centered = distinct_means(statistics, convention.averaging)
    return within_trace(statistics, convention) / between_trace(centered, convention)


@metric(
    "NC1, share within",
    "tr Σ_W / (tr Σ_W + tr Σ_B), 0 to 1",
    r"\mathrm{tr}\,\Sigma_W / (\mathrm{tr}\,\Sigma_W + \mathrm{tr}\,\Sigma_B)",
    "tirer2023",
    range=(0.0, 1.0),
    example="0.1157",
)
def nc1_normalized(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Share of the variance that is within the classes."""
    between = between_trace(centered_means(statistics, convention.averaging), convention)
    within = within_trace(statistics, convention)
    if within + between == 0.0:
        raise Undefined("all features are the same")
    return within / (within + between)


@metric(
    "CDNV",
    "mean over pairs of (v_k + v_l) / 2|m_k - m_l|²",
    r"\frac{2}{K(K-1)} \sum_{k<l} \frac{v_k + v_l}{2 |m_k - m_l|^2}",
    "galanti2022",
    example="0.0463",
)
def cdnv(statistics: ClassStatistics, convention: Convention = DEFAULT, *, exponent: float = 1.0) -> float:
    """Class-distance normalized variance: mean over pairs of classes of their variance by their distance.

    ``v_k`` is the trace of the covariance of class k. The average is over pairs of present classes in every
    convention. One with ``halved_cdnv=False`` doubles it. Memory stays near one tile of about a million entries.

    Parameters
    ----------
    exponent : float
        p in ``|m_k - m_l|^2p``, 1 in the paper.
    """
    centered = distinct_means(statistics, convention.averaging)
    variances = statistics.within_trace[statistics.present]
    found = centered.pairs
    least, first, second = found.closest
    if least * found.peak <= centered.rounding:
        k, l = (int(centered.classes[i]) for i in (first, second))  # noqa: E741
        raise Undefined(f"the means of classes {k} and {l} coincide")
    size = len(variances)
    pairs = size * (size - 1) * (1.0 if convention.halved_cdnv else 0.5)
    if exponent == 1.0:
        return float((variances / found.peak) @ (found.inverse_squares / found.peak)) / pairs
    total = 0.0
    for rows, columns in pair_tiles(size):
        distances = squared_distances(centered.deviations[rows], centered.deviations[columns])
        if rows == columns:
            np.fill_diagonal(distances, np.inf)
        kernel = 1.0 / distances**exponent
        total += float(variances[rows] @ kernel.sum(axis=1))
        if rows != columns:
            total += float(kernel.sum(axis=0) @ variances[columns])
    return total / pairs


@metric(
    "VCI",
    "variability collapse index, 0 (collapsed) to 1",
    r"1 - \mathrm{tr}(\Sigma_T^+ \Sigma_B)/\min(d, K - 1), \quad \Sigma_T = \Sigma_W + \Sigma_B",
    "xu2023",
    range=(0.0, 1.0),
    example="0.0686",
)
def vci(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Variability collapse index: how little of the variability the classes explain.

    0 where the features have collapsed, 1 where the class means coincide.

    Notes
    -----
    Let ``Σ_B = Mc Mcᵀ`` and ``S = Mcᵀ Σ_W⁻¹ Mc`` with eigenvalues ``s_i``. By the Woodbury identity
    ``Mcᵀ (Σ_W + Mc Mcᵀ)⁻¹ Mc = S (I + S)⁻¹``, hence ``tr(Σ_T⁻¹ Σ_B) = Σ s_i/(1 + s_i)`` and, over the
    ``r = min(d, K - 1)`` largest, the index is the mean of ``1/(1 + s_i)``: no difference of nearly equal
    numbers is left. Cholesky factors give it where they are well conditioned. Otherwise eigenvalues of
    ``Σ_W`` below its rounding are raised to it, which sends the
    directions without any spread to ``1/(1 + s) = 0`` as the pseudo-inverse does. Where the value depends on what they
    are raised to, it is missing. Directions that merged classes
    lack count 1 each: two of four classes merged and no spread at all give 1/3.
    """
    within = factored_within(statistics, convention)
    centered = centered_means(statistics, convention.averaging)
    rank = min(statistics.num_present - 1, statistics.feature_dim)
    if within.size <= 0.0:
        if centered.coincide:
            raise Undefined("all features are the same")
        return 1.0 - len(_distinct_directions(centered, rank)) / rank
    single = statistics.covariance_resolution > EPS
    value, raised = _vci(within, centered, rank, statistics.covariance_resolution)
    if statistics.num_samples <= statistics.feature_dim + 1 and value <= _AS_ZERO:
        return value  # Σ_W and Σ_B of so few independent samples share no direction: 0 but for rounding
    hidden = None if single else _hidden_in_all(statistics, within, centered)
    if hidden is not None:
        full = value
        within, centered = _along(hidden.coordinates, statistics, within, centered)
        value, raised = _vci(within, centered, rank)
        if not hidden.sure:
            _require_same(value, full)
    rounding = _vci_rounding(statistics, within, centered, rank) * (1.0 if single else _SURE)
    if max(rounding, raised) > max(_RESOLVED * value, _NEGLIGIBLE):
        raise Unresolved(UNRESOLVED if single else BELOW_ROUNDING)
    return value


def wants_exact_covariance(statistics: ClassStatistics, convention: Convention = DEFAULT) -> bool:
    """Whether `vci` or `nc1_pinv` needs a covariance of float64 products in place of this one."""
    if statistics.covariance_resolution <= EPS:
        return False
    within = statistics.within(convention.within_averaging)
    if within is None or within.condition >= _WELL_CONDITIONED:
        return False
    if statistics.num_samples <= statistics.feature_dim + 1:
        return True  # of what is singular only rounding can be inverted, and so few samples are quickly read again
    for metric_of in (vci, nc1_quotient):
        try:
            metric_of(statistics, convention)
        except Unresolved:
            return True
        except Undefined:
            continue
    return False


def _hidden_in_all(statistics: ClassStatistics, within: CholeskyScatter, centered: CenteredMeans) -> Hidden | None:
    """Directions along which features differ by their rounding alone, where there are enough samples to tell."""
    if statistics.num_samples <= statistics.feature_dim + 1 or within.condition >= _WELL_CONDITIONED:
        return None
    spread = np.maximum(np.diag(within.matrix), 0.0) + np.square(centered.weighted).sum(axis=0)
    sizes = np.sqrt(spread + centered.global_mean**2)
    sizes[sizes == 0.0] = 1.0
    if clear_of_rounding(statistics, within.condition * within.size, sizes):
        return None
    return hidden_in_covariance(statistics, within.matrix + centered.weighted.T @ centered.weighted, sizes)


def _along(
    axes: FloatArray, statistics: ClassStatistics, within: CholeskyScatter, centered: CenteredMeans
) -> tuple[CholeskyScatter, CenteredMeans]:
    """Covariance and means of the coordinates ``h @ axes`` of features h."""
    longest = float(row_lengths(statistics.present_means @ axes).max())
    means = replace(
        centered,
        global_mean=centered.global_mean @ axes,
        deviations=centered.deviations @ axes,
        rounding=centered.rounding * longest / statistics.longest_mean if statistics.longest_mean else 0.0,
    )
    return CholeskyScatter.of(axes.T @ within.matrix @ axes, statistics.algebra), means


def _vci(within: CholeskyScatter, centered: CenteredMeans, rank: int, resolution: float = EPS) -> tuple[float, float]:
    """The index, and how much of it comes from eigenvalues of ``Σ_W`` that were raised to its rounding."""
    dim = len(within.matrix)
    if within.lower is not None and np.sqrt(within.size) > _FAR_ABOVE_ROUNDING * centered.rounding:
        value = _share_within(within, within.lower, centered)
        if value is not None:
            return (value + max(0, rank - dim)) / rank, 0.0
    # Every feature in units of its own spread, which changes nothing: those that rounding cannot tell from the largest
    # would otherwise be taken for larger than they are.
    units = np.sqrt(np.maximum(np.diag(within.matrix), 0.0) + np.square(centered.weighted).sum(axis=0))
    units[units == 0.0] = 1.0
    rows = _distinct_directions(centered, rank) / units
    spreads, axes = np.linalg.eigh(within.matrix / units / units[:, None])
    least = max(EPS * dim, resolution) * spreads[-1]

    def index(floor: float) -> float:
        scaled = axes / np.sqrt(np.maximum(spreads, floor))
        ratios = np.linalg.svd(rows @ scaled, compute_uv=False) ** 2
        return float(((1.0 / (1.0 + ratios)).sum() + rank - len(rows)) / rank)

    value = index(least)
    return value, value - index(1e-6 * least) if spreads[0] < least else 0.0


def _distinct_directions(centered: CenteredMeans, rank: int) -> FloatArray:
    """At most `rank` rows (r, d) with the Gram ``XᵀX = Σ_B``, without those that are rounding of the means."""
    _, lengths, directions = np.linalg.svd(centered.weighted, full_matrices=False)
    lengths = lengths[:rank]
    lengths = lengths[lengths > EPS * max(centered.deviations.shape) * lengths[0] + centered.rounding]
    return np.asarray(lengths[:, None] * directions[: len(lengths)])


def _vci_rounding(statistics: ClassStatistics, within: CholeskyScatter, centered: CenteredMeans, rank: int) -> float:
    """By how much rounding of the products in ``Σ_W`` moves `vci`, as a standard deviation.

    To first order a change ``E`` of ``Σ_W`` moves it by ``tr(C E)/r`` with ``C = Σ_T⁻¹ Σ_B Σ_T⁻¹ = Y Yᵀ``. Entries
    of E are independent, of size ``ε √(Σ_ii Σ_jj)``, so that is ``ε |Yᵀ diag(Σ_W) Y|_F / r``.
    """
    eps = max(statistics.covariance_resolution, EPS)
    if within.condition >= (_WELL_CONDITIONED if eps > EPS else _CONDITIONED) or centered.coincide:
        return 0.0
    own, algebra = np.maximum(np.diag(within.matrix), 0.0), centered.algebra  # rounding may leave less than none
    raised = within.matrix + np.diag(np.full(len(own), eps * own.max()))
    total = raised + algebra.gram(centered.weighted)
    lower = factor(total / own.max(), algebra)
    if lower is not None:
        half = algebra.solve(lower, centered.weighted.T / own.max())
        columns = algebra.solve(lower, half, transposed=True)
    else:
        # Σ_B hides Σ_W in the sum. With X = A⁻½ Mc = U S Vᵀ, (A + Mc Mcᵀ)⁻¹ Mc = A⁻½ U S/(1 + S²) Vᵀ.
        spreads, axes = np.linalg.eigh(raised)
        roots = axes / np.sqrt(np.maximum(spreads, eps * own.max()))
        left, ratios, _ = np.linalg.svd(roots.T @ centered.weighted.T, full_matrices=False)
        columns = roots @ (left * (ratios / (1.0 + ratios**2)))
    rows = np.sqrt(own)[:, None] * columns  # |XᵀX| = |XXᵀ|: of d and the number of classes, the smaller
    return float(eps * np.linalg.norm(rows @ rows.T if rows.shape[1] > len(rows) else rows.T @ rows) / rank)


def _quotient_trace(
    within: CholeskyScatter,
    deviations: FloatArray,
    weights: FloatArray,
    centered: CenteredMeans,
    between: Callable[[], FloatArray] | None,
) -> tuple[float, Root]:
    """``tr(Σ_W Σ_B⁺)`` and R with ``Σ_B⁺ = R Rᵀ``, by triangular factors where Σ_B is well conditioned on its range.

    ``Σ_B`` is the sum of `weights` (P,) times the squares of `deviations` (P, d), those of `centered` or their
    coordinates in a basis, whose sum weighted as `centered` is zero: its rank is at most P - 1, whatever the
    weights. `between` gives it in units of the largest square, where that is known already.
    """
    covariance, algebra = within.matrix, centered.algebra
    peak = float(centered.norms.max())
    rank = min(len(deviations) - 1, deviations.shape[1])
    if peak > _FAR_ABOVE_ROUNDING * centered.rounding:
        if rank == deviations.shape[1]:
            known = algebra.gram(_weighted(deviations, weights, peak)) if between is None else between()
            lower = factor(known, algebra)
            if lower is not None:
                root = partial(_inverse_root, lower, peak, algebra)
                if within.lower is not None:
                    return within.size / peak**2 * quotient_of_factors(lower, within.lower, algebra), root
                half = algebra.solve(lower, covariance / peak**2)
                return float(np.trace(algebra.solve(lower, half.T))), root
        else:
            null = centered.weights / np.sqrt(weights)
            rows = without_null_direction(_weighted(deviations, weights, peak), null / np.linalg.norm(null))
            lower = factor(algebra.product(rows, rows.T), algebra)
            if lower is not None:
                # Σ_B⁺ = Bᵀ B with B = (R Rᵀ)⁻¹ R for the rows R of full rank.
                inverse = algebra.solve(lower, algebra.solve(lower, rows), transposed=True)
                value = float(np.vdot(algebra.product(inverse, covariance / peak**2), inverse))
                return value, lambda: np.asarray(inverse.T / peak)
    return _quotient_by_directions(within, deviations, weights, centered, rank)


def _quotient_by_directions(
    within: CholeskyScatter, deviations: FloatArray, weights: FloatArray, centered: CenteredMeans, rank: int
) -> tuple[float, Root]:
    """``tr(Σ_W Σ_B⁺)`` and R, over the `rank` longest singular vectors, without those that are rounding."""
    _, lengths, directions = np.linalg.svd(_weighted(deviations, weights, 1.0), full_matrices=False)
    lengths = lengths[:rank]
    lengths = lengths[lengths > EPS * max(deviations.shape) * lengths[0] + centered.rounding]
    if not len(lengths):
        raise Undefined("all class means coincide up to rounding")
    directions = directions[: len(lengths)]
    spread = np.einsum("rd,rd->r", directions @ within.matrix, directions)
    return float((spread.clip(min=0.0) / lengths**2).sum()), lambda: np.asarray((directions / lengths[:, None]).T)


def _inverse_root(lower: FloatArray, peak: float, algebra: LinearAlgebra) -> FloatArray:
    """R with ``Σ_B⁻¹ = R Rᵀ`` from the lower factor of ``Σ_B`` in units of the square of `peak`."""
    return algebra.solve(lower, np.eye(len(lower)), transposed=True) / peak


def _weighted(deviations: FloatArray, weights: FloatArray, unit: float) -> FloatArray:
    """Rows ``√w_k (m_k - μ)`` (P, d) in units of `unit`."""
    return np.asarray(deviations * (np.sqrt(weights) / unit)[:, None])


def _between_weights(centered: CenteredMeans, convention: Convention) -> FloatArray:
    """Weights of the classes in ``Σ_B``."""
    size, dim = centered.deviations.shape
    weights = np.full(size, 1.0 / size) if convention.between == "class" else centered.weights
    return np.asarray(weights * (size / dim)) if convention.between_per_dim else weights


def _share_within(within: CholeskyScatter, lower: FloatArray, centered: CenteredMeans) -> float | None:
    """``Σ 1/(1 + s_i)`` over the between-class directions from Cholesky factors, None where those fail.

    `lower` is the factor of `within`.
    """
    size, algebra = within.size, centered.algebra
    if len(centered.deviations) > len(lower):
        # All d directions: tr((Σ_W + Σ_B)⁻¹ Σ_W), a sum of squares.
        both = centered.between * (centered.norms.max() ** 2 / size)
        total = factor(np.add(both, within.matrix / size, out=both), algebra)
        return None if total is None else quotient_of_factors(total, lower, algebra)
    means = centered.weighted / np.sqrt(size)
    rows = without_null_direction(means, np.sqrt(centered.weights))
    whitened = algebra.solve(lower, rows.T)
    identity = np.eye(len(rows))
    total = factor(identity + algebra.gram(whitened), algebra)
    return None if total is None else quotient_of_factors(total, identity, algebra)


@metric(
    "NC1, rounding",
    "nc1_trace_ratio below this is rounding of the features",
    r"(\varepsilon \max_k |m_k|)^2 / \mathrm{tr}\,\Sigma_B",
    ideal=None,
)
def floor(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """The value of ``nc1_trace_ratio`` below which it is rounding.

    ``eps`` is the resolution of the dtype the features arrived in. A feature of size ``|m|`` is known to
    ``eps · |m|`` at best, so a smaller spread within a class cannot be told from the rounding of the
    features themselves, however exactly it is computed.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> features = np.array([[3.0, 0], [5, 0], [0, 3], [0, 5]], dtype=np.float32)
    >>> f"{ec.metrics.floor(ec.metrics.ClassStatistics.from_features(features, [0, 0, 1, 1])):.1e}"
    '2.8e-14'
    """
    between = distinct_means(statistics, convention.averaging).between_trace
    return (statistics.resolution * statistics.longest_mean) ** 2 / between


def between_trace(centered: CenteredMeans, convention: Convention) -> float:
    """``tr Σ_B`` of a convention."""
    return float(_between_weights(centered, convention) @ centered.norms**2)


def within_trace(statistics: ClassStatistics, convention: Convention) -> float:
    """``tr Σ_W`` under the averaging of the convention."""
    traces = statistics.within_trace[statistics.present]
    return float(statistics.weights(convention.within_averaging) @ traces)


def factored_within(statistics: ClassStatistics, convention: Convention) -> CholeskyScatter:
    """``Σ_W`` (d, d) under the averaging of the convention, with its Cholesky factor.

    Raises
    ------
    Undefined
        If it was not kept, or the pooled one is all there is and the classes have different counts.
    """
    found = statistics.within(convention.within_averaging)
    if found is not None:
        return found
    if statistics.projected is not None:
        raise Undefined("the within-class covariance is known along the class means only; use covariance=True")
    if statistics.within_covariance is None and statistics.class_averaged_covariance is None:
        raise Undefined("the within-class covariance was not kept; use covariance=True")
    if convention.within_averaging == "class":
        raise Undefined(
            "a class-averaged covariance of classes with different counts needs a second pass over the "
            "features; use collapse(...)"
        )
    raise Undefined("the sample-averaged within-class covariance was not kept; use covariance=True")


def within_covariance(statistics: ClassStatistics, convention: Convention) -> FloatArray:
    """``Σ_W`` alone, for what needs no factor. It raises as :func:`factored_within` does."""
    return factored_within(statistics, convention).matrix
