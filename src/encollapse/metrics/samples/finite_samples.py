"""What finitely many samples do to CDNV and NC1, taken off, and how sure values are.

Of ``n_k`` samples the variance of a class comes out low by ``(n_k - 1)/n_k``, and squared distances of means high:
``E|m̂_k - m̂_l|² = |m_k - m_l|² + v_k/n_k + v_l/n_l``. Both make CDNV and NC1 low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.stats import t as student

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.errors import ArgumentError, Undefined
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.evaluation import MetricInputs, evaluate
from encollapse.metrics.pairs import pair_tiles, squared_distances
from encollapse.metrics.registry import METRICS, Metric, metric
from encollapse.metrics.statistics import ClassStatistics, distinct_means

_GROUPS = 20  # of samples that a jackknife leaves out in turn
_RESAMPLES = 200  # of a bootstrap: its standard deviation is then off by 5 %
_SIGNIFICANCE = 0.05  # intervals cover 95 %


@metric(
    "CDNV, unbiased",
    "CDNV with the bias of finite samples taken off variances and distances",
    r"\frac{2}{K(K-1)} \sum_{k<l} \frac{\tilde v_k + \tilde v_l}{2 (|m_k - m_l|^2 - \tilde v_k/n_k - \tilde v_l/n_l)}, "
    r"\quad \tilde v_k = \frac{n_k}{n_k - 1} v_k",
    "galanti2022",
    detail=True,
    example="0.1026",
)
def cdnv_unbiased(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """CDNV of unbiased estimates of the variances and of the squared distances."""
    centered = distinct_means(statistics, convention.averaging)
    variances, own = _unbiased_variances(statistics)
    total, size = 0.0, len(variances)
    for rows, columns in pair_tiles(size):
        squares = squared_distances(centered.deviations[rows], centered.deviations[columns])
        squares -= own[rows, None] + own[None, columns]
        if rows == columns:
            np.fill_diagonal(squares, np.inf)
        if squares.min() <= 0.0:
            i, j = np.unravel_index(int(squares.argmin()), squares.shape)
            first, second = centered.classes[rows][i], centered.classes[columns][j]
            raise Undefined(f"the means of classes {first} and {second} are no further apart than samples put them")
        ratios = (variances[rows, None] + variances[None, columns]) / squares
        total += float(ratios.sum()) * (0.5 if rows == columns else 1.0)
    return total / (size * (size - 1)) * (1.0 if convention.halved_cdnv else 2.0)


@metric(
    "NC1, unbiased",
    "tr Σ_W / tr Σ_B with the bias of finite samples taken off both",
    r"\sum_k \pi_k \tilde v_k \,/\, \left( \mathrm{tr}\,\Sigma_B - \sum_k \pi_k (1 - \pi_k) \tilde v_k/n_k \right)",
    "tirer2023",
    detail=True,
    example="0.2868",
)
def nc1_trace_ratio_unbiased(statistics: ClassStatistics, convention: Convention = DEFAULT) -> float:
    """Ratio of unbiased estimates of the variance within the classes and of that between them.

    Both by the averaging of the convention.
    """
    centered = distinct_means(statistics, convention.averaging)
    variances, own = _unbiased_variances(statistics)
    weights = centered.weights
    between = centered.between_trace - float((weights * (1.0 - weights)) @ own)
    if between <= 0.0:
        raise Undefined("the class means are no further apart than finite samples put them")
    return float(weights @ variances) / between


def _unbiased_variances(statistics: ClassStatistics) -> tuple[FloatArray, FloatArray]:
    """``ṽ_k`` and ``ṽ_k/n_k`` of the present classes."""
    counts = statistics.counts[statistics.present]
    if (counts < 2).any():
        raise Undefined(
            f"class {statistics.present[counts.argmin()]} has one sample, which tells nothing of its spread"
        )
    variances = statistics.within_trace[statistics.present] * (counts / (counts - 1.0))
    return variances, variances / counts


def intervals(
    features: FloatArray,
    labels: IntArray,
    kind: Literal["jackknife", "bootstrap"] = "jackknife",
    *,
    num_classes: int | None = None,
    weight: FloatArray | None = None,
    convention: Convention = DEFAULT,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Intervals that hold the value of infinitely many samples in about 95 of 100 cases.

    The jackknife leaves out one of 20 groups after the other, each with its share of every class, and corrects the
    value for bias. The bootstrap draws 200 times with replacement within the classes, and reflects its quantiles about
    the value. Both work with logarithms where values are positive. The classifier is taken as given.

    Parameters
    ----------
    features : (N, d) array
        One row a sample.
    labels : (N,) ints
        Classes. Every class needs four samples.
    kind : {"jackknife", "bootstrap"}
        How.
    num_classes : int, optional
        Number of classes. Default: the largest label plus one.
    weight : (q, d) array, optional
        Weight of the classifier.
    convention : Convention
        Averaging and scaling choices.
    metrics : sequence of str, optional
        Names. Default: those of NC1, NC2 and NC3 that are no details.
    seed : int
        Of groups and draws.

    Returns
    -------
    dict
        Lower and upper end by name. What has no value in one of the parts is left out.

    Raises
    ------
    ArgumentError
        If a class has fewer than four samples, or a name is unknown.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> labels = np.arange(60) % 3
    >>> features = 3 * np.eye(3)[labels] + np.random.default_rng(0).standard_normal((60, 3))
    >>> low, high = ec.metrics.intervals(features, labels, metrics=["cdnv"])["cdnv"]
    >>> low < 3 / 18 < high
    True
    """
    checks.choice(kind, "kind", ("jackknife", "bootstrap"))
    wanted = _wanted(metrics)
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    targets = checks.class_labels(labels, 2**62 if num_classes is None else num_classes)
    counts = np.bincount(targets)
    if len(targets) != len(rows) or not counts.any() or counts[counts > 0].min() < 4:
        raise ArgumentError("labels: every class needs at least four samples for an interval")
    generator = np.random.default_rng(seed)

    def values(chosen: IntArray) -> Mapping[str, float]:
        statistics = ClassStatistics.from_features(rows[chosen], targets[chosen], num_classes)
        return evaluate(MetricInputs(statistics, weight=weight, convention=convention), wanted)[0]

    members = [generator.permutation(np.flatnonzero(targets == k)) for k in np.flatnonzero(counts)]
    whole = values(np.arange(len(rows)))
    if kind == "jackknife":
        group = np.empty(len(rows), dtype=np.int64)
        order = np.concatenate(members)
        # Along classes one after the other, so that groups have the same size and nearly the same shares.
        group[order] = np.arange(len(order)) % min(_GROUPS, int(counts[counts > 0].min()))
        parts = [values(np.flatnonzero(group != g)) for g in range(int(group.max()) + 1)]
    else:
        parts = [values(np.concatenate([generator.choice(m, len(m)) for m in members])) for _ in range(_RESAMPLES)]
    ends = _by_jackknife if kind == "jackknife" else _by_bootstrap
    return {
        name: ends(whole[name], np.array([p[name] for p in parts]), METRICS[name].range[1])
        for name in whole
        if all(name in part for part in parts)
    }


def _wanted(names: Sequence[str] | None) -> list[Metric]:
    if names is None:
        families = ("nc1", "nc2", "nc3")
        return [m for m in METRICS.values() if not m.detail and m.family in families and m.name != "floor"]
    for name in names:
        checks.choice(name, "metrics", tuple(METRICS))
    return [METRICS[name] for name in names]


def _by_jackknife(value: float, parts: FloatArray, most: float) -> tuple[float, float]:
    unbounded = bool(most == np.inf and value > 0 and (parts > 0).all())
    whole, left = (np.log(value), np.log(parts)) if unbounded else (value, parts)
    count = len(left)
    middle = count * whole - (count - 1) * left.mean()
    error = np.sqrt((count - 1) / count * np.square(left - left.mean()).sum())
    reach = float(student.ppf(1 - _SIGNIFICANCE / 2, count - 1)) * error
    return _back(middle - reach, middle + reach, unbounded)


def _by_bootstrap(value: float, parts: FloatArray, most: float) -> tuple[float, float]:
    unbounded = bool(most == np.inf and value > 0 and (parts > 0).all())
    whole, drawn = (np.log(value), np.log(parts)) if unbounded else (value, parts)
    low, high = np.quantile(drawn, [_SIGNIFICANCE / 2, 1 - _SIGNIFICANCE / 2])
    return _back(2 * whole - high, 2 * whole - low, unbounded)


def _back(low: float, high: float, logarithms: bool) -> tuple[float, float]:
    return (float(np.exp(low)), float(np.exp(high))) if logarithms else (float(low), float(high))
