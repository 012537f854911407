"""Collapse metrics: pure functions of class statistics and, where they need one, of a linear classifier.

The room needs numpy and scipy alone. A metric either returns a finite number or raises :class:`Undefined` with the
reason why there is none. `METRICS` holds what there is to know of each, under its name. The modules below register them
in the order of tables.
"""

from encollapse.errors import Undefined
from encollapse.geometry.drift import linear_cka, procrustes_distance, subspace_distance
from encollapse.metrics.convention import PRESETS, Convention, as_convention
from encollapse.metrics.evaluation import MetricInputs, evaluate, evaluate_weight
from encollapse.metrics.nc1 import cdnv, floor, nc1_normalized, nc1_pinv, nc1_quotient, nc1_trace_ratio, vci
from encollapse.metrics.nc2 import (
    gnc2_log,
    gnc2_riesz,
    nc2_equiangular,
    nc2_equiangular_weight,
    nc2_equinorm,
    nc2_equinorm_weight,
    nc2_etf,
    nc2_etf_uncentered,
    nc2_etf_weight,
    nc2_general_frame,
    nc2_max_angle,
    nc2_max_angle_weight,
    nc2_orthogonal,
)
from encollapse.metrics.nc3 import nc3_alignment, nc3_cosine, nc3_self_duality, unc3
from encollapse.metrics.nc4 import Decisions, accuracy, nc4_agreement, ncc_accuracy
from encollapse.metrics.optimality import (
    balance,
    bias_to_label_mean,
    cosine_margin,
    label_centering,
    mean_output,
    row_sum,
)
from encollapse.metrics.per_class import centered_cosines, nearest_pairs, per_class
from encollapse.metrics.ranks import (
    class_mean_effective_rank,
    class_mean_numerical_rank,
    class_mean_stable_rank,
    effective_rank,
    nearest_etf,
    nrc1,
    one_vs_rest_margin,
    participation_ratio,
    rank_me,
    stable_rank,
)
from encollapse.metrics.registry import FAMILIES, METRICS, Metric
from encollapse.metrics.samples.finite_samples import cdnv_unbiased, intervals, nc1_trace_ratio_unbiased
from encollapse.metrics.samples.nc1_samples import directional_cdnv, rnc1
from encollapse.metrics.squared_error import MseDecomposition, mse_decomposition, mse_nc1, mse_nc23, mse_perpendicular
from encollapse.metrics.statistics import ClassStatistics

__all__ = [
    "FAMILIES",
    "METRICS",
    "PRESETS",
    "ClassStatistics",
    "Convention",
    "Decisions",
    "Metric",
    "MetricInputs",
    "MseDecomposition",
    "Undefined",
    "accuracy",
    "as_convention",
    "balance",
    "bias_to_label_mean",
    "cdnv",
    "cdnv_unbiased",
    "centered_cosines",
    "class_mean_effective_rank",
    "class_mean_numerical_rank",
    "class_mean_stable_rank",
    "cosine_margin",
    "directional_cdnv",
    "effective_rank",
    "evaluate",
    "evaluate_weight",
    "floor",
    "gnc2_log",
    "gnc2_riesz",
    "intervals",
    "label_centering",
    "linear_cka",
    "mean_output",
    "mse_decomposition",
    "mse_nc1",
    "mse_nc23",
    "mse_perpendicular",
    "nc1_normalized",
    "nc1_pinv",
    "nc1_quotient",
    "nc1_trace_ratio",
    "nc1_trace_ratio_unbiased",
    "nc2_equiangular",
    "nc2_equiangular_weight",
    "nc2_equinorm",
    "nc2_equinorm_weight",
    "nc2_etf",
    "nc2_etf_uncentered",
    "nc2_etf_weight",
    "nc2_general_frame",
    "nc2_max_angle",
    "nc2_max_angle_weight",
    "nc2_orthogonal",
    "nc3_alignment",
    "nc3_cosine",
    "nc3_self_duality",
    "nc4_agreement",
    "ncc_accuracy",
    "nearest_etf",
    "nearest_pairs",
    "nrc1",
    "one_vs_rest_margin",
    "participation_ratio",
    "per_class",
    "procrustes_distance",
    "rank_me",
    "rnc1",
    "row_sum",
    "stable_rank",
    "subspace_distance",
    "unc3",
    "vci",
]
