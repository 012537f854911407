"""Three directions of feature space to look along, chosen so that a frame is seen turning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._typing import FloatArray

_EQUAL = 1e-6
"""Relative difference up to which directions are equally good to look along."""

_ZERO = 1e-9


@dataclass(frozen=True)
class Picture:
    """Class means and classifier rows in three dimensions.

    Attributes
    ----------
    means : (K, 3)
        The longest one drawn has length 1.
    rows : (q, 3)
        Rows of the classifier, likewise.
    shown : float
        Share of the squared length of the class means that the three directions hold.
    """

    means: FloatArray
    rows: FloatArray
    shown: float


def picture(
    weight: FloatArray,
    means: FloatArray,
    priors: FloatArray,
    *,
    axes: str = "turning",
    previous: FloatArray | None = None,
) -> Picture:
    """Project a classifier (q, d) and class means (d, K) on three directions.

    ``"turning"``: the first is the global mean ``Σ π_k m_k``, about which a frame opens and closes like an
    umbrella; the others hold most of what remains. ``"leading"``: the three that hold most. Where several
    directions are equally good, as all are for a simplex equiangular tight frame, those are taken that change
    the picture least; the result is then turned to the `previous` one (K', 3) by an orthogonal Procrustes
    rotation :cite:p:`schoenemann1966`, so that nothing but the geometry moves.
    """
    last = _template(means.shape[1], previous)
    room = max(0, 3 - len(means))
    means, weight = np.pad(means, ((0, room), (0, 0))), np.pad(weight, ((0, 0), (0, room)))
    first = _mean_direction(means, priors) if axes == "turning" else None
    # What is orthogonal to the first direction, so that no direction is drawn twice.
    beside = np.eye(len(means)) if first is None else np.linalg.svd(first[:, None])[0][:, 1:]
    planar = axes == "turning"
    wanted = last[:, 1:] if planar else last
    plane = beside @ _directions(beside.T @ means, wanted)
    plane = plane @ _procrustes(means.T @ plane, wanted)
    if planar:
        column = np.zeros((len(means), 1)) if first is None else first[:, None]
        plane = np.hstack([column, plane])
    drawn, rows = means.T @ plane, weight @ plane
    total = float(np.sum(means**2))
    shown = float(np.sum(drawn**2)) / total if total > 0 else 1.0
    return Picture(_unit(drawn), _unit(rows), shown)


def _mean_direction(means: FloatArray, priors: FloatArray) -> FloatArray | None:
    mean = means @ priors
    length = float(np.linalg.norm(mean))
    longest = float(np.linalg.norm(means, axis=0).max())
    return None if length <= _ZERO * longest or length == 0.0 else mean / length


def _template(num_classes: int, previous: FloatArray | None) -> FloatArray:
    """Where the means would best be (K, 3): as before, and new ones on a regular polygon."""
    angle = 2 * np.pi * np.arange(num_classes) / num_classes
    template = np.column_stack([np.zeros(num_classes), np.cos(angle), np.sin(angle)])
    if previous is not None and len(previous) == num_classes:
        return previous
    return template


def _directions(means: FloatArray, template: FloatArray) -> FloatArray:
    """Orthonormal columns (d, n) that hold most of the means; among equals, those nearest to the template."""
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


def _procrustes(drawn: FloatArray, wanted: FloatArray) -> FloatArray:
    """Orthogonal matrix Q (n, n) that brings ``drawn Q`` nearest to `wanted`."""
    if not np.any(drawn) or not np.any(wanted):
        return np.eye(drawn.shape[1])
    left, _, right = np.linalg.svd(drawn.T @ wanted)
    return np.asarray(left @ right)


def _unit(points: FloatArray) -> FloatArray:
    longest = float(np.linalg.norm(points, axis=1).max()) if len(points) else 0.0
    return points / longest if longest > 0 else points
