"""NRC1 to NRC3: the collapse of features under regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError
from encollapse.metrics import nrc1
from encollapse.metrics.linear_algebra import squarable


@dataclass(frozen=True)
class RegressionCollapse:
    """How far features of a regression have collapsed :cite:p:`andriopoulos2024`. 0 is collapse.

    The paper takes ``h̃ = h/|h|``. Here the mean of the features is taken off first, so that a shift of the
    features changes nothing. Both are the same where that mean is zero, as at the minimum with a free bias.

    Parameters
    ----------
    nrc1 : float
        Mean of ``|h̃ - proj(h̃ | U)|²`` with ``h̃ = (h - μ)/|h - μ|`` and U the q leading principal directions
        of the features, q the dimension of the targets. From 0 to 1.
    nrc2 : float
        Mean of ``|h̃ - proj(h̃ | rows of W)|²``. From 0 to 1.
    nrc3 : float
        ``min_γ |WWᵀ/|WWᵀ| - (Σ^½ - γ^½ I)/|Σ^½ - γ^½ I||²_F`` over ``0 ≤ γ < λ_min(Σ)``, Σ the covariance of
        the targets.
    gamma : float
        The γ at which the minimum is, in squared units of the targets.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.measure.RegressionCollapse(nrc1=0.25, nrc2=0.5, nrc3=0.125, gamma=0.0).nrc1
    0.25
    """

    nrc1: float
    nrc2: float
    nrc3: float
    gamma: float


def regression_collapse(features: ArrayLike, targets: ArrayLike, weight: ArrayLike) -> RegressionCollapse:
    """Measure NRC1 to NRC3 in float64.

    Parameters
    ----------
    features : (N, d)
        Last-hidden-layer features, one row a sample.
    targets : (N, q)
        One dimensional targets (N,) are taken for (N, 1).
    weight : (q, d)
        Weight of the last linear layer.

    Returns
    -------
    RegressionCollapse
        The three measures.

    Raises
    ------
    ArgumentError
        If shapes disagree, an entry is not finite, all features are the same, or the weight is zero.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> targets = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    >>> features = targets @ np.eye(2, 7)          # they lie in the span of two directions
    >>> found = ec.measure.regression_collapse(features, targets, weight=np.eye(2, 7))
    >>> round(found.nrc1, 12) + 0.0, round(found.nrc2, 12) + 0.0
    (0.0, 0.0)
    """
    rows = checks.array(features, "features", (None, None), axes="(num_samples, feature_dim)")
    values = checks.to_numpy(targets, "targets")
    values = checks.array(
        values[:, None] if values.ndim == 1 else values, "targets", (len(rows), None), axes="(num_samples, q)"
    )
    matrix = squarable(checks.array(weight, "weight", (values.shape[1], rows.shape[1]), axes="(q, feature_dim)"))
    rows = squarable(rows)
    centered = rows - rows[0]
    centered -= centered.mean(axis=0)
    lengths = np.linalg.norm(centered, axis=1)
    if not lengths.any():
        raise ArgumentError("features: all rows are the same; nothing to measure")
    if not matrix.any():
        raise ArgumentError("weight: is zero, so it has no row space")
    kept = centered[lengths > 0] / lengths[lengths > 0, None]
    _, singular, row_space = np.linalg.svd(matrix, full_matrices=False)
    row_space = row_space[singular > np.finfo(np.float64).eps * max(matrix.shape) * singular[0]]
    nrc3, gamma = _nrc3(matrix, values)
    return RegressionCollapse(nrc1(centered, values.shape[1]), _outside(kept, row_space), nrc3, gamma)


def _outside(units: FloatArray, directions: FloatArray) -> float:
    rest = units - (units @ directions.T) @ directions
    return float(np.square(rest).sum(axis=1).mean())


def _nrc3(weight: FloatArray, targets: FloatArray) -> tuple[float, float]:
    unit = float(np.abs(targets).max()) or 1.0
    spectrum, axes = eigh(np.atleast_2d(np.cov(targets.T / unit, ddof=0)))
    root = np.sqrt(spectrum.clip(min=0.0))
    if root[-1] == 0.0:
        raise ArgumentError("targets: all rows are the same; their covariance is zero")
    gram = axes.T @ (weight @ weight.T) @ axes
    gram /= np.linalg.norm(gram)

    def distance(shift: float) -> float:
        target = root - shift
        length = float(np.linalg.norm(target))
        return float(np.square(gram - np.diag(target / length)).sum()) if length > 0 else np.inf

    found = minimize_scalar(distance, bounds=(0.0, float(root[0])), method="bounded", options={"xatol": 1e-12})
    best = min((0.0, float(found.x)), key=distance)
    shift = best * unit
    return distance(best), shift * shift
