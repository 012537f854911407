"""All metrics of one measurement: each a number, or missing for a reason of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import Undefined
from encollapse.metrics.convention import DEFAULT, Convention, as_convention
from encollapse.metrics.registry import METRICS, Metric
from encollapse.metrics.squared_error import MseDecomposition, mse_decomposition
from encollapse.metrics.statistics import ClassStatistics

if TYPE_CHECKING:
    from encollapse.metrics.nc4 import Decisions

OUT_OF_RANGE = "the features are so small or so large that their squares leave the range of float64; scale them"

_ABSENT = {
    "weight": "no weight was given",
    "bias": "no weight was given",
    "mean_codeword": "no encoding was given",
    "decisions": "no decisions were counted",
}

_FAILURES = (ArithmeticError, MemoryError, RuntimeError, ValueError)
"""What numpy, scipy and torch raise where a factorization fails or an array does not fit."""


class HasCodewords(Protocol):
    """An encoding, as far as metrics need to know."""

    @property
    def codewords(self) -> FloatArray:
        """Codewords (q, K), one column a class."""
        ...


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """What a measurement knows: statistics, and possibly a classifier, an encoding and decisions.

    Parameters
    ----------
    statistics : ClassStatistics
        Moments of the features.
    weight : (q, d), optional
        Weight of the linear classifier.
    bias : (q,), optional
        Its bias, zeros for a classifier without one.
    mean_codeword : (q,), optional
        Mean codeword of the encoding under the measured class frequencies.
    convention : Convention
        Averaging and scaling choices.
    encoding : object with ``codewords`` (q, K), optional
        The encoding, whose codewords are read only for the split of the squared error.
    decisions : Decisions, optional
        What classifier and nearest class mean decided.
    loss : {"mse", "cross_entropy"}
        What the classifier was trained with.
    mean_softmax : (q,), optional
        Mean over the samples of ``softmax(W h + b)``.

    Examples
    --------
    >>> import encollapse as ec
    >>> statistics = ec.metrics.ClassStatistics.from_features([[2.0, 0], [4, 0], [0, 3], [0, 5]], [0, 0, 1, 1])
    >>> values, missing = ec.metrics.evaluate(ec.metrics.MetricInputs(statistics))
    >>> round(values["nc1_trace_ratio"], 4), missing["unc3"]
    (0.16, 'no weight was given')
    """

    statistics: ClassStatistics
    weight: FloatArray | None = None
    bias: FloatArray | None = None
    mean_codeword: FloatArray | None = None
    convention: Convention = DEFAULT
    encoding: HasCodewords | None = None
    decisions: Decisions | None = None
    loss: str = "mse"
    mean_softmax: FloatArray | None = None

    @cached_property
    def decomposition(self) -> MseDecomposition:
        """Split of the squared error, computed once.

        Raises
        ------
        Undefined
            If there is no encoding, no classifier or no covariance.
        """
        if self.encoding is None:
            raise Undefined(_ABSENT["mean_codeword"])
        return mse_decomposition(self.statistics, self.require("weight"), self.require("bias"), self.encoding.codewords)

    def require(self, name: str) -> Any:
        """Return what a metric asks for by name.

        Raises
        ------
        Undefined
            If it is not known.
        """
        value = getattr(self, name)
        if value is None and name in _ABSENT:
            raise Undefined(_ABSENT[name])
        return value

    def compute(self, metric: Metric) -> float:
        """Value of one metric.

        Raises
        ------
        Undefined
            If it has none, or its computation failed.
        """
        if not self.statistics.squarable:
            raise Undefined(OUT_OF_RANGE)
        try:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                value = float(metric.function(**{name: self.require(name) for name in metric.arguments}))
        except Undefined:
            raise
        except _FAILURES as error:  # one metric that fails must not cost the others
            raise Undefined(f"its computation failed ({type(error).__name__}: {error})") from error
        if not math.isfinite(value):
            raise Undefined("the value is beyond the range of float64; scale the features")
        return value


def evaluate(inputs: MetricInputs, metrics: Iterable[Metric] | None = None) -> tuple[dict[str, float], dict[str, str]]:
    """Compute metrics, each by itself.

    Parameters
    ----------
    inputs : MetricInputs
        What is known.
    metrics : iterable of Metric, optional
        Which ones. Default: all that are no details.

    Returns
    -------
    values : dict
        Values by name.
    missing : dict
        Reasons, by name, for those without a value.

    Examples
    --------
    >>> import encollapse as ec
    >>> statistics = ec.metrics.ClassStatistics.from_features([[1.0, 0], [1, 0], [0, 1]], [0, 0, 1])
    >>> ec.metrics.evaluate(ec.metrics.MetricInputs(statistics), [ec.metrics.METRICS["cdnv"]])
    ({'cdnv': 0.0}, {})
    """
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in (m for m in METRICS.values() if not m.detail) if metrics is None else metrics:
        try:
            values[metric.name] = inputs.compute(metric)
        except Undefined as reason:
            missing[metric.name] = str(reason)
    return values, missing


def evaluate_weight(
    weight: ArrayLike, convention: str | Convention = DEFAULT
) -> tuple[dict[str, float], dict[str, str]]:
    """Compute the metrics of a classifier that need no features: norms, angles and sum of the rows of its weight.

    Parameters
    ----------
    weight : (K, d) array
        Weight of the last linear layer, numpy or torch.
    convention : str or Convention
        Averaging and scaling choices.

    Returns
    -------
    values : dict
        Values by name.
    missing : dict
        Reasons, by name, for those without a value.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> values, missing = ec.metrics.evaluate_weight(np.eye(5) - 0.2)
    >>> len(values), round(values["nc2_etf_weight"], 9), missing
    (5, 0.0, {})
    """
    rows = checks.array(weight, "weight", (None, None), axes="(num_classes, feature_dim)")
    chosen = as_convention(convention)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in METRICS.values():
        if set(metric.arguments) <= {"weight", "convention"}:
            options = {"convention": chosen} if "convention" in metric.arguments else {}
            try:
                values[metric.name] = float(metric.function(rows, **options))
            except Undefined as reason:
                missing[metric.name] = str(reason)
    return values, missing
