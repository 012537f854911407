"""Collapse from a kernel alone: inner products of features, no coordinates and no covariance."""

from __future__ import annotations

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.errors import ArgumentError
from encollapse.metrics.linear_algebra import NUMPY, factor, without_null_direction


def kernel_nc1(kernel: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """NC1 from the kernel ``H Hᵀ`` of N samples: ``nc1_pinv``, ``nc1_trace_ratio`` and their ``floor``, by default
    convention.

    Worth its while where N is below the feature dimension, or where only a kernel is known (an
    infinitely wide network, say). Differences of kernel entries lose digits as features collapse: ``floor`` is the
    ratio of traces that rounding of the entries alone can make, and below it both values are rounding.

    Parameters
    ----------
    kernel : (N, N)
        Symmetric and positive semidefinite.
    labels : (N,) ints
        Classes, whole numbers of 0 or above.

    Returns
    -------
    dict
        The three numbers by name.

    Raises
    ------
    ArgumentError
        If shapes disagree, the kernel is not symmetric, or the class means are not affinely independent.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> features = np.eye(3, 7)[[0, 0, 1, 1, 2, 2]] + 0.1 * np.eye(6, 7)
    >>> found = ec.measure.kernel_nc1(features @ features.T, [0, 0, 1, 1, 2, 2])
    >>> round(found["nc1_trace_ratio"], 4)
    0.0075
    """
    given = checks.to_numpy(kernel, "kernel").dtype
    gram = checks.array(kernel, "kernel", (None, None), axes="(num_samples, num_samples)")
    if gram.shape[0] != gram.shape[1] or not np.allclose(gram, gram.T, rtol=1e-6, atol=1e-9 * np.abs(gram).max()):
        raise ArgumentError(f"kernel: expected a symmetric square matrix, got shape {gram.shape}")
    targets = checks.class_labels(labels, 2**62)
    if len(targets) != len(gram):
        raise ArgumentError(f"labels: got {len(targets)} labels for {len(gram)} rows of the kernel")
    classes, place, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ArgumentError("labels: at least two classes with samples are needed")
    priors = counts / len(gram)
    members = (np.arange(len(classes))[:, None] == place) / counts[:, None]
    about_mean = members - 1.0 / len(gram)  # Mc = about_mean H
    weighted = without_null_direction(np.sqrt(priors)[:, None] * about_mean, np.sqrt(priors))
    between = weighted @ gram @ weighted.T
    residuals = gram - gram @ members.T @ np.eye(len(classes))[:, place]  # H Rᵀ
    spread = weighted @ residuals  # (K - 1, N): means against residuals
    lower = factor((between + between.T) / 2)
    if lower is None:
        raise ArgumentError("kernel: the class means are (nearly) affinely dependent, so Σ_B has no safe inverse")
    half = NUMPY.solve(lower, NUMPY.solve(lower, spread), transposed=True)
    within = float(np.trace(gram) - (counts * np.einsum("kn,nm,km->k", members, gram, members)).sum())
    eps = max(float(np.finfo(given).eps) if given.kind == "f" else 0.0, float(np.finfo(np.float64).eps))
    spread_between = float(np.trace(between))
    return {
        "nc1_pinv": float(np.square(half).sum()) / len(gram) / len(classes),
        "nc1_trace_ratio": max(within, 0.0) / len(gram) / spread_between,
        "floor": 4 * eps * float(np.trace(gram)) / len(gram) / spread_between,
    }
