"""Which class has not collapsed, and which pair is closest: details behind the averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._typing import FloatArray, IntArray
from encollapse.geometry import ClassGeometry


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
        Root mean square distance of a sample from its class mean; NaN where it is not known.
    nearest : (P,) ints
        The class whose mean is nearest; -1 where there is only one class.
    distances : (P,)
        Distance to that mean.
    cosines : (P, P)
        Cosines between centred class means; NaN where a mean is at the global mean.
    between : (P, P)
        Distances between class means, infinite on the diagonal.
    """

    classes: IntArray
    counts: IntArray
    norms: FloatArray
    spreads: FloatArray
    nearest: IntArray
    distances: FloatArray
    cosines: FloatArray
    between: FloatArray

    @property
    def noise(self) -> FloatArray:
        """Spread over half the distance to the nearest mean, (P,); 0 is collapsed."""
        return np.asarray(2 * self.spreads / self.distances)

    def closest_pairs(self, limit: int) -> list[tuple[int, int, float, float]]:
        """Up to `limit` pairs (class, class, distance, cosine), the closest first."""
        rows, columns = np.triu_indices(len(self.classes), 1)
        order = np.argsort(self.between[rows, columns], kind="stable")[:limit]
        return [
            (
                int(self.classes[rows[i]]),
                int(self.classes[columns[i]]),
                float(self.between[rows[i], columns[i]]),
                float(self.cosines[rows[i], columns[i]]),
            )
            for i in order
        ]


def class_details(geometry: ClassGeometry) -> ClassDetails:
    """Details of the classes of a measured geometry, about the sample-averaged global mean."""
    present = np.flatnonzero(geometry.present)
    counts = geometry.counts[present]
    gram = geometry.feature_gram[np.ix_(present, present)]
    weights = counts / counts.sum()
    shift = gram @ weights
    centred = gram - shift[:, None] - shift[None, :] + weights @ shift
    squares = np.clip(np.diag(centred), 0.0, None)
    norms = np.sqrt(squares)
    between = np.sqrt(np.clip(squares[:, None] + squares[None, :] - 2 * centred, 0.0, None))
    np.fill_diagonal(between, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = np.clip(centred / np.outer(norms, norms), -1.0, 1.0)
    cosines[~np.isfinite(cosines)] = np.nan
    nearest = between.argmin(axis=1)
    alone = len(present) < 2
    within = np.full(len(present), np.nan) if geometry.within is None else geometry.within[present]
    return ClassDetails(
        classes=present.astype(np.int64),
        counts=counts,
        norms=norms,
        spreads=np.sqrt(within),
        nearest=np.full(1, -1) if alone else present[nearest].astype(np.int64),
        distances=between.min(axis=1),
        cosines=cosines,
        between=between,
    )
