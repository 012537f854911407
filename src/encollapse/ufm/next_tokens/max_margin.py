"""Logits of least nuclear norm whose margins are 1: the direction in which logits of next tokens grow.

    min |R L C|_*   over   L[z, j] = L[z', j],   L[z, j] - L[v, j] >= 1   for z, z' in the support of j and v outside

with diagonal weights R and C. Any matrix G with columns (of ``R G C``) that sum to 0 and are nowhere positive outside
the support bounds it from below by minus their sum there, divided by the operator norm of G.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.ufm.certificate import Certificate, certify

TOLERANCE = 1e-6
"""Relative duality gap up to which the direction counts as proved."""

_AIM = 1e-9  # relative gap at which the iteration ends
_ITERATIONS = 20_000  # at most: some hundred are the rule
_LOOKED_AT = 10  # iterations from one look at the gap to the next


@dataclass(frozen=True, eq=False)
class Margins:
    """The constraints, for dense `inside` (R, C), which is True within the support, and the weights."""

    inside: np.ndarray
    rows: FloatArray
    columns: FloatArray

    def nearest(self, matrix: FloatArray) -> FloatArray:
        """The weighted logits with margins of at least 1 that are nearest to a matrix (R, C)."""
        logits = matrix / self.rows[:, None] / self.columns
        heavy = (self.rows**2)[:, None]
        total = np.where(self.inside, heavy, 0.0).sum(axis=0)
        level = np.where(self.inside, heavy * logits, 0.0).sum(axis=0)
        # Tokens outside count where they are above the common level less 1: the highest ones, as many as it takes.
        asked = np.where(self.inside, -np.inf, logits + 1.0)
        order = np.argsort(-asked, axis=0)
        asked = np.take_along_axis(asked, order, axis=0)
        outside = np.isfinite(asked)
        weights = np.where(outside, np.take_along_axis(np.broadcast_to(heavy, asked.shape), order, axis=0), 0.0)
        zero = np.zeros((1, asked.shape[1]))
        totals = total + np.vstack([zero, np.cumsum(weights, axis=0)])
        sums = level + np.vstack([zero, np.cumsum(weights * np.where(outside, asked, 0.0), axis=0)])
        levels = sums / totals
        enough = levels >= np.vstack([asked, np.full_like(zero, -np.inf)])
        found = np.take_along_axis(levels, enough.argmax(axis=0)[None], axis=0)
        nearest = np.where(self.inside, found, np.minimum(logits, found - 1.0))
        return np.asarray(nearest * self.rows[:, None] * self.columns)

    def bound(self, dual: FloatArray) -> float:
        """Lower bound of the nuclear norm from a matrix (R, C), which is first brought into the dual cone."""
        forces = dual * self.rows[:, None] * self.columns
        forces = np.where(self.inside, forces, np.minimum(forces, 0.0))
        inner = np.where(self.inside, (self.rows**2)[:, None], 0.0)
        forces -= inner * (forces.sum(axis=0) / inner.sum(axis=0))
        norm = np.linalg.norm(forces / self.rows[:, None] / self.columns, 2)
        value = -float(np.where(self.inside, 0.0, forces).sum())
        return max(value / float(norm), 0.0) if norm > 0 else 0.0


def least_nuclear_norm(
    margins: Margins, start: FloatArray, *, iterations: int = _ITERATIONS
) -> tuple[FloatArray, Certificate, int]:
    """Minimize by Douglas-Rachford splitting from weighted logits `start` (R, C) with margins of 1.

    Returns
    -------
    matrix (R, C), certificate, int
        Weighted logits with all margins, the evidence, and the iterations taken.
    """
    left, singular, right = np.linalg.svd(start, full_matrices=False)
    kept = singular > 1e-12 * singular.max(initial=0.0)
    polar = left[:, kept] @ right[kept]
    best, value, lower = start, float(singular.sum()), margins.bound(polar)
    step = float(singular.mean()) or 1.0
    state = start + step * polar
    done = 0
    while value - lower > _AIM * value and done < iterations:
        left, singular, right = np.linalg.svd(state, full_matrices=False)
        shrunk = (left * np.maximum(singular - step, 0.0)) @ right
        point = margins.nearest(2.0 * shrunk - state)
        if done % _LOOKED_AT == 0:
            lower = max(lower, margins.bound((state + point - 2.0 * shrunk) / step))
            norm = float(np.linalg.svd(point, compute_uv=False).sum())
            if norm < value:
                best, value = point, norm
        state = state + point - shrunk
        done += 1
    return best, certify(value, min(lower, value), tolerance=TOLERANCE), done
