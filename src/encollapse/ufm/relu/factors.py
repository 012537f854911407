"""Classifier and non-negative class means, in as few dimensions as they are known to fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.mse.factors import DenseFactors

_IDLE = 1e-7
"""Singular value of Z, relative to the largest, up to which a direction is none."""

_ZERO = 1e-9
"""Length of a row, relative to the longest, up to which it is none."""

_FLAT = 1e-6
"""Third singular value, relative to the first, up to which two dimensions are tried."""


def fewest_rows(features: FloatArray, loss: Callable[[FloatArray], float]) -> FloatArray:
    """Return features with the same Gram matrix, to rounding, in fewer rows where that is known to be possible.

    Rows of zeros are dropped, and parallel rows are merged, which is a rotation of their plane. Class means of rank
    at most two with angles of at most 90° span a cone of at most 90°, and a rotation takes that into the quadrant.

    Parameters
    ----------
    features : (d, K)
        Without negative entries.
    loss : callable
        Loss of features, which must not grow.
    """
    before = loss(features)
    lengths = np.linalg.norm(features, axis=1)
    used = np.asarray(features[lengths > _ZERO * lengths.max(initial=0.0)])
    candidates = [used]
    if len(used) > 1:
        values = np.linalg.svd(used, compute_uv=False)
        candidates.append(_merged(used))
        if len(values) < 3 or values[2] <= _FLAT * values[0]:
            candidates.append(in_a_quadrant(used))
    for fewer in sorted(candidates, key=len):
        if len(fewer) < len(features) and loss(fewer) <= before * (1.0 + 1e-13):
            return fewer
    return features


def _merged(features: FloatArray) -> FloatArray:
    """Replace parallel rows by one of the same Gram matrix."""
    lengths = np.linalg.norm(features, axis=1)
    units = features / lengths[:, None]
    parallel = 1.0 - (units @ units.T) ** 2 <= _FLAT**2
    firsts, groups = np.unique(parallel.argmax(axis=1), return_inverse=True)
    return np.asarray(np.sqrt(np.bincount(groups, lengths**2, len(firsts)))[:, None] * units[firsts])


def in_a_quadrant(features: FloatArray) -> FloatArray:
    """Best approximation of rank two, turned so that no entry is negative, (1 or 2, K)."""
    _, values, vectors = np.linalg.svd(features, full_matrices=False)
    plane = values[:2, None] * vectors[:2]
    if len(values) == 1 or values[1] <= _FLAT * values[0]:
        return np.asarray(np.abs(plane[:1]))
    # The first right vector of a matrix without negative entries has one sign: angles lie about an axis.
    plane[0] = np.abs(plane[0])
    angles = np.arctan2(plane[1], plane[0])
    lengths = np.linalg.norm(plane, axis=0)
    angles -= float(angles[lengths > _ZERO * lengths.max()].min())
    return np.asarray(np.maximum(lengths * np.stack([np.cos(angles), np.sin(angles)]), 0.0))


class NonnegativeFactors(DenseFactors):
    """Class means without negative entries, which are padded and not rotated.

    Their rank can be below the number of rows. How few dimensions hold non-negative vectors with a given Gram matrix is
    a hard question, the completely positive rank :cite:p:`berman2003`, so no row goes that is not known to be idle.
    """

    @classmethod
    def of(cls, weight: FloatArray, features: FloatArray, root_priors: FloatArray) -> NonnegativeFactors:
        """Make them of a classifier (q, r) and weighted features (r, K)."""
        values = np.zeros(min(len(weight), features.shape[1]))
        found = np.linalg.svd(weight @ features, compute_uv=False)[: min(features.shape)]
        values[: len(found)] = found[: len(values)]
        return cls(weight, features / root_priors, values, rotatable=False)

    @property
    def rank(self) -> int:
        """Number of directions of Z."""
        return int(np.count_nonzero(self.values > _IDLE * self.values.max(initial=0.0)))

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Pad to `feature_dim` dimensions."""
        if self.rank <= feature_dim < self.dimension:
            raise ArgumentError(
                f"feature_dim: these class means without negative entries were found in {self.dimension} dimensions; "
                f"that their rank is {self.rank} does not say that {feature_dim} hold them. Give feature_dim="
                f"{self.dimension} or more here, or solve the problem with feature_dim={feature_dim}"
            )
        return super().parameters(feature_dim, seed)
