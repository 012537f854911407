"""Further metrics against slow formulas, constructed values and identities."""

import pickle
from itertools import combinations

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.geometry import simplex_etf_gram
from encollapse.measure import collapse
from encollapse.measure.result import VALUES
from reference.collapse_reference import Array, metrics, moments
from reference.details_reference import details

K, D, N = 5, 7, 130


def sample(seed: int = 0) -> tuple[Array, np.ndarray[tuple[int], np.dtype[np.int64]], Array, Array]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(K, N, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.int64)
    features = rng.standard_normal((K, D))[labels] + 0.5 + 0.4 * rng.standard_normal((N, D))
    return features, labels, rng.standard_normal((K, D)), rng.standard_normal(K)


def test_every_metric_equals_its_slow_reference() -> None:
    features, labels, weight, bias = sample()
    encoding = ec.encodings.one_hot(K)
    measured = collapse(features, labels, weight=weight, bias=bias, encoding=encoding)
    assert measured.missing == measured.details.missing == {}
    slow = metrics(features, labels, "sample", weight, bias, encoding.codewords)
    assert set(slow) == set(VALUES)
    for name, value in slow.items():
        assert measured.values[name] == pytest.approx(value, rel=1e-8), name
    slow = details(features, labels, weight, bias, encoding.codewords)
    assert set(slow) == set(measured.details)
    for name, value in slow.items():
        assert measured.details[name] == pytest.approx(value, rel=1e-6), name


def test_the_squared_error_splits_exactly() -> None:
    features, labels, weight, bias = sample(1)
    encoding = ec.encodings.random(K, 3)
    measured = collapse(features, labels, weight=weight[:3], bias=bias[:3], encoding=encoding)
    targets = encoding.encode(labels)
    error = 0.5 * np.mean(np.sum((features @ weight[:3].T + bias[:3] - targets) ** 2, axis=1))
    parts = [measured.details[f"mse_{part}"] for part in ("nc1", "nc23", "perpendicular")]
    assert sum(p for p in parts if p is not None) == pytest.approx(error, rel=1e-12)
    extended = np.hstack([features, np.ones((N, 1))])
    least = np.linalg.lstsq(extended, targets, rcond=None)[0]
    best = collapse(features, labels, weight=least[:-1].T, bias=least[-1], encoding=encoding).details
    assert best["mse_perpendicular"] == pytest.approx(0, abs=1e-20)
    assert parts[0] is not None
    assert best["mse_nc1"] == pytest.approx(parts[0], rel=1e-9)


def test_a_simplex_is_the_nearest_etf_and_the_best_code() -> None:
    labels = np.repeat(np.arange(K), 2)
    values, vectors = np.linalg.eigh(simplex_etf_gram(K))
    frame = vectors * np.sqrt(values.clip(min=0))
    rotated = frame @ np.linalg.qr(np.random.default_rng(0).standard_normal((D, K)))[0].T
    found = collapse(3 * rotated[labels] + 1, labels).details
    assert found["nc2_nearest_etf"] == pytest.approx(0, abs=1e-7)
    assert found["one_vs_rest_margin"] == pytest.approx(K / (K - 1), rel=1e-12)
    assert found["class_mean_effective_rank"] == pytest.approx(K - 1, rel=1e-12)
    assert found["mse_nc1"] is None
    assert found.missing["mse_nc1"] == "no encoding was given"


def test_which_class_and_which_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, *_ = sample(3)
    labels = labels + (labels >= 2)  # class 2 of 6 is absent
    s = moments(features, labels)
    measured = collapse(features, labels, num_classes=6)
    distances = {
        (s.classes[i], s.classes[j]): float(np.linalg.norm(s.means[i] - s.means[j]))
        for i, j in combinations(range(K), 2)
    }
    expected = sorted(((k, l, d) for (k, l), d in distances.items()), key=lambda p: p[2])  # noqa: E741
    for entries in (2**20, 7):
        monkeypatch.setattr("encollapse.metrics.pairs.TILE_ENTRIES", entries)
        pairs = measured.nearest_pairs(4)
        assert [p[:2] for p in pairs] == [p[:2] for p in expected[:4]]
        assert [p[2] for p in pairs] == pytest.approx([p[2] for p in expected[:4]])
        rows = measured.per_class()
        assert sorted(r["label"] or 0 for r in rows) == [0, 1, 3, 4, 5]
        assert [r["cdnv"] for r in rows] == sorted((r["cdnv"] or 0 for r in rows), reverse=True)
        for row in rows:
            i = s.classes.index(int(row["label"] or 0))
            others = {j: np.linalg.norm(s.means[i] - s.means[j]) for j in range(K) if j != i}
            assert row["nearest"] == s.classes[min(others, key=lambda j: others[j])]
            assert row["spread"] == pytest.approx(np.sqrt(np.trace(s.covariances[i])))
            worst = max(
                (np.trace(s.covariances[i]) + np.trace(s.covariances[j])) / (2 * d**2) for j, d in others.items()
            )
            assert row["cdnv"] == pytest.approx(worst)


def test_one_class_has_no_pairs() -> None:
    measured = collapse([[1.0, 2.0], [1.5, 2.0]], [0, 0])
    assert measured.nearest_pairs() == []
    assert measured.per_class()[0]["nearest"] is None
    assert "only class 0" in measured.details.missing["class_mean_effective_rank"]


def test_centered_cosines_keep_their_digits_beside_a_large_mean() -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(60) % K + (np.arange(60) % K >= 2)  # class 2 of 6 is absent
    features = 1e4 + 1e-3 * rng.standard_normal((6, D))[labels] + 1e-6 * rng.standard_normal((60, D))
    measured = collapse(features, labels, num_classes=6)
    exact = features.astype(np.longdouble)
    present = [0, 1, 3, 4, 5]
    means = np.array([exact[labels == k].mean(axis=0) for k in present])
    centered = (means - means.mean(axis=0)).astype(float)
    units = centered / np.linalg.norm(centered, axis=1)[:, None]
    for geometry in (measured.geometry, pickle.loads(pickle.dumps(measured.geometry))):
        found = geometry.cosines(centered=True)
        np.testing.assert_allclose(found[np.ix_(present, present)], units @ units.T, atol=1e-7)
        assert np.isnan(found[2]).all()
    np.testing.assert_allclose(measured.cosines([5, 1, 3]), (units @ units.T)[np.ix_([4, 1, 2], [4, 1, 2])], atol=1e-7)
    with pytest.raises(ArgumentError, match="class 2 has no samples"):
        measured.cosines([1, 2])
    with pytest.raises(ArgumentError, match="classes"):
        measured.cosines([6])


def test_lengths_that_are_rounding_are_zero() -> None:
    labels = np.arange(12) % 4
    features = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])[labels] / 3 + 1e3 / 7
    measured = collapse(features, labels)
    by_label = {row["label"]: row for row in measured.per_class()}
    assert by_label[1]["norm"] == by_label[1]["distance"] == 0.0
    assert by_label[1]["nearest"] == 3
    assert measured.nearest_pairs(1) == [(1, 3, 0.0)]
    assert np.isnan(measured.cosines([0, 1])).tolist() == [[False, True], [True, True]]


def test_a_spread_that_rounding_made_negative_is_none() -> None:
    """Products of float32 leave a dead dimension a variance just below 0: it is as good as dead."""
    rng = np.random.default_rng(0)
    means, counts = rng.standard_normal((5, 11)), np.full(5, 7)
    means[:, 3] = 0.0
    half = rng.standard_normal((11, 9))
    half[3] = 0.0
    within = half @ half.T / 9
    dead = ec.metrics.ClassStatistics(means, counts, np.full(5, np.trace(within)), within)
    within[3, 3] = -3e-66
    negative = ec.metrics.ClassStatistics(means, counts, np.full(5, np.trace(within)), within)
    assert ec.metrics.vci(negative) == pytest.approx(ec.metrics.vci(dead), rel=1e-9)
