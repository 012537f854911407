"""`Collapse`: what was measured, each value a number or absent for a stated reason."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.metrics import DETAILS, METRICS, MetricInputs, centered_cosines, evaluate, nearest_pairs, per_class

_DECISIONS = {
    "nc4_agreement": "share of samples: classifier decides as the nearest class mean",
    "ncc_accuracy": "share of samples: nearest class mean is right",
    "accuracy": "share of samples: classifier is right",
}

MEANINGS = {metric.name: metric.meaning for metric in METRICS} | _DECISIONS
"""A line on each value, for tables."""


@dataclass(frozen=True)
class Details:
    """Further metrics by name, and the reasons for those that are None."""

    values: dict[str, float | None]
    missing: dict[str, str]

    def __getitem__(self, name: str) -> float | None:
        return self.values[name]


@dataclass(frozen=True, eq=False)
class Collapse:
    """Collapse metrics of labeled features. Values are floats, or None with a reason in `missing`.

    Lengths are in units of the features, biases in units of the labels; all other values have no unit.
    Classes without samples enter nothing. Formulas and references are in the docstrings of
    :mod:`encollapse.metrics`.

    Parameters
    ----------
    missing : dict
        Reason, by name, for every value that is None.
    geometry : ClassGeometry
        What :func:`encollapse.compare` compares with a prediction.
    convention : str
        Which averaging and scaling choices were used.
    route : str
        How the spread within classes was gathered: ``"one-pass covariance"``, ``"two-pass covariance"`` (averaged
        over classes of different counts, or in float64 where float32 products do not resolve it),
        ``"two-pass projected"`` (along the class means only) or ``"no covariance"``.
    source : MetricInputs, optional
        The statistics behind the values, for `details`, `per_class` and `nearest_pairs`.
    """

    nc1_pinv: float | None
    nc1_trace_ratio: float | None
    nc1_normalized: float | None
    cdnv: float | None
    vci: float | None
    nc2_equinorm: float | None
    nc2_equiangular: float | None
    nc2_max_angle: float | None
    nc2_etf: float | None
    nc2_etf_uncentered: float | None
    nc2_orthogonal: float | None
    gnc2_log: float | None
    nc3_alignment: float | None
    nc3_self_duality: float | None
    unc3: float | None
    nc4_agreement: float | None
    ncc_accuracy: float | None
    accuracy: float | None
    bias_to_label_mean: float | None
    label_centering: float | None
    balance: float | None
    floor: float | None
    num_samples: int
    num_classes: int
    geometry: ClassGeometry = field(repr=False)
    missing: dict[str, str] = field(default_factory=dict, repr=False)
    convention: str = "default"
    route: str = "no covariance"
    source: MetricInputs | None = field(default=None, repr=False)

    @cached_property
    def details(self) -> Details:
        """Further metrics, computed when first asked for: see :data:`encollapse.metrics.DETAILS`.

        Raises
        ------
        ArgumentError
            If this result does not carry its statistics.
        """
        values, missing = evaluate(self._inputs(), DETAILS)
        return Details({metric.name: values.get(metric.name) for metric in DETAILS}, missing)

    def per_class(self) -> list[dict[str, float | int | None]]:
        """One row for each class with samples, the least collapsed first.

        ``label``, ``count``, ``spread`` (root of the trace of its covariance), ``norm`` (length of its centered
        mean), ``nearest`` (the class whose mean is nearest), ``distance`` (to it) and ``cdnv``, the largest
        ``(v_k + v_l)/(2|m_k - m_l|²)`` over the other classes; None where there is no other class. Lengths that are
        rounding are 0, and ``cdnv`` is infinite where the means of two classes coincide.
        """
        return per_class(self._inputs().statistics)

    def nearest_pairs(self, count: int = 10) -> list[tuple[int, int, float]]:
        """Classes k < l and the distance of their means, for the `count` closest pairs, closest first."""
        return nearest_pairs(self._inputs().statistics, count)

    def cosines(self, classes: ArrayLike) -> FloatArray:
        """Cosines (n, n) between the means of some classes about the global mean, without any (K, K) matrix.

        Parameters
        ----------
        classes : (n,) ints
            Classes with samples. NaN stands where a mean is at the global mean.
        """
        wanted = checks.class_labels(classes, self.num_classes, "classes")
        absent = wanted[~self.geometry.present[wanted]]
        if len(absent):
            raise ArgumentError(f"classes: class {absent[0]} has no samples; leave it out")
        return centered_cosines(self._inputs().statistics, wanted)

    def _inputs(self) -> MetricInputs:
        if self.source is None:
            raise ArgumentError("collapse: this result does not carry its statistics, so it has no details")
        return self.source

    @property
    def values(self) -> dict[str, float | None]:
        """Every value by name, in the order of tables."""
        return {name: getattr(self, name) for name in VALUES}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each metric by name, then sizes, ``convention``, ``route``, ``missing``."""
        return self.values | {
            "num_samples": self.num_samples,
            "num_classes": self.num_classes,
            "counts": self.geometry.counts.tolist(),
            "convention": self.convention,
            "route": self.route,
            "provenance": dict(self.geometry.provenance),
            "missing": dict(self.missing),
        }

    def __str__(self) -> str:
        absent = int(np.count_nonzero(~self.geometry.present))
        seen = f"{self.num_classes} classes" + (f", {absent} of them without samples" if absent else "")
        width = max(map(len, VALUES))
        lines = [f"collapse of {self.num_samples} samples in {seen} (convention: {self.convention})"]
        for name, value in self.values.items():
            shown = "-" if value is None else f"{value:.6g}"
            note = MEANINGS[name] if value is not None else f"none: {self.missing.get(name, 'not computed')}"
            lines.append(f"{name:<{width}}  {shown:>12}  {note}")
        lines.append(f"route: {self.route}")
        return "\n".join(lines)


VALUES = tuple(f.name for f in fields(Collapse) if f.name in MEANINGS)
"""Names of the values, in the order of tables."""
