"""What published codes compute, formula by formula, in loops over classes; their own averages and divisors.

Class means ``m_k``, global mean ``μ``, N samples, K classes, d dimensions; every code sees all classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def papyan2020(features: Array, labels: NDArray[Any]) -> dict[str, float]:
    """The paper, for balanced data: plain averages over classes of what is averaged within a class."""
    means, covariances = _by_class(features, labels)
    center = means.mean(axis=0)
    between = sum(np.outer(m - center, m - center) for m in means) / len(means)
    within = sum(covariances) / len(means)
    return {"nc1_pinv": _quotient(within, between) / len(means)}


def zhu2021(features: Array, labels: NDArray[Any], weight: Array | None = None) -> dict[str, float]:
    """``μ`` and ``Σ_W`` over samples, ``Σ_B`` over classes about that ``μ``; NC3 against (I - J/K)/√(K-1)."""
    means, _ = _by_class(features, labels)
    size, center = len(means), features.mean(axis=0)
    between = sum(np.outer(m - center, m - center) for m in means) / size
    values = {"nc1_pinv": _quotient(_over_samples(features, labels, means), between) / size}
    if weight is not None:
        product = weight @ (means - center).T
        target = (np.eye(size) - np.ones((size, size)) / size) / np.sqrt(size - 1)
        values["nc3_alignment"] = float(np.linalg.norm(product / np.linalg.norm(product) - target))
    return values


def wu2024(features: Array, labels: NDArray[Any], weight: Array | None = None) -> dict[str, float]:
    """``μ`` over classes, ``Σ_W`` over samples, ``Σ_B`` over classes; traces of both; NC2, NC3."""
    means, _ = _by_class(features, labels)
    size, centered = len(means), means - means.mean(axis=0)
    between = centered.T @ centered / size
    within = _over_samples(features, labels, means)
    target = (np.eye(size) - 1 / size) / np.sqrt(size - 1)
    gram = centered @ centered.T
    values = {
        "nc1_pinv": _quotient(within, between) / size,
        "nc1_trace_ratio": float(np.trace(within) / np.trace(between)),
        "nc2_etf": float(np.linalg.norm(gram / np.linalg.norm(gram) - target)),
    }
    if weight is not None:
        product = weight @ centered.T
        values["nc3_alignment"] = float(np.linalg.norm(product / np.linalg.norm(product) - target))
    return values


def _by_class(features: Array, labels: NDArray[Any]) -> tuple[Array, list[Array]]:
    groups = [features[labels == k] for k in sorted(set(labels.tolist()))]
    means = np.array([g.mean(axis=0) for g in groups])
    return means, [(g - m).T @ (g - m) / len(g) for g, m in zip(groups, means, strict=True)]


def _over_samples(features: Array, labels: NDArray[Any], means: Array) -> Array:
    total = np.zeros((features.shape[1],) * 2)
    for x, k in zip(features, labels, strict=True):
        total += np.outer(x - means[k], x - means[k])
    return total / len(features)


def _quotient(within: Any, between: Any) -> float:
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10, hermitian=True)))
