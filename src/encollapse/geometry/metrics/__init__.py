"""Collapse metrics: pure functions of class statistics and, where they need one, of a linear classifier.

A metric either returns a finite number or raises :class:`Undefined` with the reason why there is none.
"""

from encollapse.geometry.metrics.catalogue import METRICS, Metric, MetricInputs, evaluate
from encollapse.geometry.metrics.convention import PRESETS, Convention, as_convention
from encollapse.geometry.metrics.frames import (
    gnc2_log,
    nc2_equiangular,
    nc2_equinorm,
    nc2_etf,
    nc2_etf_uncentered,
    nc2_max_angle,
    nc2_orthogonal,
)
from encollapse.geometry.metrics.labels import bias_to_label_mean, label_centering
from encollapse.geometry.metrics.layer_balance import balance
from encollapse.geometry.metrics.self_duality import nc3_alignment, nc3_self_duality, unc3
from encollapse.geometry.metrics.separation import cdnv
from encollapse.geometry.metrics.undefined import Undefined
from encollapse.geometry.metrics.variability import floor, nc1_normalized, nc1_pinv, nc1_trace_ratio, vci

__all__ = [
    "METRICS",
    "PRESETS",
    "Convention",
    "Metric",
    "MetricInputs",
    "Undefined",
    "as_convention",
    "balance",
    "bias_to_label_mean",
    "cdnv",
    "evaluate",
    "floor",
    "gnc2_log",
    "label_centering",
    "nc1_normalized",
    "nc1_pinv",
    "nc1_trace_ratio",
    "nc2_equiangular",
    "nc2_equinorm",
    "nc2_etf",
    "nc2_etf_uncentered",
    "nc2_max_angle",
    "nc2_orthogonal",
    "nc3_alignment",
    "nc3_self_duality",
    "unc3",
    "vci",
]
