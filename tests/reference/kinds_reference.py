"""Slow, obvious forms of the measures of regression, of unseen data and of kernels."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from reference.collapse_reference import Array


def nrc(features: Array, targets: Array, weight: Array) -> tuple[float, float, float]:
    """NRC1 to NRC3, the last by trying five hundred shifts: an upper bound, right to about 1e-3."""
    size = targets.shape[1]
    centered = features - features.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(features.T))
    outside = []
    for basis in (vectors[:, -size:], weight.T):
        projector = basis @ np.linalg.pinv(basis)
        units = [h / np.linalg.norm(h) for h in centered]
        outside.append(float(np.mean([np.sum((h - projector @ h) ** 2) for h in units])))
    root = np.real(sqrtm(np.cov(targets.T, ddof=0)))
    unit = weight @ weight.T / np.linalg.norm(weight @ weight.T)
    shifts = [root - s * np.eye(size) for s in np.linspace(0, np.linalg.eigvalsh(root)[0] * 0.9999, 500)]
    third = min(np.linalg.norm(unit - t / np.linalg.norm(t)) ** 2 for t in shifts)
    return outside[0], outside[1], float(third)


def tag_angle(features: Array, tags: list[tuple[int, ...]], several: tuple[int, ...]) -> float:
    """Degrees between the mean of the samples with several tags and the sum of those of the single ones."""

    def mean_of(wanted: tuple[int, ...]) -> Array:
        return np.asarray(np.mean([h for h, own in zip(features, tags, strict=True) if own == wanted], axis=0))

    alone = sorted({own for own in tags if len(own) == 1})
    center = np.mean([mean_of(own) for own in alone], axis=0)
    whole = mean_of(several) - center
    parts = np.sum([mean_of((tag,)) - center for tag in several], axis=0)
    return float(np.degrees(np.arccos(whole @ parts / np.linalg.norm(whole) / np.linalg.norm(parts))))


def nc5(features: Array, labels: NDArray[Any], unseen: Array) -> float:
    """Mean over classes of ``|cos|`` of class mean and mean of unseen data."""
    other = unseen.mean(axis=0)
    means = [features[labels == k].mean(axis=0) for k in sorted(set(labels.tolist()))]
    return float(np.mean([abs(m @ other) / np.linalg.norm(m) / np.linalg.norm(other) for m in means]))


def nci_score(h: Array, weight: Array, mean: Array, l1_weight: float) -> float:
    """Score of one sample: its projection on the row of the class it is taken for, and its length."""
    row = weight[(weight @ h).argmax()]
    return float(row @ (h - mean) / np.linalg.norm(h - mean) + l1_weight * np.abs(h).sum())


def neco_score(h: Array, train: Array, size: int) -> float:
    """Share of the length of one sample in the principal directions of the training features."""
    _, vectors = np.linalg.eigh(np.cov(train.T))
    moved = h - train.mean(axis=0)
    return float(np.linalg.norm(vectors[:, -size:].T @ moved) / np.linalg.norm(moved))


def auroc(high: NDArray[Any], low: NDArray[Any]) -> float:
    """Share of pairs in the right order, ties counting one half."""
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in product(high, low)]))
