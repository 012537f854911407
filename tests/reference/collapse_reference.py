"""Slow, obvious collapse metrics: textbook formulas with loops and pinv, straight from features and labels."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Moments:
    """Two-pass moments of the present classes, centered as the averaging says."""

    classes: list[int]
    counts: list[int]
    means: Array  # (P, d)
    covariances: list[Array]
    weights: list[float]
    global_mean: Array
    between: Array
    within: Array

    @property
    def centered(self) -> Array:
        return self.means - self.global_mean


def moments(features: Array, labels: NDArray[Any], averaging: str = "sample") -> Moments:
    rows = np.asarray(features, dtype=np.float64)
    classes = sorted({int(y) for y in labels})
    groups = [rows[labels == k] for k in classes]
    counts = [len(g) for g in groups]
    means = np.array([g.mean(axis=0) for g in groups])
    covariances = [(g - m).T @ (g - m) / len(g) for g, m in zip(groups, means, strict=True)]
    by_sample = averaging == "sample"
    weights = [n / sum(counts) if by_sample else 1 / len(classes) for n in counts]
    global_mean = sum((w * m for w, m in zip(weights, means, strict=True)), np.zeros(rows.shape[1]))
    between = np.zeros((rows.shape[1],) * 2)
    within = np.zeros_like(between)
    for w, m, c in zip(weights, means, covariances, strict=True):
        between += w * np.outer(m - global_mean, m - global_mean)
        within += w * c
    return Moments(classes, counts, means, covariances, weights, global_mean, between, within)


def metrics(
    features: Array,
    labels: NDArray[Any],
    averaging: str = "sample",
    weight: Array | None = None,
    bias: Array | None = None,
    codewords: Array | None = None,
) -> dict[str, float]:
    """Every metric that is defined for generic features; absent classes are left out."""
    s = moments(features, labels, averaging)
    k, d = len(s.classes), s.means.shape[1]
    pairs = list(combinations(range(k), 2))
    norms = np.array([np.linalg.norm(m) for m in s.centered])
    cosines = np.array([s.centered[i] @ s.centered[j] / norms[i] / norms[j] for i, j in pairs])
    simplex = (k * np.eye(k) - np.ones((k, k))) / (k - 1)
    pinv = np.linalg.pinv(s.between, rcond=1e-10, hermitian=True)
    total = np.linalg.pinv(s.within + s.between, rcond=1e-12, hermitian=True)
    units = s.centered / norms[:, None]
    result = {
        "nc1_pinv": np.trace(s.within @ pinv) / k,
        "nc1_trace_ratio": np.trace(s.within) / np.trace(s.between),
        "nc1_normalized": np.trace(s.within) / (np.trace(s.within) + np.trace(s.between)),
        "cdnv": np.mean(
            [
                (np.trace(s.covariances[i]) + np.trace(s.covariances[j])) / (2 * np.sum((s.means[i] - s.means[j]) ** 2))
                for i, j in pairs
            ]
        ),
        "vci": 1 - np.trace(total @ s.between) / min(d, k - 1),
        "nc2_equinorm": np.std(norms) / np.mean(norms),
        "nc2_equiangular": np.std(cosines),
        "nc2_max_angle": np.mean(np.abs(cosines + 1 / (k - 1))),
        "nc2_etf": shape_distance(s.centered @ s.centered.T, simplex),
        "nc2_etf_uncentered": shape_distance(s.means @ s.means.T, simplex),
        "nc2_orthogonal": shape_distance(s.means @ s.means.T, np.eye(k)),
        "gnc2_log": np.std([np.log(1 / np.linalg.norm(units[i] - units[j])) for i, j in pairs]),
        "floor": (np.finfo(features.dtype).eps * max(np.linalg.norm(m) for m in s.means)) ** 2 / np.trace(s.between),
    }
    if weight is not None:
        result |= _with_classifier(s, features, labels, weight, bias, codewords)
    return {name: float(value) for name, value in result.items()}


def _with_classifier(
    s: Moments, features: Array, labels: NDArray[Any], weight: Array, bias: Array | None, codewords: Array | None
) -> dict[str, Any]:
    offset = np.zeros(len(weight)) if bias is None else bias
    outputs = np.asarray(features, dtype=np.float64) @ weight.T + offset
    near = np.array([s.classes[nearest(h, list(s.means))] for h in np.asarray(features, dtype=np.float64)])
    if codewords is None:
        decided = np.array([int(np.argmax(o)) for o in outputs])
    else:
        decided = np.array([nearest(o, list(codewords.T)) for o in outputs])
    result: dict[str, Any] = {
        "nc4_agreement": np.mean(decided == near),
        "ncc_accuracy": np.mean(near == labels),
        "accuracy": np.mean(decided == labels),
    }
    if codewords is not None:
        mean = codewords[:, labels].mean(axis=1)
        result["bias_to_label_mean"] = np.linalg.norm(offset - mean)
        result["label_centering"] = np.linalg.norm(outputs.mean(axis=0) - mean)
    # |W(X - Y)Wᵀ|/|WXWᵀ| and |Mᵀ(X - Y)M|/|MᵀYM|, with X = WᵀW and Y = Σ n m mᵀ of the same trace.
    x, y = (
        weight.T @ weight,
        sum((n * np.outer(m, m) for n, m in zip(s.counts, s.means, strict=True)), np.zeros((1, 1))),
    )
    y = y * (np.trace(x) / np.trace(y))
    scaled = np.sqrt(s.counts) * s.means.T
    result["balance"] = max(
        np.linalg.norm(weight @ (x - y) @ weight.T) / np.linalg.norm(weight @ x @ weight.T),
        np.linalg.norm(scaled.T @ (x - y) @ scaled) / np.linalg.norm(scaled.T @ y @ scaled),
    )
    if len(weight) > max(s.classes):
        k = len(s.classes)
        rows, columns = weight[s.classes], s.centered.T
        product = rows @ columns
        target = (np.eye(k) - np.ones((k, k)) / k) / np.sqrt(k - 1)
        result["nc3_alignment"] = np.linalg.norm(product / np.linalg.norm(product) - target)
        result["nc3_self_duality"] = np.linalg.norm(rows / np.linalg.norm(rows) - columns.T / np.linalg.norm(columns))
        result["unc3"] = np.std(
            [w @ m / np.linalg.norm(w) / np.linalg.norm(m) for w, m in zip(rows, columns.T, strict=True)]
        )
    return result


def nearest(point: Array, centers: list[Array]) -> int:
    return int(np.argmin([np.sum((point - c) ** 2) for c in centers]))


def shape_distance(gram: Array, target: Array) -> float:
    return float(np.linalg.norm(gram / np.linalg.norm(gram) - target / np.linalg.norm(target)))
