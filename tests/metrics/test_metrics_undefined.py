"""Where a metric has no value it gives a reason, and what is absent enters nothing."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.metrics import METRICS, MetricInputs, as_convention, evaluate
from encollapse.metrics.evaluation import OUT_OF_RANGE
from encollapse.metrics.statistics import ClassStatistics

K, D = 5, 7
BY_CLASSIFIER = {
    "nc3_alignment", "nc3_self_duality", "unc3", "bias_to_label_mean", "label_centering", "balance",
}  # fmt: skip


def generic(num_classes: int = K, seed: int = 0, **changes: Any) -> ClassStatistics:
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "means": rng.standard_normal((num_classes, D)),
        "counts": np.arange(1, num_classes + 1),
        "within_trace": rng.uniform(1, 2, num_classes),
        "within_covariance": np.diag(rng.uniform(1, 2, D)),
    }
    return ClassStatistics(**(values | changes))


def reasons(statistics: ClassStatistics, **more: Any) -> dict[str, str]:
    values, missing = evaluate(MetricInputs(statistics, **more))
    assert set(values) | set(missing) == {name for name, metric in METRICS.items() if not metric.detail}
    assert not set(values) & set(missing)
    assert all(np.isfinite(v) for v in values.values())
    for name in ("nc4_agreement", "ncc_accuracy", "accuracy"):
        assert missing.pop(name) in ("no decisions were counted", OUT_OF_RANGE)
    return missing


def test_everything_is_defined_for_generic_statistics() -> None:
    weight, bias = np.random.default_rng(1).standard_normal((K, D)), np.zeros(K)
    assert reasons(generic(), weight=weight, bias=bias, mean_codeword=np.ones(K)) == {}


def test_without_classifier_or_encoding() -> None:
    missing = reasons(generic())
    assert set(missing) == BY_CLASSIFIER
    assert set(missing.values()) == {"no weight was given"}
    rest = reasons(generic(), weight=np.ones((3, D)), bias=np.ones(3))
    assert rest.pop("bias_to_label_mean") == rest.pop("label_centering") == "no encoding was given"
    assert set(rest) == {"nc3_alignment", "nc3_self_duality", "unc3"}
    assert all("3 outputs for 5 classes" in reason for reason in rest.values())


def test_a_single_class_has_no_geometry() -> None:
    counts = np.array([0, 4, 0, 0, 0])
    missing = reasons(generic(counts=counts), weight=np.eye(K, D), bias=np.zeros(K), mean_codeword=np.zeros(K))
    assert {"nc1_pinv", "cdnv", "vci", "nc2_etf", "nc2_orthogonal", "unc3", "floor"} <= set(missing)
    assert "only class 1 has samples" in missing["nc1_pinv"]


def test_absent_classes_enter_nothing() -> None:
    """Statistics with an absent class give what the present classes alone give."""
    full = generic()
    with_gap = ClassStatistics(
        np.insert(full.means, 2, np.nan, axis=0),
        np.insert(full.counts, 2, 0),
        np.insert(full.within_trace, 2, np.nan),
        full.within_covariance,
    )
    weight = np.random.default_rng(3).standard_normal((K, D))
    mean = np.random.default_rng(4).standard_normal(K)
    for convention in ("default", "class-averaged"):
        chosen = as_convention(convention)
        plain, _ = evaluate(MetricInputs(full, weight, np.ones(K), mean, chosen))
        gapped, _ = evaluate(
            MetricInputs(with_gap, np.insert(weight, 2, 9.0, axis=0), np.ones(K + 1), np.insert(mean, 2, 1.0), chosen)
        )
        for name in set(plain) - {"label_centering", "balance"}:
            assert gapped[name] == pytest.approx(plain[name], rel=1e-12), name


@pytest.mark.parametrize("size", [0.0, 1.0, 1e6])
def test_coinciding_means(size: float) -> None:
    missing = reasons(generic(means=np.full((K, D), size)))
    assert missing["nc1_pinv"] == missing["nc2_equinorm"] == "all class means coincide"
    assert {"cdnv", "gnc2_log", "nc2_max_angle", "floor"} <= set(missing)
    values, _ = evaluate(MetricInputs(generic(means=np.full((K, D), size))))
    assert values["vci"] == values["nc1_normalized"] == 1.0
    assert ("nc2_etf_uncentered" in missing) == (size == 0.0)


def test_one_pair_of_coinciding_means_is_named() -> None:
    means = np.random.default_rng(5).standard_normal((K, D))
    means[4] = means[1]
    missing = reasons(generic(means=means))
    assert missing["cdnv"] == "the means of classes 1 and 4 coincide"
    assert "same direction" in missing["gnc2_log"]
    assert "nc1_pinv" not in missing


def test_a_mean_at_the_center_has_no_direction() -> None:
    means = np.random.default_rng(6).standard_normal((K, D))
    means[3] = 0
    means -= means[[0, 1, 2, 4]].mean(axis=0)
    means[3] = 0
    missing = reasons(generic(means=means, counts=np.full(K, 2)))
    assert "class 3 coincides with the global mean" in missing["nc2_equiangular"]
    assert "nc2_equinorm" not in missing


def test_zero_classifiers() -> None:
    missing = reasons(generic(), weight=np.zeros((K, D)), bias=np.zeros(K), mean_codeword=np.zeros(K))
    assert missing["nc3_self_duality"] == "the weight is zero"
    assert missing["balance"] == "the weight or every class mean is zero"
    weight = np.ones((K, D))
    weight[2] = 0
    assert "row of class 2 is zero" in reasons(generic(), weight=weight, bias=np.zeros(K))["unc3"]


def test_no_spread_and_no_distance() -> None:
    still = generic(means=np.ones((K, D)), within_trace=np.zeros(K), within_covariance=np.zeros((D, D)))
    missing = reasons(still)
    assert missing["vci"] == missing["nc1_normalized"] == "all features are the same"


def test_covariance_that_was_not_kept() -> None:
    missing = reasons(generic(within_covariance=None))
    assert "covariance=True" in missing["nc1_pinv"]
    assert "covariance=True" in missing["vci"]
    second = reasons(generic(), convention=as_convention("class-averaged"))
    assert "second pass" in second["nc1_pinv"]


@pytest.mark.parametrize("scale", [1e-165, 1e-140, 1e100])
def test_extreme_scales_give_values_or_reasons(scale: float) -> None:
    base = generic()
    extreme = generic(
        means=scale * base.means,
        within_trace=(scale * scale) * base.within_trace,
        within_covariance=(scale * scale) * np.eye(D),
    )
    reasons(extreme, weight=np.ones((K, D)), bias=np.zeros(K), mean_codeword=np.zeros(K))


BAD: list[tuple[dict[str, NDArray[Any] | float], str]] = [
    ({"counts": np.array([1, 2, -1, 3, 4])}, "counts"),
    ({"counts": np.zeros(K, dtype=int)}, "counts"),
    ({"counts": np.ones(K)}, "counts"),
    ({"means": np.full((K, D), np.nan)}, "means"),
    ({"means": np.ones((K + 1, D))}, "means"),
    ({"within_trace": np.full(K, -1.0)}, "within_trace"),
    ({"within_trace": np.full(K, np.inf)}, "within_trace.*scale"),
    ({"within_covariance": np.eye(D + 1)}, "within_covariance"),
    ({"resolution": 0.0}, "resolution"),
]


@pytest.mark.parametrize(("changes", "names"), BAD)
def test_statistics_are_validated(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ArgumentError, match=names):
        generic(**changes)


def test_statistics_are_read_only_copies() -> None:
    means = np.ones((K, D))
    s = generic(means=means)
    means[0] = 5
    assert s.means[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        s.means[0, 0] = 2


def test_unknown_conventions() -> None:
    with pytest.raises(ArgumentError, match=r"convention.*'mean'.*default, class-averaged"):
        as_convention("mean")
    with pytest.raises(ArgumentTypeError, match="convention"):
        as_convention(3)  # type: ignore[arg-type]
