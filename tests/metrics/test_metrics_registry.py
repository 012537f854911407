"""The registry, what is derived from it, and that numpy is enough."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import solve

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning, Undefined
from encollapse.measure.result import VALUES
from encollapse.metrics import METRICS, ClassStatistics, Metric, MetricInputs, evaluate
from reference.collapse_reference import moments

K, D, N = 5, 7, 131
DOCS = Path(__file__).parents[2] / "docs"


def sample(spread: float = 0.4, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.choice(K, N, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    return (10 + rng.standard_normal((K, D))[labels] + spread * rng.standard_normal((N, D))).astype(dtype), labels


def table() -> str:
    """The table of docs/measuring.md."""
    rows = ["| value | formula | at collapse | needs | source |", "|---|---|---|---|---|"]
    for metric in METRICS.values():
        name = f"`{metric.name}`" + (" (detail)" if metric.detail else "")
        ideal = "" if metric.ideal is None else f"{metric.ideal:g}"
        cited = f"{{cite:t}}`{metric.reference}`" if metric.reference else ""
        formula = metric.formula.replace("|", r"\vert ")
        rows.append(f"| {name} | ${formula}$ | {ideal} | {', '.join(metric.needs)} | {cited} |")
    return "\n".join(rows) + "\n"


def test_the_docs_hold_the_registry() -> None:
    assert table() in (DOCS / "measuring.md").read_text(encoding="utf-8"), f"docs/measuring.md needs:\n{table()}"
    listed = (DOCS / "api" / "index.md").read_text(encoding="utf-8").split("currentmodule:: encollapse.metrics")[1]
    names = set(re.findall(r"^   (\w+)$", listed.split("## ")[0], re.MULTILINE))
    assert {metric.function.__name__ for metric in METRICS.values()} <= names
    assert names <= set(ec.metrics.__all__)
    keys = set(re.findall(r"@\w+\{(\w+),", (DOCS / "references.bib").read_text(encoding="utf-8")))
    assert {key for metric in METRICS.values() for key in metric.reference.split(",") if key} <= keys


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_every_metric_is_public_and_documented(metric: Metric) -> None:
    function = getattr(ec.metrics, metric.function.__name__)
    assert inspect.unwrap(function) is metric.function
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"\n{section}\n---" in (function.__doc__ or "")
    assert metric.range[0] < metric.range[1]
    assert metric.ideal is None or metric.range[0] <= metric.ideal <= metric.range[1]


@pytest.mark.parametrize("seed", range(5))
def test_every_value_lies_in_its_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, N)
    found = ec.measure.collapse(
        rng.standard_normal((N, D)) + rng.standard_normal((K, D))[labels],
        labels,
        weight=rng.standard_normal((K, D)),
        bias=rng.standard_normal(K),
        encoding=ec.encodings.one_hot(K),
    )
    assert found.missing == found.details.missing == {}
    for name, value in {**found.values, **found.details}.items():
        low, high = METRICS[name].range
        assert value is not None
        assert low - 1e-12 <= value <= high + 1e-12, name


def test_metrics_without_torch() -> None:
    code = """
import sys
import encollapse as ec
statistics = ec.metrics.ClassStatistics.from_features([[1.0, 2], [3, 2], [0, 5]], [0, 0, 1])
ec.metrics.evaluate(ec.metrics.MetricInputs(statistics))
ec.metrics.rank_me([[1.0, 2], [3, 2]])
assert 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(("spread", "dtype"), [(0.4, np.float64), (1e-8, np.float64), (0.4, np.float32)])
def test_statistics_from_features(spread: float, dtype: Any) -> None:
    features, labels = sample(spread, dtype)
    labels = labels + (labels >= 2)  # class 2 of 6 is absent
    found, slow = ClassStatistics.from_features(features, labels, 6), moments(features.astype(np.longdouble), labels)
    present = slow.classes
    assert found.within_covariance is not None
    assert found.class_averaged_covariance is not None
    np.testing.assert_allclose(found.means[present], np.asarray(slow.means, float), rtol=1e-15)
    traces = [float(np.trace(c)) for c in slow.covariances]
    np.testing.assert_allclose(found.within_trace[present], traces, rtol=1e-7)
    scale = float(slow.within.max())
    np.testing.assert_allclose(found.within_covariance, np.asarray(slow.within, float), atol=1e-7 * scale)
    averaged = np.asarray(np.mean(slow.covariances, axis=0), float)
    np.testing.assert_allclose(found.class_averaged_covariance, averaged, atol=1e-7 * scale)
    assert np.isnan(found.means[2]).all()
    assert found.counts[2] == 0
    assert found.resolution == np.finfo(dtype).eps
    by_torch = ec.measure.collapse(features.astype(np.float64), labels, num_classes=6)
    values, _ = evaluate(MetricInputs(ClassStatistics.from_features(features.astype(np.float64), labels, 6)))
    for name, value in values.items():
        assert by_torch.values[name] == pytest.approx(value, rel=1e-6), name


def test_statistics_from_what_is_no_sample() -> None:
    features, labels = sample()
    with pytest.raises(ArgumentError, match="labels: got 130 labels for 131 rows"):
        ClassStatistics.from_features(features, labels[1:])
    with pytest.raises(ArgumentError, match=r"labels.*0 to 3"):
        ClassStatistics.from_features(features, labels, 4)
    with pytest.raises(ArgumentError, match=r"features.*finite.*\(3, 2\)"):
        ClassStatistics.from_features(np.where(np.arange(N * D).reshape(N, D) == 3 * D + 2, np.nan, features), labels)
    with pytest.raises(ArgumentTypeError, match="labels"):
        ClassStatistics.from_features(features, labels + 0.5)
    with pytest.raises(ArgumentError, match=r"features.*at least one"):
        ClassStatistics.from_features(np.zeros((0, D)), [])
    with pytest.raises(ArgumentError, match="scale"):
        ClassStatistics.from_features(1e200 * features, labels)
    with pytest.raises(ArgumentError, match=r"largest is 2000000.*num_classes"):
        ClassStatistics.from_features(features[:2], [0, 2_000_000])


def test_a_metric_that_fails_costs_no_other() -> None:
    def singular(statistics: ClassStatistics) -> float:
        return float(
            solve(np.zeros((statistics.feature_dim, statistics.feature_dim)), np.ones(statistics.feature_dim))[0]
        )

    inputs = MetricInputs(ClassStatistics.from_features(*sample()))
    failing = Metric("failing", singular, "", "", "")
    values, missing = evaluate(inputs, [METRICS["cdnv"], failing, METRICS["vci"]])
    assert set(values) == {"cdnv", "vci"}
    assert re.match(r"its computation failed \(LinAlgError: .*singular", missing["failing"])


def test_vci_of_a_covariance_that_cannot_be_inverted() -> None:
    """Spreads whose rounding underflows: nothing of it can be inverted, and the classes explain nothing."""
    statistics = ClassStatistics(
        np.zeros((2, 3)),
        np.array([5, 5]),
        np.array([5e-324, 5e-324]),
        np.diag([5e-324, 0, 0]),
        covariance_resolution=1e-7,
    )
    values, missing = evaluate(MetricInputs(statistics))
    assert values["vci"] == 1.0
    assert "nc2_etf" in missing


def test_details_are_a_mapping_computed_one_by_one() -> None:
    features, labels = sample()
    details = ec.measure.collapse(features, labels).details
    assert details["gnc2_riesz"] is not None
    assert set(details._found) == {"gnc2_riesz"}
    assert set(details) | set(VALUES) == set(METRICS)
    assert len(details) == len(list(details))
    assert dict(details)["mse_nc1"] is None
    assert details.missing["mse_nc1"] == "no encoding was given"
    with pytest.raises(KeyError):
        details["nc1_pinv"]
    with pytest.warns(EncollapseWarning, match="class_mean_effective_rank"):
        assert details["effective_rank"] == details["class_mean_effective_rank"]


def test_ranks_of_features() -> None:
    rng = np.random.default_rng(3)
    features = rng.standard_normal((31, D)) @ np.diag(1.0 / np.arange(1, D + 1)) + 3
    singular = np.linalg.svd(features)[1]
    shares = singular / singular.sum()
    assert ec.metrics.effective_rank(features) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))
    smoothed = shares + 1e-7
    assert ec.metrics.rank_me(features) == pytest.approx(np.exp(-np.sum(smoothed * np.log(smoothed))), rel=1e-14)
    squares = singular**2 / np.sum(singular**2)
    by_eigenvalues = ec.metrics.effective_rank(features, of="eigenvalues")
    assert by_eigenvalues == pytest.approx(np.exp(-np.sum(squares * np.log(squares))))
    assert ec.metrics.stable_rank(features) == pytest.approx(np.sum(singular**2) / singular[0] ** 2)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T))
    ratio = np.sum(eigenvalues) ** 2 / np.sum(eigenvalues**2)
    assert ec.metrics.participation_ratio(features) == pytest.approx(ratio)
    assert ec.metrics.participation_ratio(1e-200 * features) == pytest.approx(ratio)
    assert ec.metrics.participation_ratio(features, centered=False) < ratio
    for rank in (ec.metrics.rank_me, ec.metrics.effective_rank, ec.metrics.stable_rank):
        assert rank(np.eye(K, D)) == pytest.approx(K, rel=1e-5)
        with pytest.raises(Undefined, match="zero"):
            rank(np.zeros((3, 2)))
    with pytest.raises(Undefined, match="same"):
        ec.metrics.participation_ratio(np.full((3, 2), 0.1))
    with pytest.raises(ArgumentError, match="of"):
        ec.metrics.effective_rank(features, of="values")  # type: ignore[arg-type]
