"""What tables and pages say of a measurement: metrics by property, and the classes behind the averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from encollapse._internal.format import count, fixed
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.metrics import FAMILIES, METRICS

if TYPE_CHECKING:
    from encollapse.measure import Collapse

PAIRS = 10
"""How many of the closest pairs are known."""

MOST_COSINES = 1000
"""Of so many classes at most the cosines are known, as a picture shows no more."""


@dataclass(frozen=True, eq=False)
class ClassDetails:
    """What is known of each class that has samples.

    Parameters
    ----------
    classes : (P,) ints
        The classes.
    counts : (P,) ints
        Their samples.
    norms : (P,)
        Distance of the class mean from the global mean ``μ = Σ n_k m_k / N``.
    spreads : (P,)
        Root mean square distance of a sample from its class mean.
    nearest : (P,) ints
        The class whose mean is nearest, or -1 where there is only one class.
    distances : (P,)
        Distance to that mean, infinite where there is only one class.
    closest_pairs : list of tuples
        Up to ten pairs (class, class, distance, cosine between centered means), the closest first. The cosine is NaN
        where a mean is at the global mean.
    shown : (n,) ints
        The classes whose cosines are known: all, or where they are very many, some at even steps.
    cosines : (n, n)
        Cosines between their centered means, or NaN where a mean is at the global mean.
    """

    classes: IntArray
    counts: IntArray
    norms: FloatArray
    spreads: FloatArray
    nearest: IntArray
    distances: FloatArray
    closest_pairs: list[tuple[int, int, float, float]]
    shown: IntArray
    cosines: FloatArray

    @property
    def noise(self) -> FloatArray:
        """Spread over half the distance to the nearest mean, (P,). 0 is collapsed."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2 * self.spreads / self.distances)


def class_details(collapse: Collapse) -> ClassDetails:
    """Details of the classes of a measurement, about the sample-averaged global mean."""
    rows = sorted(collapse.per_class(), key=lambda row: row["label"] or 0)

    def column(name: str, missing: float, dtype: type = float) -> np.ndarray[Any, Any]:
        return np.array([missing if row[name] is None else row[name] for row in rows], dtype=dtype)

    classes, norms = column("label", -1, int), column("norm", np.nan)
    step = -(-len(classes) // MOST_COSINES)
    shown = classes[::step]
    by_class = dict(zip(classes.tolist(), norms.tolist(), strict=True))
    return ClassDetails(
        classes=classes,
        counts=column("count", 0, int),
        norms=norms,
        spreads=column("spread", np.nan),
        nearest=column("nearest", -1, int),
        distances=column("distance", np.inf),
        closest_pairs=[
            (k, l, distance, _cosine(by_class[k], by_class[l], distance))
            for k, l, distance in collapse.nearest_pairs(PAIRS)  # noqa: E741 (the notation table's letters)
        ],
        shown=shown,
        cosines=collapse.cosines(shown),
    )


def _cosine(first: float, second: float, distance: float) -> float:
    """Cosine between two sides of a triangle."""
    if not first * second > 0:
        return float("nan")
    return float(np.clip((first**2 + second**2 - distance**2) / (2 * first * second), -1.0, 1.0))


def by_noise(details: ClassDetails) -> list[int]:
    """Positions of the classes, the noisiest first."""
    return [int(i) for i in np.argsort(-np.nan_to_num(details.noise, nan=-1.0), kind="stable")]


def class_cells(details: ClassDetails, index: int) -> tuple[str, ...]:
    """Class, samples, distance from the mean, spread, nearest class, its distance, noise."""
    return (
        str(details.classes[index]),
        str(details.counts[index]),
        f"{details.norms[index]:.4g}",
        f"{details.spreads[index]:.4g}",
        str(details.nearest[index]) if details.nearest[index] >= 0 else "–",
        f"{details.distances[index]:.4g}",
        f"{details.noise[index]:.3f}" if np.isfinite(details.noise[index]) else "–",
    )


def pair_cells(details: ClassDetails) -> list[tuple[str, str, str, str]]:
    """Class, class, distance of their means and cosine of the centered ones, the closest pair first."""
    return [
        (str(a), str(b), f"{distance:.4g}", "–" if np.isnan(cosine) else fixed(cosine, 4))
        for a, b, distance, cosine in details.closest_pairs
    ]


def grouped(collapse: Collapse) -> list[tuple[str, list[tuple[str, float, str]]]]:
    """Metrics that have a value, (name, value, meaning), under the question that they ask."""
    known = [(METRICS[name], value) for name, value in collapse.values.items() if value is not None]
    groups = (
        (family.title, [(metric.name, value, metric.meaning) for metric, value in known if metric.family == key])
        for key, family in FAMILIES.items()
    )
    return [group for group in groups if group[1]]


def reasons(collapse: Collapse) -> dict[str, list[str]]:
    """Metrics without a value, by the reason."""
    found: dict[str, list[str]] = {}
    for name, value in collapse.values.items():
        if value is None:
            found.setdefault(collapse.missing.get(name, "not computed"), []).append(name)
    return found


def number(name: str, value: float) -> str:
    """A value as tables show it: shares as percentages, all else in four digits."""
    if METRICS[name].family == "nc4":
        return f"{100 * value:.2f} %"
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def facts(collapse: Collapse) -> list[str]:
    """Sizes in a line."""
    geometry = collapse.geometry
    seen = geometry.counts[geometry.present]
    classes = count(collapse.num_classes, "class").replace("classs", "classes")
    if len(seen) < collapse.num_classes:
        classes += f", {collapse.num_classes - len(seen)} without samples"
    low, high = int(seen.min()), int(seen.max())
    spread = count(low, "sample") if low == high else f"{low} to {high} samples"
    dims = geometry.provenance.get("feature_dim")
    return [f"{collapse.num_samples} samples", f"{classes}, {spread} each", *([f"{dims} features"] if dims else [])]
