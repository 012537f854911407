"""`Collapse`: what was measured, each value a number or absent for a stated reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.shown import Shown
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse._internal.warn import warn
from encollapse.errors import ArgumentError, Undefined
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.measure.summary import summary
from encollapse.metrics import METRICS, ClassStatistics, MetricInputs, centered_cosines, nearest_pairs, per_class

VALUES = tuple(metric.name for metric in METRICS.values() if not metric.detail)
"""Names of the values, in the order of tables."""

_RENAMED = {f"{name}_rank": f"class_mean_{name}_rank" for name in ("effective", "stable", "numerical")}


class Details(Mapping[str, float | None]):
    """Further metrics by name, each computed when it is first read, or None where there is none.

    Parameters
    ----------
    inputs : MetricInputs
        What they are computed from.
    """

    def __init__(self, inputs: MetricInputs) -> None:
        self._inputs = inputs
        self._found: dict[str, float | None] = {}
        self._reasons: dict[str, str] = {}

    def __getitem__(self, name: str) -> float | None:
        if name in _RENAMED:
            warn(f"details: {name!r} is called {_RENAMED[name]!r} now")
            name = _RENAMED[name]
        if name not in self._found:
            if name not in METRICS or not METRICS[name].detail:
                raise KeyError(name)
            try:
                self._found[name] = self._inputs.compute(METRICS[name])
            except Undefined as reason:
                self._found[name], self._reasons[name] = None, str(reason)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return (metric.name for metric in METRICS.values() if metric.detail)

    def __len__(self) -> int:
        return len(METRICS) - len(VALUES)

    def __repr__(self) -> str:
        return f"Details({dict(self)})"

    @property
    def missing(self) -> dict[str, str]:
        """Reason, by name, for every detail that is None. It computes them all."""
        return {name: self._reasons[name] for name, value in self.items() if value is None}


@dataclass(frozen=True, eq=False)
class Collapse(Shown):
    """Collapse metrics of labeled features. Values are floats, or None with a reason in `missing`.

    Lengths are in units of the features, biases in units of the labels. All other values have no unit.
    Classes without samples enter nothing. Formulas and references are in the docstrings of
    ``encollapse.metrics``.

    Parameters
    ----------
    values : dict
        Every value by name, in the order of tables. Each is an attribute, too.
    num_samples, num_classes : int
        N and K, classes without samples included.
    geometry : ClassGeometry
        What :func:`encollapse.geometry.compare` compares with a prediction.
    missing : dict
        Reason, by name, for every value that is None.
    convention : str
        Which averaging and scaling choices were used.
    route : str
        How the spread within classes was gathered: ``"one-pass covariance"``, ``"two-pass covariance"`` (averaged
        over classes of different counts, or in float64 where float32 products do not resolve it),
        ``"two-pass projected"`` (along the class means only) or ``"no covariance"``.
    intervals : dict
        Lower and upper end, by name, where :func:`encollapse.measure.collapse` was asked for them.
    source : MetricInputs, optional
        The statistics behind the values, for `details`, `per_class` and `nearest_pairs`.

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> import encollapse as ec
    >>> found = ec.measure.collapse([[2.0, 0], [4, 0], [0, 3], [0, 5]], [0, 0, 1, 1])
    >>> round(found.nc1_trace_ratio, 4), found.accuracy, found.missing["accuracy"]
    (0.16, None, 'no weight was given')
    >>> round(found.details["class_mean_effective_rank"], 4)
    1.0
    """

    values: dict[str, float | None]
    num_samples: int
    num_classes: int
    geometry: ClassGeometry = field(repr=False)
    missing: dict[str, str] = field(default_factory=dict, repr=False)
    convention: str = "default"
    route: str = "no covariance"
    source: MetricInputs | None = field(default=None, repr=False)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> float | None:
        values: dict[str, float | None] = self.__dict__.get(
            "values", {}
        )  # not there yet while an instance is unpickled
        if name in values:
            return values[name]
        meant = checks.did_you_mean(name, VALUES)
        raise AttributeError(f"a Collapse has no {name!r}{meant and '; ' + meant}")

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self.values])

    @cached_property
    def details(self) -> Details:
        """Further metrics, each computed when first read: those that the registry calls details.

        Raises
        ------
        ArgumentError
            If this result does not carry its statistics.
        """
        return Details(self._inputs)

    def per_class(self) -> list[dict[str, float | int | None]]:
        """One row for each class with samples, the least collapsed first: see `encollapse.metrics.per_class`."""
        inputs = self._inputs
        return per_class(inputs.statistics, inputs.convention)

    def nearest_pairs(self, count: int = 10) -> list[tuple[int, int, float]]:
        """Classes k < l and the distance of their means, for the `count` closest pairs, closest first."""
        return nearest_pairs(self.statistics, count)

    def cosines(self, classes: ArrayLike) -> FloatArray:
        """Cosines (n, n) between the means of some classes about the global mean, without any (K, K) matrix.

        Parameters
        ----------
        classes : (n,) ints
            Classes with samples. NaN stands where a mean is at the global mean.

        Raises
        ------
        ArgumentError
            If a class does not exist or has no samples, or this result does not carry its statistics.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.measure.collapse([[3.0, 0], [0, 3], [-3, 0]], [0, 1, 2]).cosines([0, 2]).round(2)
        array([[ 1. , -0.8],
               [-0.8,  1. ]])
        """
        wanted = checks.class_labels(classes, self.num_classes, "classes")
        absent = wanted[~self.geometry.present[wanted]]
        if len(absent):
            raise ArgumentError(f"classes: class {absent[0]} has no samples; leave it out")
        inputs = self._inputs
        return centered_cosines(inputs.statistics, wanted, inputs.convention)

    def summary(self, prediction: Any = None) -> str:
        """Say in sentences what has collapsed, which class and pair are worst, and what to look at next.

        Each property is done, under way or not there. Spread: done where that within the classes is at most a
        hundredth of that between them. Frame and classifier: done where a distance of shapes is at most 0.1, and for
        the frame half of what random means would have. Decisions: done where at least 99 % agree.

        Parameters
        ----------
        prediction : Solution or ClassGeometry, optional
            What the means are compared with besides simplex and orthogonal frame.

        Returns
        -------
        str
            One line each.

        Examples
        --------
        >>> import numpy as np, encollapse as ec
        >>> labels = np.arange(15) % 5
        >>> found = ec.measure.collapse(np.eye(5, 7)[labels], labels, weight=np.eye(5, 7) - np.eye(5, 7).mean(axis=0))
        >>> print(found.summary().splitlines()[0])
        Collapsed.
        """
        return summary(self, prediction)

    @property
    def statistics(self) -> ClassStatistics:
        """Counts, class means and spread, from which every metric is computed."""
        return self._inputs.statistics

    @property
    def _inputs(self) -> MetricInputs:
        if self.source is None:
            raise ArgumentError("collapse: this result does not carry its statistics; measure the samples anew")
        return self.source

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each metric by name, then sizes, ``convention``, ``route``, ``missing``.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.measure.collapse([[3.0, 0], [0, 3]], [0, 1]).to_dict()["counts"]
        [1, 1]
        """
        return (
            dict(self.values)
            | {
                "num_samples": self.num_samples,
                "num_classes": self.num_classes,
                "counts": self.geometry.counts.tolist(),
                "convention": self.convention,
                "route": self.route,
                "provenance": dict(self.geometry.provenance),
                "missing": dict(self.missing),
            }
            | ({"intervals": {name: list(ends) for name, ends in self.intervals.items()}} if self.intervals else {})
        )

    def __str__(self) -> str:
        absent = int(np.count_nonzero(~self.geometry.present))
        seen = f"{self.num_classes} classes" + (f", {absent} of them without samples" if absent else "")
        width = max(map(len, VALUES))
        lines = [self.summary(), ""] if "feature_dim" in self.geometry.provenance else []
        lines += [f"collapse of {self.num_samples} samples in {seen} (convention: {self.convention})"]
        if "classifier" in self.geometry.provenance:
            lines.append(f"classifier: {self.geometry.provenance['classifier']}")
        for name, value in self.values.items():
            shown = "-" if value is None else f"{value:.6g}"
            note = METRICS[name].meaning if value is not None else f"none: {self.missing.get(name, 'not computed')}"
            if name in self.intervals:
                low, high = self.intervals[name]
                note = f"from {low:.3g} to {high:.3g} in 95 of 100 cases; {note}"
            lines.append(f"{name:<{width}}  {shown:>12}  {note}")
        lines.append(f"route: {self.route}")
        return "\n".join(lines)


def _attributes() -> str:
    lines = []
    for name in VALUES:
        metric = METRICS[name]
        cited = metric.reference and f" :cite:p:`{metric.reference}`"
        meaning = metric.meaning.replace("|", r"\|")  # which would begin a substitution of reStructuredText
        lines.append(f"    {name} : float or None\n        {meaning}{cited}")
    return "\n".join(lines)


Collapse.__doc__ = (Collapse.__doc__ or "").format(attributes=_attributes().lstrip())
