"""Bias of finite samples, intervals by simulation, CDNV along the axes, and the geometry of a weight alone."""

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.metrics import PRESETS, ClassStatistics, Undefined

K, D = 3, 4
MEANS = np.array([[2.0, 0, 0, 0], [0, 2, 1, 0], [0, 0, -2, 1]])
SCALES = np.array([0.5, 1.0, 1.5])
SIZES = np.array([11, 13, 17])
LABELS = np.repeat(np.arange(K), SIZES)


def draw(seed: int) -> np.ndarray:
    """Samples of Gaussian classes whose CDNV and NC1 are known."""
    noise = np.random.default_rng(seed).standard_normal((len(LABELS), D))
    return np.asarray(MEANS[LABELS] + SCALES[LABELS, None] * noise)


def truth() -> dict[str, float]:
    variances, priors = D * SCALES**2, SIZES / SIZES.sum()
    squares = np.square(MEANS[:, None] - MEANS).sum(axis=2)
    pairs = [(variances[k] + variances[l]) / 2 / squares[k, l] for k in range(K) for l in range(k)]  # noqa: E741
    between = priors @ np.square(MEANS - priors @ MEANS).sum(axis=1)
    return {"cdnv": float(np.mean(pairs)), "nc1_trace_ratio": float(priors @ variances / between)}


def test_variances_and_distances_are_unbiased() -> None:
    """Above and below the line: the mean over many draws is the truth, which the plain ones miss by far more."""
    variances, priors = D * SCALES**2, SIZES / SIZES.sum()
    center = priors @ MEANS
    above, below = [], []
    for seed in range(400):
        statistics = ClassStatistics.from_features(draw(seed), LABELS)
        ratio = ec.metrics.nc1_trace_ratio_unbiased(statistics)
        within = float(priors @ (statistics.within_trace * SIZES / (SIZES - 1)))
        above.append(within)
        below.append(within / ratio)
    assert np.mean(above) == pytest.approx(priors @ variances, rel=0.02)
    assert np.mean(below) == pytest.approx(priors @ np.square(MEANS - center).sum(axis=1), rel=0.02)
    statistics = ClassStatistics.from_features(draw(0), LABELS)
    own = statistics.within_trace * SIZES / (SIZES - 1)
    slow = [
        (own[k] + own[l])
        / 2
        / (np.square(statistics.means[k] - statistics.means[l]).sum() - own[k] / SIZES[k] - own[l] / SIZES[l])
        for k in range(K)
        for l in range(k)  # noqa: E741
    ]
    assert ec.metrics.cdnv_unbiased(statistics) == pytest.approx(np.mean(slow), rel=1e-12)
    assert ec.metrics.cdnv_unbiased(statistics, PRESETS["luthra2026"]) == pytest.approx(2 * np.mean(slow), rel=1e-12)


def test_unbiased_values_need_two_samples_and_means_apart() -> None:
    with pytest.raises(Undefined, match="class 1 has one sample"):
        ec.metrics.cdnv_unbiased(ClassStatistics.from_features(np.eye(3), [0, 0, 1]))
    noise = np.random.default_rng(0).standard_normal((8, 31))
    with pytest.raises(Undefined, match="no further apart"):
        ec.metrics.cdnv_unbiased(ClassStatistics.from_features(noise, np.arange(8) % 4))


@pytest.mark.parametrize(("kind", "draws"), [("jackknife", 150), ("bootstrap", 50)])
def test_intervals_cover_the_truth(kind: str, draws: int) -> None:
    hits = dict.fromkeys(truth(), 0)
    for seed in range(draws):
        found = ec.metrics.intervals(draw(seed), LABELS, kind, metrics=list(hits), seed=seed)  # type: ignore[arg-type]
        for name, value in truth().items():
            hits[name] += found[name][0] <= value <= found[name][1]
    for name, count in hits.items():
        # 0.95 less four standard deviations of a share, and not so wide that nothing is ever missed.
        assert count / draws >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / draws), name


def test_collapse_has_intervals_where_asked() -> None:
    weight = np.eye(K, D)
    found = ec.measure.collapse(draw(1), LABELS, weight=weight, interval="jackknife", convention="papyan2020")
    assert {"nc1_pinv", "cdnv", "nc2_etf", "nc3_self_duality"} <= set(found.intervals)
    low, high = found.intervals["cdnv"]
    assert found.cdnv is not None
    assert low < found.cdnv < high
    assert f"from {low:.3g} to {high:.3g}" in str(found)
    assert found.to_dict()["intervals"]["cdnv"] == [low, high]
    assert ec.measure.collapse(draw(1), LABELS).intervals == {}
    with pytest.raises(ArgumentError, match="four samples"):
        ec.measure.collapse(np.eye(3, 5), [0, 1, 2], interval="bootstrap")
    with pytest.raises(ArgumentError, match="interval: expected one of"):
        ec.measure.collapse(draw(1), LABELS, interval="both")  # type: ignore[arg-type]


def test_directional_cdnv_counts_the_axes_alone() -> None:
    features = draw(2)
    means = np.array([features[k == LABELS].mean(axis=0) for k in range(K)])
    slow = []
    for k in range(K):
        for l in set(range(K)) - {k}:  # noqa: E741
            axis = means[l] - means[k]
            length = np.linalg.norm(axis)
            along = (features[k == LABELS] - means[k]) @ (axis / length)
            slow.append(np.mean(along**2) / length**2)
    assert ec.metrics.directional_cdnv(features, LABELS) == pytest.approx(np.mean(slow), rel=1e-12)
    # Spread across the plane of the means changes CDNV, and the directional one not at all.
    aside = np.concatenate([features, np.zeros((len(features), 1))], axis=1)
    signs = np.concatenate([np.resize([1.0, -1.0], 2 * (n // 2)).tolist() + [0.0] * (n % 2) for n in SIZES])
    aside[:, -1] = 9 * signs
    assert ec.metrics.directional_cdnv(aside, LABELS) == pytest.approx(np.mean(slow), rel=1e-9)
    plain, wide = (ClassStatistics.from_features(x, LABELS) for x in (features, aside))
    assert ec.metrics.cdnv(wide) > 3 * ec.metrics.cdnv(plain)
    with pytest.raises(Undefined, match="coincide"):
        ec.metrics.directional_cdnv([[1.0, 0], [1, 0], [0, 1]], [0, 1, 2])


def test_a_weight_alone_has_norms_and_angles() -> None:
    weight = np.random.default_rng(3).standard_normal((5, 7)) * np.arange(1, 6)[:, None] + 0.5
    for name, rows in (("default", weight), ("zhou2022", weight - weight.mean(axis=0))):
        lengths = np.linalg.norm(rows, axis=1)
        cosines = (rows @ rows.T / np.outer(lengths, lengths))[np.triu_indices(5, 1)]
        convention = PRESETS[name]
        found = ec.metrics.nc2_equinorm_weight(weight, convention)
        assert found == pytest.approx(lengths.std() / lengths.mean(), rel=1e-12)
        assert ec.metrics.nc2_equiangular_weight(weight, convention) == pytest.approx(cosines.std(), rel=1e-9)
        far = np.abs(cosines + 1 / 4).mean()
        assert ec.metrics.nc2_max_angle_weight(weight, convention) == pytest.approx(far, rel=1e-9)
    simplex = np.eye(5) - 0.2
    for metric in (ec.metrics.nc2_equinorm_weight, ec.metrics.nc2_equiangular_weight, ec.metrics.nc2_max_angle_weight):
        assert metric(1e-200 * simplex) == pytest.approx(0, abs=1e-7)
    with pytest.raises(Undefined, match="row 0"):
        ec.metrics.nc2_equiangular_weight(np.diag([0.0, 1, 2]))
