"""Slow, obvious forms of the metrics that are computed on request, straight from features and labels."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from reference.collapse_reference import Array, moments, shape_distance


def details(features: Array, labels: NDArray[Any], weight: Array, bias: Array, codewords: Array) -> dict[str, float]:
    """Every further metric, for one output a class and all classes present."""
    s = moments(features, labels)
    k = len(s.classes)
    units = s.centered / np.linalg.norm(s.centered, axis=1)[:, None]
    rows = weight / np.linalg.norm(weight, axis=1)[:, None]
    kernels = [1 / np.linalg.norm(units[i] - units[j]) for i, j in combinations(range(k), 2)]
    singular = np.linalg.svd(s.centered * np.sqrt(np.array(s.weights))[:, None])[1][: k - 1]
    shares = singular / singular.sum()
    cosines = rows @ (s.means / np.linalg.norm(s.means, axis=1)[:, None]).T
    margins = [cosines[i, i] - max(cosines[j, i] for j in range(k) if j != i) for i in range(k)]
    gram = s.means @ s.means.T
    simplex = (k * np.eye(k) - np.ones((k, k))) / (k - 1)
    result: dict[str, Any] = {
        "nc1_quotient": np.trace(s.within @ np.linalg.pinv(s.between, rcond=1e-10)),
        "nc2_general_frame": shape_distance(gram, np.diag(np.diag(gram))),
        "nc2_etf_weight": shape_distance(weight @ weight.T, simplex),
        "nc2_nearest_etf": nearest_etf(s.means),
        "gnc2_riesz": np.std(kernels) / np.mean(kernels),
        "one_vs_rest_margin": min(distance_to_hull(units[i], np.delete(units, i, axis=0)) for i in range(k)),
        "class_mean_effective_rank": np.exp(-np.sum(shares * np.log(shares))),
        "class_mean_stable_rank": np.sum(singular**2) / singular[0] ** 2,
        "class_mean_numerical_rank": np.linalg.matrix_rank(s.centered),
        "nc3_cosine": np.mean([1 - rows[i] @ units[i] for i in range(k)]),
        "cosine_margin": min(margins),
        "nc0_row_sum": np.linalg.norm(weight.sum(axis=0)) / np.linalg.norm(weight),
        **without_bias(features, labels),
        **of_weight(rows, np.linalg.norm(weight, axis=1)),
        "mean_output": np.linalg.norm(weight @ features.mean(axis=0) + bias),
    }
    result |= squared_error(features, codewords.T[labels], labels, weight, bias)
    return {name: float(value) for name, value in result.items()}


def without_bias(features: Array, labels: NDArray[Any]) -> dict[str, float]:
    """CDNV and NC1 of sample variances (n - 1), with what those add to distances of means taken off."""
    groups = [features[labels == k] for k in sorted(set(labels.tolist()))]
    means, sizes = [g.mean(axis=0) for g in groups], [len(g) for g in groups]
    own = [g.var(axis=0, ddof=1).sum() for g in groups]
    pairs = [
        (own[i] + own[j]) / 2 / (np.sum((means[i] - means[j]) ** 2) - own[i] / sizes[i] - own[j] / sizes[j])
        for i, j in combinations(range(len(groups)), 2)
    ]
    between = 0.0
    for mean, size, variance in zip(means, sizes, own, strict=True):
        share = size / len(features)
        between += share * (np.sum((mean - features.mean(axis=0)) ** 2) - (1 - share) * variance / size)
    within = sum(size * variance for size, variance in zip(sizes, own, strict=True)) / len(features)
    return {"cdnv_unbiased": float(np.mean(pairs)), "nc1_trace_ratio_unbiased": float(within / between)}


def of_weight(units: Array, lengths: Array) -> dict[str, float]:
    """Norms and angles of the rows of a weight, given their directions and lengths."""
    size = len(units)
    cosines = [units[i] @ units[j] for i, j in combinations(range(size), 2)]
    return {
        "nc2_equinorm_weight": float(np.std(lengths) / np.mean(lengths)),
        "nc2_equiangular_weight": float(np.std(cosines)),
        "nc2_max_angle_weight": float(np.mean([abs(c + 1 / (size - 1)) for c in cosines])),
    }


def squared_error(
    features: Array, targets: Array, labels: NDArray[Any], weight: Array, bias: Array
) -> dict[str, float]:
    """Split half the mean squared error about the least-squares classifier, sample by sample."""
    count = len(features)
    least = np.linalg.lstsq(np.hstack([features, np.ones((count, 1))]), targets, rcond=None)[0]
    within = means = apart = 0.0
    for h, e, y in zip(features, targets, labels, strict=True):
        mean = features[labels == y].mean(axis=0)
        within += np.sum((least[:-1].T @ (h - mean)) ** 2)
        means += np.sum((least[:-1].T @ mean + least[-1] - e) ** 2)
        apart += np.sum((weight @ h + bias - least[:-1].T @ h - least[-1]) ** 2)
    return {"mse_nc1": within / count / 2, "mse_nc23": means / count / 2, "mse_perpendicular": apart / count / 2}


def nearest_etf(means: Array) -> float:
    """Distance of the means, about their average and of length one, to the ETF that Procrustes turns to them."""
    k, d = means.shape
    points = means - means.mean(axis=0)
    points /= np.linalg.norm(points)
    values, vectors = np.linalg.eigh(np.eye(k) - np.ones((k, k)) / k)
    frame = np.hstack([vectors * np.sqrt(values.clip(min=0)), np.zeros((k, max(d - k, 0)))])
    frame /= np.linalg.norm(frame)
    left, _, right = np.linalg.svd(frame.T @ points, full_matrices=False)
    return float(np.linalg.norm(points - frame @ left @ right))


def distance_to_hull(point: Array, others: Array) -> float:
    """Least distance of a point to the convex hull of others, by a general optimizer."""
    k = len(others)
    found = minimize(
        lambda a: np.sum((a @ others - point) ** 2),
        np.full(k, 1 / k),
        jac=lambda a: 2 * others @ (a @ others - point),
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": lambda a: np.ones(k)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return float(np.sqrt(found.fun))
