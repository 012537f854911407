"""Numbers at the edges: collapsed float32, dead dimensions, the ends of float32, fewer samples than dimensions."""

import tracemalloc
import warnings

import numpy as np
import pytest

import encollapse as ec

K, D = 5, 67


def blobs(seed: int, count: int, spread: float, dim: int = D, classes: int = K) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    means = 3 * rng.standard_normal((classes, dim))
    return means[labels] + spread * rng.standard_normal((count, dim)), labels


@pytest.mark.parametrize("seed", range(25))
def test_collapsed_float32_with_dead_dimensions_warns_nothing_and_agrees_with_float64(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = blobs(seed, 1103, 10.0 ** rng.uniform(-8, -2), dim=64, classes=3)
    features[:, rng.random(64) < rng.uniform(0, 0.9)] = 0
    single = features.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ec.measure.collapse(single, labels)
    exact = ec.measure.collapse(single.astype(float), labels)
    assert found.missing.items() <= exact.missing.items()  # what is rounding of float32 is told from spread
    assert exact.missing.keys() - found.missing.keys() <= {"vci"}
    for name, value in exact.values.items():
        if value is not None and name != "floor":
            assert found.values[name] == pytest.approx(value, rel=1e-4, abs=1e-9), name


@pytest.mark.parametrize("scale", [1e-36, 1e-22, 1e19, 1e22, 1e35])
def test_decisions_of_float32_features_of_any_size(scale: float) -> None:
    features, labels = blobs(0, 1103, 12.0)
    weight = np.random.default_rng(1).standard_normal((K, D))
    single = features.astype(np.float32)
    expected = ec.measure.collapse(single, labels, weight=weight)
    for scaled, rows in ((single * np.float32(scale), weight), (single, weight * scale)):
        found = ec.measure.collapse(scaled, labels, weight=rows)
        assert found.accuracy == expected.accuracy
        assert found.ncc_accuracy == pytest.approx(expected.ncc_accuracy, abs=2e-3)
        assert found.nc4_agreement == pytest.approx(expected.nc4_agreement, abs=2e-3)
    assert 0.3 < (expected.ncc_accuracy or 0.0) < 1.0
    assert (expected.accuracy or 1.0) < 0.9


@pytest.mark.parametrize("dim", [3, D], ids=["more classes than dimensions", "fewer"])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-100, 1e100, 1e160, 1e300])
def test_values_do_not_see_the_size_of_the_weight(scale: float, dim: int) -> None:
    """The balance lost digits from weights of 1e-160 on, and beyond called them zero."""
    features, labels = blobs(4, 203, 1.0, dim=dim)
    weight = np.random.default_rng(8).standard_normal((K, dim))
    wanted = ec.measure.collapse(features, labels, weight=weight)
    found = ec.measure.collapse(features, labels, weight=weight * scale)
    for name in ("nc3_alignment", "nc3_self_duality", "unc3", "nc4_agreement", "accuracy", "balance"):
        assert found.values[name] == pytest.approx(wanted.values[name], rel=1e-10), name


@pytest.mark.parametrize("count", [19, 66, 67, 68])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_parts_of_the_squared_error_are_not_negative_for_few_samples(count: int, dtype: type) -> None:
    features, labels = blobs(count, count, 1.0)
    weight = np.random.default_rng(3).standard_normal((K, D))
    given: np.ndarray = features.astype(dtype)
    found = ec.measure.collapse(given, labels, weight=weight, encoding=ec.encodings.one_hot(K))
    parts = [found.details[name] or 0.0 for name in ("mse_nc1", "mse_nc23", "mse_perpendicular")]
    assert not {"mse_nc1", "mse_nc23"} & set(found.details.missing)
    assert min(parts) >= 0
    # So few samples can be fitted exactly, and the split adds up to the error.
    assert parts[0] == pytest.approx(0, abs=1e-12)
    error = 0.5 * np.mean(np.square(given.astype(float) @ weight.T - np.eye(K)[labels]).sum(axis=1))
    assert sum(parts) == pytest.approx(error, rel=1e-6)


def test_moments_alone_do_not_split_the_squared_error_of_few_float32_samples() -> None:
    features, labels = blobs(5, 66, 1.0)
    moments = ec.measure.ClassMoments(K, D).update(features.astype(np.float32), labels)
    found = moments.collapse(weight=np.ones((K, D)), encoding=ec.encodings.one_hot(K))
    assert found.details["mse_nc1"] is None
    assert "float64" in found.details.missing["mse_nc1"]


def test_cosines_and_norms_are_about_the_global_mean_of_the_convention() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(K), [3, 29, 5, 7, 11])
    features = rng.standard_normal((K, 7))[labels] + 0.1 * rng.standard_normal((len(labels), 7))
    means = np.array([features[labels == k].mean(axis=0) for k in range(K)])
    for convention, center in (("default", features.mean(axis=0)), ("papyan2020", means.mean(axis=0))):
        found = ec.measure.collapse(features, labels, convention=convention)
        lengths = np.linalg.norm(means - center, axis=1)
        units = (means - center) / lengths[:, None]
        np.testing.assert_allclose(found.cosines(range(K)), units @ units.T, atol=1e-12)
        rows = found.per_class()
        assert [row["norm"] for row in rows] == pytest.approx([lengths[row["label"]] for row in rows], rel=1e-12)
        assert found.nc2_equinorm == pytest.approx(lengths.std() / lengths.mean(), rel=1e-9)


def test_the_variability_index_does_not_see_the_units_of_single_features() -> None:
    """It is invariant under every linear map; with units that span nine decades a floor of eigenvalues was 30 % off."""
    features, labels = blobs(3, 60, 0.5, dim=4, classes=7)
    features[:, 3] = features[:, :3] @ [0.3, -0.2, 0.4] + 1e-4 * features[:, 3]  # nearly dependent on the others
    wanted = ec.measure.collapse(features, labels).vci
    found = ec.measure.collapse(features * [1e6, 1e-3, 1.0, 10.0], labels).vci
    assert found == pytest.approx(wanted, rel=1e-6)


def test_the_variability_index_beside_an_outlier_is_right_or_missing() -> None:
    """One sample far out hides the spread of the others in the squares; by orthogonal factors it is still there."""
    told = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels, centers = np.arange(54) % 3, rng.standard_normal((3, 12))
        centers[2] = centers[1]
        features = centers[labels] + 10 ** rng.uniform(-5, -4.3) * rng.standard_normal((54, 12))
        features[7] *= 50
        means = np.array([features[labels == k].mean(axis=0) for k in range(3)])
        between = (means - features.mean(axis=0)) / np.sqrt(3)
        triangle = np.linalg.qr(np.concatenate([(features - means[labels]) / np.sqrt(54), between]))[1]
        wanted = 1 - np.square(np.linalg.solve(triangle.T, between.T)).sum() / 2
        statistics = ec.metrics.ClassStatistics.from_features(features, labels)
        values, missing = ec.metrics.evaluate(ec.metrics.MetricInputs(statistics), [ec.metrics.METRICS["vci"]])
        if missing:
            assert "leave outliers out" in missing["vci"]
            continue
        told += 1
        assert values["vci"] == pytest.approx(wanted, rel=3e-5, abs=1e-6), seed
    assert told > 20


@pytest.mark.parametrize("single", [False, True])
def test_nc1_beside_an_outlier_is_right_or_missing(single: bool) -> None:
    """A square of 1e14 rounds by more than all other samples spread; residuals along the means do not."""
    told = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        classes, dim = ((5, 3), (7, 11), (13, 5))[seed % 3]
        labels = np.arange(6 * classes) % classes
        features = rng.standard_normal((classes, dim))[labels] + 1e-3 * rng.standard_normal((len(labels), dim))
        features[7] *= 10 ** rng.uniform(0, 4 if single else 9)
        given: np.ndarray = features.astype(np.float32 if single else np.float64)
        features = given.astype(np.float64)
        means = np.array([features[labels == k].mean(axis=0) for k in range(classes)])
        _, lengths, axes = np.linalg.svd((means - means.mean(axis=0)) / np.sqrt(classes), full_matrices=False)
        rank = min(classes - 1, dim)
        spread = np.square((features - means[labels]) @ axes[:rank].T).mean(axis=0)
        wanted = float((spread / lengths[:rank] ** 2).sum()) / classes
        statistics = ec.metrics.ClassStatistics.from_features(given, labels)
        values, missing = ec.metrics.evaluate(ec.metrics.MetricInputs(statistics), [ec.metrics.METRICS["nc1_pinv"]])
        if missing:
            assert "leave outliers out" in missing["nc1_pinv"]
            continue
        told += 1
        assert values["nc1_pinv"] == pytest.approx(wanted, rel=3e-5), seed
    assert told > 40


def test_the_variability_index_counts_no_spread_that_rounding_was_raised_to() -> None:
    """Ten directions of spread 1e-5 beside one of 1e4: raised to the rounding of the largest they were 3e-4 of it."""
    rng = np.random.default_rng(0)
    labels = np.arange(85) % 42
    features = 0.2 * rng.standard_normal((42, 10))[labels] + 4e-6 * rng.standard_normal((85, 10))
    features[3] += 1e5 * rng.standard_normal(10)
    means = np.array([features[labels == k].mean(axis=0) for k in range(42)])
    counts = np.bincount(labels)
    between = (means - features.mean(axis=0)) * np.sqrt(counts / 85)[:, None]
    triangle = np.linalg.qr(np.concatenate([(features - means[labels]) / np.sqrt(85), between]))[1]
    wanted = 1 - np.square(np.linalg.solve(triangle.T, between.T)).sum() / 10
    found = ec.measure.collapse(features, labels)
    if found.vci is None:
        assert "leave outliers out" in found.missing["vci"]
    else:
        assert found.vci == pytest.approx(wanted, rel=3e-5)


def test_as_many_classes_as_words_make_no_matrix_of_their_pairs() -> None:
    """Of 3001 classes a matrix of pairs would take 72 MB; float32 rounding of VCI once made one."""
    rng = np.random.default_rng(0)
    labels = np.arange(6002) % 3001
    features = rng.standard_normal((3001, 67))[labels] + 0.1 * rng.standard_normal((6002, 67))
    features = features * np.logspace(0, -3, 67) @ np.linalg.qr(rng.standard_normal((67, 67)))[0]  # badly conditioned
    moments = ec.measure.ClassMoments(3001, 67)
    moments.update(features.astype(np.float32), labels)
    statistics = moments.statistics()
    assert statistics.covariance_resolution > 1e-10
    tracemalloc.start()
    try:
        ec.metrics.evaluate(ec.metrics.MetricInputs(statistics), [ec.metrics.METRICS["vci"]])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 3001**2 / 2
