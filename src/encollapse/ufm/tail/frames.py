"""Tight frames of equal norm that sum to zero: projections of rank r on ``1^⊥`` with a constant diagonal.

K unit vectors in r dimensions that sum to zero and have equal moments in all directions are a spherical 2-design. There
is one for ``r + 1 ≤ K`` points unless r is odd and ``K = r + 2`` :cite:p:`mimura1990`. In one dimension K must be even.
"""

from __future__ import annotations

import numpy as np

from encollapse._internal.typing import FloatArray

_ROUNDS = 20000  # of alternating projections, which converge linearly
_ACCURACY = 1e-13  # rounding of K entries


def centered_frame(rank: int, num_classes: int) -> FloatArray | None:
    """Return r orthonormal rows (r, K) with columns of equal norm and sum zero, or None where there are none.

    Cosines and sines of whole frequencies make them for even r, and with the alternating signs for even K. The rest are
    found by projecting in turn on constant diagonals and on projections of rank r.
    """
    r, k = rank, num_classes
    if r == k - 1:
        return np.asarray(np.linalg.qr(np.eye(k) - 1.0 / k)[0][:, : k - 1].T)
    if r % 2 == 0 or k % 2 == 0:
        angles = 2 * np.pi * np.outer(np.arange(1, r // 2 + 1), np.arange(k)) / k
        rows = [np.sqrt(2.0 / k) * np.cos(angles), np.sqrt(2.0 / k) * np.sin(angles)]
        if r % 2:
            rows.append(((-1.0) ** np.arange(k) / np.sqrt(k))[None, :])
        return np.vstack(rows)
    if r == 1 or k == r + 2:
        return None
    generator = np.random.default_rng(0)
    center = np.eye(k) - 1.0 / k
    start = center @ generator.standard_normal((k, r))
    frame = np.linalg.qr(start)[0]
    for _ in range(_ROUNDS):
        projection = frame @ frame.T
        if np.abs(np.diag(projection) - r / k).max() <= _ACCURACY:
            return np.asarray(frame.T)
        projection[np.diag_indices(k)] = r / k
        frame = np.linalg.eigh(center @ projection @ center)[1][:, k - r :]
    return None
