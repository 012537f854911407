"""Collapse metrics: pure functions of class statistics and, where they need one, of a linear classifier.

A metric either returns a finite number or raises :class:`Undefined` with the reason why there is none.
"""

from encollapse.metrics.bias import bias_to_label_mean, cosine_margin, label_centering, mean_output, row_sum
from encollapse.metrics.convention import PRESETS, Convention, as_convention
from encollapse.metrics.layer_balance import balance
from encollapse.metrics.nc1 import floor, nc1_normalized, nc1_pinv, nc1_quotient, nc1_trace_ratio, vci
from encollapse.metrics.nc2 import (
    gnc2_log,
    gnc2_riesz,
    nc2_equiangular,
    nc2_equinorm,
    nc2_etf,
    nc2_etf_uncentered,
    nc2_etf_weight,
    nc2_general_frame,
    nc2_max_angle,
    nc2_orthogonal,
)
from encollapse.metrics.nc3 import nc3_alignment, nc3_cosine, nc3_self_duality, unc3
from encollapse.metrics.per_class import centered_cosines, nearest_pairs, per_class
from encollapse.metrics.ranks import effective_rank, nearest_etf, numerical_rank, one_vs_rest_margin, stable_rank
from encollapse.metrics.registry import DETAILS, METRICS, Metric, MetricInputs, evaluate
from encollapse.metrics.separation import cdnv
from encollapse.metrics.squared_error import MseDecomposition, mse_decomposition
from encollapse.metrics.undefined import Undefined

__all__ = [
    "DETAILS",
    "METRICS",
    "PRESETS",
    "Convention",
    "Metric",
    "MetricInputs",
    "MseDecomposition",
    "Undefined",
    "as_convention",
    "balance",
    "bias_to_label_mean",
    "cdnv",
    "centered_cosines",
    "cosine_margin",
    "effective_rank",
    "evaluate",
    "floor",
    "gnc2_log",
    "gnc2_riesz",
    "label_centering",
    "mean_output",
    "mse_decomposition",
    "nc1_normalized",
    "nc1_pinv",
    "nc1_quotient",
    "nc1_trace_ratio",
    "nc2_equiangular",
    "nc2_equinorm",
    "nc2_etf",
    "nc2_etf_uncentered",
    "nc2_etf_weight",
    "nc2_general_frame",
    "nc2_max_angle",
    "nc2_orthogonal",
    "nc3_alignment",
    "nc3_cosine",
    "nc3_self_duality",
    "nearest_etf",
    "nearest_pairs",
    "numerical_rank",
    "one_vs_rest_margin",
    "per_class",
    "row_sum",
    "stable_rank",
    "unc3",
    "vci",
]
