"""Three directions of feature space to look along, chosen so that a frame is seen turning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal.typing import FloatArray

_EQUAL = 1e-6
"""Relative difference up to which directions are equally good to look along."""

_ZERO = 1e-9  # share of the length of the means that cannot be seen in a picture


@dataclass(frozen=True)
class Picture:
    """Class means and classifier rows in three dimensions.

    Attributes
    ----------
    means : (K, 3)
        The longest one drawn has length 1.
    rows : (q, 3)
        Rows of the classifier, likewise.
    samples : (n, 3)
        Features of samples, drawn to the same scale as the means.
    shown : float
        Share of the squared length of the class means that the three directions hold.
    """

    means: FloatArray
    rows: FloatArray
    samples: FloatArray
    shown: float


def picture(
    weight: FloatArray,
    means: FloatArray,
    priors: FloatArray,
    *,
    axes: str = "turning",
    previous: FloatArray | None = None,
    blur: float = _ZERO,
    samples: FloatArray | None = None,
) -> Picture:
    """Project a classifier (q, d), class means (d, K) and samples (n, d) on three directions.

    ``"turning"``: the first is the global mean ``Σ π_k m_k``, about which a frame opens and closes like an umbrella.
    The other two are those in which the means come nearest to a regular polygon, so that every class has its place.
    ``"leading"``: the three that hold most of the means. Where several hold equally much, as all do for a simplex
    equiangular tight frame, those that change the picture least. The result is turned to the `previous` one (K, 3) by
    an orthogonal Procrustes rotation :cite:p:`schoenemann1966`, so that nothing but the geometry moves. A global mean
    below `blur` times the longest class mean has no direction: that of a trained network is noise.
    """
    polygon = _polygon(means.shape[1])
    last = previous if previous is not None and len(previous) == len(polygon) else polygon
    room = max(0, 3 - len(means))
    means, weight = np.pad(means, ((0, room), (0, 0))), np.pad(weight, ((0, 0), (0, room)))
    if axes == "leading":
        plane = _directions(means, last)
        plane = plane @ _rotation(means.T @ plane, last)
    else:
        first = _mean_direction(means, priors, blur)
        # What is orthogonal to the first direction, so that no direction is drawn twice.
        beside = np.eye(len(means)) if first is None else np.linalg.svd(first[:, None])[0][:, 1:]
        around = beside @ _nearest_frame(beside.T @ means, polygon[:, 1:])
        around = around @ _rotation(means.T @ around, last[:, 1:])
        plane = np.column_stack([np.zeros(len(means)) if first is None else first, around])
    drawn, rows = means.T @ plane, weight @ plane
    total = float(np.sum(means**2))
    shown = float(np.sum(drawn**2)) / total if total > 0 else 1.0
    dots = np.zeros((0, 3)) if samples is None else np.pad(samples, ((0, 0), (0, room))) @ plane
    longest = float(np.linalg.norm(drawn, axis=1).max(initial=0.0))
    return Picture(_unit(drawn), _unit(rows), dots / longest if longest > 0 else dots, shown)


def _mean_direction(means: FloatArray, priors: FloatArray, blur: float) -> FloatArray | None:
    mean = means @ priors
    length = float(np.linalg.norm(mean))
    longest = float(np.linalg.norm(means, axis=0).max())
    return None if length <= blur * longest or length == 0.0 else mean / length


def _polygon(num_classes: int) -> FloatArray:
    """Where the means would stand in a regular polygon (K, 3)."""
    angle = 2 * np.pi * np.arange(num_classes) / num_classes
    return np.column_stack([np.zeros(num_classes), np.cos(angle), np.sin(angle)])


def _nearest_frame(means: FloatArray, wanted: FloatArray) -> FloatArray:
    """Orthonormal columns (d, n) in which the means (d, K) come nearest to `wanted` (K, n)."""
    left, _, right = np.linalg.svd(means @ wanted, full_matrices=False)
    return np.asarray(left @ right)


def _directions(means: FloatArray, template: FloatArray) -> FloatArray:
    """Orthonormal columns (d, n) that hold most of the means, among equals those nearest to the template."""
    n = template.shape[1]
    vectors, roots, _ = np.linalg.svd(means, full_matrices=True)
    energy = np.zeros(len(means))
    energy[: len(roots)] = roots**2
    taken = np.zeros((len(means), 0))
    while (have := taken.shape[1]) < n:
        least = energy[have] * (1 - _EQUAL) - _ZERO * energy[0]
        group = vectors[:, have : max(int(np.count_nonzero(energy >= least)), have + 1)]
        if group.shape[1] > n - have:
            seen = means.T @ taken
            unseen = template - seen @ np.linalg.pinv(seen) @ template
            left, _, _ = np.linalg.svd(group.T @ means @ unseen)
            group = group @ left[:, : n - have]
        taken = np.hstack([taken, group])
    return taken


def _rotation(drawn: FloatArray, wanted: FloatArray) -> FloatArray:
    """Orthogonal matrix Q (n, n) that brings ``drawn Q`` nearest to `wanted`."""
    if not np.any(drawn) or not np.any(wanted):
        return np.eye(drawn.shape[1])
    left, _, right = np.linalg.svd(drawn.T @ wanted)
    return np.asarray(left @ right)


def _unit(points: FloatArray) -> FloatArray:
    longest = float(np.linalg.norm(points, axis=1).max()) if len(points) else 0.0
    return points / longest if longest > 0 else points
