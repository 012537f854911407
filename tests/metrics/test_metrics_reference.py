"""Every metric against its textbook formula, its invariances and its constructed values."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encollapse.geometry import simplex_etf_gram
from encollapse.metrics import (
    METRICS,
    PRESETS,
    ClassStatistics,
    Convention,
    MetricInputs,
    evaluate,
    gnc2_log,
    gnc2_riesz,
    nc1_normalized,
    nc1_pinv,
    nc1_trace_ratio,
    nc2_equiangular,
    nc2_etf,
    nc2_etf_uncentered,
    nc2_max_angle,
    nc2_orthogonal,
    nc3_alignment,
    nc3_self_duality,
    nearest_pairs,
    per_class,
    unc3,
    vci,
)
from encollapse.metrics import cdnv as cdnv_of
from reference import published_presets
from reference.collapse_reference import Array, metrics, moments

K, D = 5, 7
CLASSIFIER = {"nc3_alignment", "nc3_self_duality", "unc3"}
INVARIANT = {n for n, m in METRICS.items() if not m.detail and n.startswith(("nc1", "nc2", "gnc2"))} | {"cdnv", "vci"}
INVARIANT -= {"nc2_etf_uncentered", "nc2_orthogonal"}  # these are about the origin


def statistics_of(features: Array, labels: NDArray[np.int64], num_classes: int = K) -> ClassStatistics:
    """Statistics by the reference, absent classes as NaN."""
    s = moments(features, labels)
    means = np.full((num_classes, features.shape[1]), np.nan)
    counts, traces = np.zeros(num_classes, dtype=np.int64), np.full(num_classes, np.nan)
    means[s.classes], counts[s.classes] = s.means, s.counts
    traces[s.classes] = [np.trace(c) for c in s.covariances]
    by_class = np.asarray(np.mean(s.covariances, axis=0))
    return ClassStatistics(means, counts, traces, s.within, by_class)


def sample(seed: int, num_classes: int = K, dim: int = D, spread: float = 0.5) -> tuple[Array, NDArray[np.int64]]:
    """Generic imbalanced features about generic means."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), rng.integers(2, 20, num_classes)).astype(np.int64)
    rng.shuffle(labels)
    means = rng.standard_normal((num_classes, dim)) + rng.standard_normal(dim)
    scales = spread * rng.uniform(0.5, 2, num_classes)
    return means[labels] + scales[labels, None] * rng.standard_normal((len(labels), dim)), labels


def values_of(
    features: Array, labels: NDArray[np.int64], convention: str = "default", weight: Array | None = None
) -> dict[str, float]:
    inputs = MetricInputs(statistics_of(features, labels), weight=weight, convention=PRESETS[convention])
    return evaluate(inputs)[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_classes=st.integers(2, 9),
    dim=st.integers(2, 11),
    convention=st.sampled_from(["default", "class-averaged"]),
)
def test_metrics_equal_their_textbook_formulas(seed: int, num_classes: int, dim: int, convention: str) -> None:
    features, labels = sample(seed, num_classes, dim)
    weight = np.random.default_rng(seed).standard_normal((num_classes, dim))
    averaging = PRESETS[convention].averaging
    expected = metrics(features, labels, averaging, weight)
    inputs = MetricInputs(statistics_of(features, labels, num_classes), weight=weight, convention=PRESETS[convention])
    values, missing = evaluate(inputs)
    assert set(missing) == {"bias_to_label_mean", "label_centering", "nc4_agreement", "ncc_accuracy", "accuracy"}
    assert set(values) <= set(expected)
    for name in values:
        # pinv of Σ_B loses half the digits where directions are short; the SVD of the means does not.
        assert values[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("convention", sorted(PRESETS))
def test_invariance_under_rotation_shift_and_scaling(convention: str) -> None:
    features, labels = sample(3)
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((K, D))
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    before = values_of(features, labels, convention, weight)
    moved = 3.7 * features @ rotation + 20 * rng.standard_normal(D)
    after = values_of(moved, labels, convention, weight @ rotation)
    for name in INVARIANT | CLASSIFIER:
        assert after[name] == pytest.approx(before[name], rel=1e-9, abs=1e-12), name


def test_invariance_under_renaming_of_classes() -> None:
    features, labels = sample(5)
    weight = np.random.default_rng(5).standard_normal((K, D))
    order = np.array([3, 0, 4, 1, 2])
    renamed = values_of(features, order[labels], weight=weight[np.argsort(order)])
    for name, value in values_of(features, labels, weight=weight).items():
        assert renamed[name] == pytest.approx(value, rel=1e-11, abs=1e-13), name


def test_conventions_agree_on_balanced_data_and_differ_on_imbalanced() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(K), 11)
    features = rng.standard_normal((K, D))[labels] + 0.3 * rng.standard_normal((len(labels), D))
    by_sample, by_class = values_of(features, labels), values_of(features, labels, "class-averaged")
    assert by_sample == pytest.approx(by_class, rel=1e-12)
    features, labels = sample(7)
    ratio = values_of(features, labels)["nc1_pinv"] / values_of(features, labels, "class-averaged")["nc1_pinv"]
    assert abs(ratio - 1) > 0.01


def test_total_covariance_is_within_plus_between() -> None:
    features, labels = sample(8)
    s = statistics_of(features, labels)
    centered = s.centered("sample")
    total = np.cov(features.T, ddof=0)
    assert s.within_covariance is not None
    np.testing.assert_allclose(s.within_covariance + centered.weighted.T @ centered.weighted, total, atol=1e-13)
    np.testing.assert_allclose(centered.global_mean, features.mean(axis=0), atol=1e-13)


def exact(means: Array, spread: float = 0.0) -> ClassStatistics:
    """Balanced statistics with isotropic noise of variance spread² in each direction."""
    k, d = means.shape
    return ClassStatistics(means, np.full(k, 3), np.full(k, d * spread**2), spread**2 * np.eye(d), resolution=2.0**-23)


def etf(scale: float, shift: float = 0.0) -> Array:
    """Simplex ETF of K unit vectors in D dimensions, as rows."""
    rng = np.random.default_rng(9)
    values, vectors = np.linalg.eigh(simplex_etf_gram(K))
    frame = vectors * np.sqrt(values.clip(min=0))
    return np.asarray(scale * frame @ np.linalg.qr(rng.standard_normal((D, K)))[0].T + shift)


def test_simplex_etf_scores_zero_wherever_it_lies() -> None:
    s = exact(etf(2.5, shift=0.8))
    weight = 0.3 * etf(1.0)
    for value in (
        nc2_etf(s),
        nc2_equiangular(s),
        nc2_max_angle(s),
        nc3_alignment(s, weight),
        nc3_self_duality(s, weight),
        unc3(s, weight),
    ):
        assert value == pytest.approx(0, abs=1e-13)
    assert nc2_etf_uncentered(exact(etf(2.5))) == pytest.approx(0, abs=1e-13)
    assert nc2_etf_uncentered(s) > 0.1


def test_orthogonal_frame_scores_zero_uncentered_and_is_an_etf_centered() -> None:
    frame = exact(4.0 * np.linalg.qr(np.random.default_rng(1).standard_normal((D, K)))[0].T)
    assert nc2_orthogonal(frame) == pytest.approx(0, abs=1e-13)
    assert nc2_etf(frame) == pytest.approx(0, abs=1e-13)


def test_isotropic_noise_about_equidistant_means() -> None:
    spread, side = 0.2, 3.0
    s = exact(side / np.sqrt(2) * np.eye(K, D), spread)  # all distances are `side`
    assert cdnv_of(s) == pytest.approx(D * spread**2 / side**2, rel=1e-12)
    between = side**2 / (2 * K)  # each of the K - 1 equal eigenvalues of Σ_B
    assert nc1_trace_ratio(s) == pytest.approx(D * spread**2 / ((K - 1) * between), rel=1e-12)
    assert nc1_pinv(s) == pytest.approx((K - 1) * spread**2 / between / K, rel=1e-12)
    assert nc1_normalized(s) == pytest.approx(D * spread**2 / (D * spread**2 + (K - 1) * between), rel=1e-12)
    assert vci(s) == pytest.approx(spread**2 / (spread**2 + between), rel=1e-12)


@pytest.mark.parametrize("spread", [1e-3, 1e-8, 1e-20, 1e-60])
def test_variability_keeps_its_digits_as_features_collapse(spread: float) -> None:
    s, between = exact(etf(1.0), spread), 1 / (K - 1)
    assert nc1_pinv(s) == pytest.approx((K - 1) / K * spread**2 / between, rel=1e-12)
    assert vci(s) == pytest.approx(spread**2 / between, rel=max(1e-12, 2 * spread**2 / between))


def test_collapsed_features_score_zero() -> None:
    s = exact(etf(1.0))
    assert (nc1_pinv(s), nc1_trace_ratio(s), nc1_normalized(s), cdnv_of(s), vci(s)) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("spread", [0.0, 1e-30, 1e-9])
def test_merged_classes_lower_the_variability_explained(spread: float) -> None:
    """Two of four classes merged leave two of three directions: 1 - 2/3, with or without spread."""
    means = np.eye(4, D)
    means[3] = means[2]
    assert vci(exact(means, spread)) == pytest.approx(1 / 3, rel=1e-12)
    assert vci(exact(np.eye(4, D), spread)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("convention", sorted(PRESETS))
def test_the_share_within_and_the_ratio_of_traces_are_of_one_mind(convention: str) -> None:
    features, labels = sample(31)
    found = values_of(features, labels, convention)
    ratio = found["nc1_trace_ratio"]
    assert found["nc1_normalized"] == pytest.approx(ratio / (1 + ratio), rel=1e-12)


def test_directions_of_very_different_lengths_all_count() -> None:
    """A cut-off in float32 drops the short ones and gives a value several times too small."""
    lengths = np.logspace(0, -6, K - 1)
    means = np.zeros((K, D))
    means[np.arange(K - 1), np.arange(K - 1)] = lengths
    s = exact(means, 1e-9)
    centered = (means - means.mean(axis=0)).astype(np.longdouble)
    # With noise of one variance in all directions, tr(Σ_W Σ_B⁺) = spread² Σ 1/eigenvalue, and the nonzero
    # eigenvalues of Σ_B are those of the (K - 1)-sided matrix C = A Aᵀ/K with A the first K - 1 columns.
    block = np.asarray(centered[:, : K - 1], dtype=np.float64)
    inverse = np.linalg.inv(block.T @ block / K)
    assert nc1_pinv(s) == pytest.approx(1e-18 * np.trace(inverse) / K, rel=1e-6)


def test_rounding_of_the_means_adds_no_direction() -> None:
    """float32-rounded means have a spurious K-th eigenvalue; the known rank keeps it out."""
    rng = np.random.default_rng(2)
    means = rng.standard_normal((K, D))
    rounded = means.astype(np.float32).astype(np.float64)
    noisy = exact(rounded, 0.1)
    assert nc1_pinv(noisy) == pytest.approx(nc1_pinv(exact(means, 0.1)), rel=1e-4)


def test_two_equal_means_count_once_far_from_the_origin() -> None:
    rng = np.random.default_rng(12)
    distinct = rng.standard_normal((K - 1, D))
    repeated = np.vstack([distinct, distinct[0]])
    far = repeated + 1e6
    far[-1] += 1e-10  # the last digit of a mean at 1e6
    assert nc1_pinv(exact(far, 0.1)) == pytest.approx(nc1_pinv(exact(repeated, 0.1)), rel=1e-6)


def test_signed_deviations_of_the_angles_do_not_cancel() -> None:
    """The signed mean of cos + 1/(K - 1) is 0 for centered unit vectors at any angles."""
    square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert nc2_max_angle(exact(square)) == pytest.approx(np.mean([1 / 3, 2 / 3, 1 / 3, 1 / 3, 2 / 3, 1 / 3]))


def test_cdnv_in_tiles_and_of_close_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    means = rng.standard_normal((K, D))
    means[1] = means[0] + 1e-9 * rng.standard_normal(D)
    s = exact(means, 1e-10)
    slow = np.mean([D * 1e-20 / np.sum((means[i] - means[j]) ** 2) for i in range(K) for j in range(i)])
    assert cdnv_of(s) == pytest.approx(float(slow), rel=1e-5)
    monkeypatch.setattr("encollapse.metrics.pairs.TILE_ENTRIES", 4)
    s = exact(means, 1e-10)
    assert cdnv_of(s, exponent=1 + 1e-15) == pytest.approx(float(slow), rel=1e-5)
    assert cdnv_of(s) == pytest.approx(float(slow), rel=1e-5)


def test_options_of_a_convention() -> None:
    features, labels = sample(14)
    s = statistics_of(features, labels)
    weight = np.random.default_rng(15).standard_normal((K, D)) + 2
    undivided = Convention("mine", nc1_per_class=False, center_weight=True)
    assert nc1_pinv(s, undivided) == pytest.approx(K * nc1_pinv(s), rel=1e-13)
    assert nc3_self_duality(s, weight, undivided) == pytest.approx(
        nc3_self_duality(s, weight - weight.mean(axis=0)), rel=1e-13
    )
    assert nc3_self_duality(s, weight, undivided) != pytest.approx(nc3_self_duality(s, weight), rel=1e-3)


@pytest.mark.parametrize("size", [3, K, 11])
@pytest.mark.parametrize("name", ["papyan2020", "zhu2021", "wu2024"])
def test_presets_are_the_published_formulas(name: str, size: int) -> None:
    """On imbalanced data, with fewer and with more classes than dimensions."""
    features, labels = sample(21, size)
    weight = np.random.default_rng(22).standard_normal((size, D))
    given = MetricInputs(statistics_of(features, labels, size), weight=weight, convention=PRESETS[name])
    values = evaluate(given)[0]
    expected = {
        "papyan2020": lambda: published_presets.papyan2020(features, labels),
        "zhu2021": lambda: published_presets.zhu2021(features, labels, weight),
        "wu2024": lambda: published_presets.wu2024(features, labels, weight),
    }[name]()
    for metric, value in expected.items():
        assert values[metric] == pytest.approx(value, rel=1e-8), metric


def test_presets_differ_from_the_default_on_imbalanced_data() -> None:
    features, labels = sample(23)
    found = {values_of(features, labels, name)["nc1_pinv"] for name in PRESETS}
    # papyan2020 is the formula of averages over classes, zhou2022 differs from zhu2021 by the weight, and luthra2026
    # from the default by CDNV.
    assert len({round(value, 9) for value in found}) == len(PRESETS) - 3


def test_pairs_of_many_classes_take_little_memory() -> None:
    """A (K, K, d) array of differences would take 6 GB here."""
    rng = np.random.default_rng(0)
    statistics = ClassStatistics(
        rng.standard_normal((1009, 769)), np.full(1009, 3), rng.uniform(1, 2, 1009), resolution=1e-7
    )
    tracemalloc.start()
    try:
        whole, by_exponent = cdnv_of(statistics), cdnv_of(statistics, exponent=0.5)
        assert np.isfinite([whole, by_exponent, gnc2_log(statistics), gnc2_riesz(statistics)]).all()
        assert len(per_class(statistics)) == 1009
        assert len(nearest_pairs(statistics, 5)) == 5
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6
