"""The catalogue: every metric by name, with what it means and how it is computed from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.metrics import bias as labels
from encollapse.metrics import layer_balance, ranks, separation, squared_error
from encollapse.metrics import nc1 as variability
from encollapse.metrics import nc2 as frames
from encollapse.metrics import nc3 as self_duality
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import OUT_OF_RANGE, Undefined


class HasCodewords(Protocol):
    """An encoding, as far as metrics need to know."""

    @property
    def codewords(self) -> FloatArray:
        """Codewords (q, K), one column a class."""
        ...


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """What a measurement knows: statistics, and possibly a classifier and an encoding.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features.
    weight : (q, d), optional
        Weight of the linear classifier.
    bias : (q,), optional
        Its bias; zeros for a classifier without one.
    mean_codeword : (q,), optional
        Mean codeword of the encoding under the measured class frequencies.
    convention : Convention
        Averaging and scaling choices.
    encoding : object with ``codewords`` (q, K), optional
        The encoding, whose codewords are read only for the split of the squared error.
    """

    statistics: ClassStatistics
    weight: FloatArray | None = None
    bias: FloatArray | None = None
    mean_codeword: FloatArray | None = None
    convention: Convention = DEFAULT
    encoding: HasCodewords | None = None

    def require_weight(self) -> FloatArray:
        """Return the weight, or raise `Undefined`."""
        if self.weight is None:
            raise Undefined("no weight was given")
        return self.weight

    def require_bias(self) -> FloatArray:
        """Return the bias, or raise `Undefined`."""
        if self.bias is None:
            raise Undefined("no weight was given")
        return self.bias

    def require_mean_codeword(self) -> FloatArray:
        """Return the mean codeword, or raise `Undefined`."""
        if self.mean_codeword is None:
            raise Undefined("no encoding was given")
        return self.mean_codeword

    def decomposition(self) -> squared_error.MseDecomposition:
        """Split the squared error, or raise `Undefined`."""
        if self.encoding is None:
            raise Undefined("no encoding was given")
        return squared_error.mse_decomposition(
            self.statistics, self.require_weight(), self.require_bias(), self.encoding.codewords
        )


@dataclass(frozen=True)
class Metric:
    """One entry: the name of the field, a line for tables, and the computation."""

    name: str
    meaning: str
    compute: Callable[[MetricInputs], float]


METRICS: tuple[Metric, ...] = (
    Metric("nc1_pinv", "tr(Σ_W Σ_B⁺)/K", lambda i: variability.nc1_pinv(i.statistics, i.convention)),
    Metric("nc1_trace_ratio", "tr Σ_W / tr Σ_B", lambda i: variability.nc1_trace_ratio(i.statistics, i.convention)),
    Metric(
        "nc1_normalized",
        "tr Σ_W / (tr Σ_W + tr Σ_B), 0 to 1",
        lambda i: variability.nc1_normalized(i.statistics, i.convention),
    ),
    Metric(
        "cdnv", "mean over pairs of (v_k + v_l) / 2|m_k - m_l|²", lambda i: separation.cdnv(i.statistics, i.convention)
    ),
    Metric(
        "vci", "variability collapse index, 0 (collapsed) to 1", lambda i: variability.vci(i.statistics, i.convention)
    ),
    Metric(
        "nc2_equinorm",
        "coefficient of variation of |m_k - μ|",
        lambda i: frames.nc2_equinorm(i.statistics, i.convention),
    ),
    Metric(
        "nc2_equiangular",
        "standard deviation of the cosines of centered means",
        lambda i: frames.nc2_equiangular(i.statistics, i.convention),
    ),
    Metric(
        "nc2_max_angle",
        "mean |cos + 1/(K-1)| of centered means",
        lambda i: frames.nc2_max_angle(i.statistics, i.convention),
    ),
    Metric(
        "nc2_etf",
        "centered means against a simplex ETF, |G/|G| - T/|T||",
        lambda i: frames.nc2_etf(i.statistics, i.convention),
    ),
    Metric(
        "nc2_etf_uncentered",
        "uncentered means against a simplex ETF",
        lambda i: frames.nc2_etf_uncentered(i.statistics),
    ),
    Metric(
        "nc2_orthogonal", "uncentered means against an orthogonal frame", lambda i: frames.nc2_orthogonal(i.statistics)
    ),
    Metric(
        "gnc2_log", "standard deviation of log(1/|û_k - û_l|)", lambda i: frames.gnc2_log(i.statistics, i.convention)
    ),
    Metric(
        "nc3_alignment",
        "|W Mc/|W Mc| - (I - J/K)/√(K-1)|",
        lambda i: self_duality.nc3_alignment(i.statistics, i.require_weight(), i.convention),
    ),
    Metric(
        "nc3_self_duality",
        "|W/|W| - Mcᵀ/|Mc||",
        lambda i: self_duality.nc3_self_duality(i.statistics, i.require_weight(), i.convention),
    ),
    Metric(
        "unc3",
        "standard deviation of cos(w_k, m_k - μ)",
        lambda i: self_duality.unc3(i.statistics, i.require_weight(), i.convention),
    ),
    Metric(
        "bias_to_label_mean",
        "|b - ē|, units of the labels",
        lambda i: labels.bias_to_label_mean(i.require_bias(), i.require_mean_codeword()),
    ),
    Metric(
        "label_centering",
        "|W μ + b - ē|, units of the labels",
        lambda i: labels.label_centering(i.statistics, i.require_weight(), i.require_bias(), i.require_mean_codeword()),
    ),
    Metric(
        "balance", "residual of WᵀW ∝ Σ n_k m_k m_kᵀ", lambda i: layer_balance.balance(i.statistics, i.require_weight())
    ),
    Metric(
        "floor",
        "nc1_trace_ratio below this is rounding of the features",
        lambda i: variability.floor(i.statistics, i.convention),
    ),
)
"""Every metric that needs no sample beyond the statistics, in the order of tables."""


DETAILS: tuple[Metric, ...] = (
    Metric(
        "nc1_quotient", "tr(Σ_W Σ_B⁺), not divided by K", lambda i: variability.nc1_quotient(i.statistics, i.convention)
    ),
    Metric(
        "nc2_general_frame",
        "uncentered means against an orthogonal frame of their own lengths",
        lambda i: frames.nc2_general_frame(i.statistics),
    ),
    Metric(
        "nc2_etf_weight",
        "classifier against a simplex ETF",
        lambda i: frames.nc2_etf_weight(i.require_weight(), i.convention),
    ),
    Metric(
        "nc2_nearest_etf",
        "distance of the centered means to the nearest simplex ETF",
        lambda i: ranks.nearest_etf(i.statistics),
    ),
    Metric(
        "gnc2_riesz",
        "coefficient of variation of 1/|û_k - û_l|",
        lambda i: frames.gnc2_riesz(i.statistics, i.convention),
    ),
    Metric(
        "one_vs_rest_margin",
        "least distance of a direction to the hull of the others",
        lambda i: ranks.one_vs_rest_margin(i.statistics, i.convention),
    ),
    Metric(
        "effective_rank",
        "exp of the entropy of the singular values of the means",
        lambda i: ranks.effective_rank(i.statistics, i.convention),
    ),
    Metric("stable_rank", "Σσ²/max σ² of the means", lambda i: ranks.stable_rank(i.statistics, i.convention)),
    Metric(
        "numerical_rank",
        "singular values of the means above rounding",
        lambda i: ranks.numerical_rank(i.statistics, i.convention),
    ),
    Metric(
        "nc3_cosine",
        "mean 1 - cos(w_k, m_k - μ)",
        lambda i: self_duality.nc3_cosine(i.statistics, i.require_weight(), i.convention),
    ),
    Metric(
        "cosine_margin",
        "least cos(w_k, m_k) - max cos(w_l, m_k)",
        lambda i: labels.cosine_margin(i.statistics, i.require_weight()),
    ),
    Metric("nc0_row_sum", "|Wᵀ1| / |W|", lambda i: labels.row_sum(i.require_weight())),
    Metric(
        "mean_output",
        "|W μ + b|, units of the outputs",
        lambda i: labels.mean_output(i.statistics, i.require_weight(), i.require_bias()),
    ),
    Metric("mse_nc1", "squared error by the spread within classes", lambda i: i.decomposition().nc1),
    Metric("mse_nc23", "squared error of the least squares at the means", lambda i: i.decomposition().nc23),
    Metric(
        "mse_perpendicular",
        "squared error by the distance from the least squares",
        lambda i: i.decomposition().perpendicular,
    ),
)
"""Further metrics, computed when they are asked for."""


def evaluate(inputs: MetricInputs, metrics: Sequence[Metric] = METRICS) -> tuple[dict[str, float], dict[str, str]]:
    """Compute the metrics: values by name, and the reasons for those without a value."""
    if not inputs.statistics.squarable:
        return {}, {metric.name: OUT_OF_RANGE for metric in metrics}
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in metrics:
        try:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                value = metric.compute(inputs)
        except Undefined as reason:
            missing[metric.name] = str(reason)
            continue
        if math.isfinite(value):
            values[metric.name] = value
        else:
            missing[metric.name] = "the value is beyond the range of float64; scale the features"
    return values, missing
