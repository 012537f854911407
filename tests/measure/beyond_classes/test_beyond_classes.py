"""Regression, several labels, unseen data, kernels and layers, against slow formulas and constructed values."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import (
    auroc,
    capture,
    collapse,
    kernel_nc1,
    measure_layers,
    nc5,
    nci_scores,
    neco_scores,
    regression_collapse,
    tag_angles,
)
from reference import kinds_reference

K, Q, D, N = 5, 3, 11, 60


def test_collapsed_regression_scores_zero() -> None:
    """At the minimizer without a bias penalty WWᵀ ∝ [S^½ - √c I]₊, and h lies in the rows of W."""
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((N, Q)) @ rng.standard_normal((Q, Q))
    root = np.real(sqrtm(np.cov(targets.T, ddof=0)))
    least = np.linalg.eigvalsh(root)[0]
    gram = root - 0.4 * least * np.eye(Q)
    weight = np.linalg.cholesky(gram) @ np.linalg.qr(rng.standard_normal((D, Q)))[0].T
    features = rng.standard_normal((N, Q)) @ weight + rng.standard_normal(D)
    found = regression_collapse(features, targets, weight)
    assert max(found.nrc1, found.nrc2, found.nrc3) < 1e-9
    assert found.gamma == pytest.approx((0.4 * least) ** 2, rel=1e-3)


def test_regression_collapse_by_its_formulas() -> None:
    rng = np.random.default_rng(1)
    features, targets = rng.standard_normal((N, D)) + 2, rng.standard_normal((N, Q))
    weight = rng.standard_normal((Q, D))
    found = regression_collapse(features, targets, weight)
    first, second, third = kinds_reference.nrc(features, targets, weight)
    assert (found.nrc1, found.nrc2) == pytest.approx((first, second), rel=1e-10)
    assert found.nrc3 <= third * (1 + 1e-9)
    assert found.nrc3 == pytest.approx(third, rel=1e-3)
    assert regression_collapse(features, targets[:, 0], weight[:1]).nrc3 == pytest.approx(0, abs=1e-15)


def test_tags_that_add_up_have_no_angle() -> None:
    rng = np.random.default_rng(2)
    directions = rng.standard_normal((4, D))
    directions -= directions.mean(axis=0)
    tags = [(0,), (1,), (2,), (3,), (0, 2), (1, 2, 3), (0, 2)]
    features = np.array([(1 if len(t) == 1 else 0.6) * directions[list(t)].sum(axis=0) for t in tags]) + 3
    found = tag_angles(features, tags)
    assert set(found) == {(0, 2), (1, 2, 3)}
    assert max(found.values()) < 1e-6
    turned = features.copy()
    turned[4] = turned[6] = 3 - (features[4] - 3)
    assert tag_angles(turned, tags)[0, 2] == pytest.approx(180)
    noisy = features + 0.3 * rng.standard_normal(features.shape)
    for several, angle in tag_angles(noisy, tags).items():
        assert angle == pytest.approx(kinds_reference.tag_angle(noisy, tags, several), rel=1e-9)
    with pytest.raises(ArgumentError, match="tags: the set at index 1"):
        tag_angles(features[:2], [(0,), ()])


def test_scores_of_unseen_data() -> None:
    rng = np.random.default_rng(3)
    means = np.eye(K, D) * 4
    labels = np.arange(N) % K
    inside = means[labels] + 0.1 * rng.standard_normal((N, D))
    outside = 4 * np.eye(D)[K:][np.arange(30) % (D - K)] + 0.1 * rng.standard_normal((30, D))
    assert nc5(inside, labels, outside) < 0.02
    assert nc5(inside, labels, outside) == pytest.approx(kinds_reference.nc5(inside, labels, outside))
    assert nc5(inside, labels, inside) == pytest.approx(1 / np.sqrt(K), rel=0.05)
    neco = neco_scores(inside, np.vstack([inside, outside]), K - 1)
    assert auroc(neco[:N], neco[N:]) == 1.0
    mean = inside.mean(axis=0)
    nci = nci_scores(np.vstack([inside, outside]), means, mean=mean, l1_weight=1e-4)
    assert auroc(nci[:N], nci[N:]) == 1.0
    assert nci[7] == pytest.approx(kinds_reference.nci_score(inside[7], means, mean, 1e-4))
    assert neco[N + 2] == pytest.approx(kinds_reference.neco_score(outside[2], inside, K - 1))


def test_auroc_counts_pairs() -> None:
    rng = np.random.default_rng(4)
    high, low = rng.integers(0, 7, 23), rng.integers(0, 6, 17)
    assert auroc(high, low) == pytest.approx(kinds_reference.auroc(high, low))


def test_kernel_and_features_agree() -> None:
    rng = np.random.default_rng(5)
    labels = rng.choice(K, 40, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    features = rng.standard_normal((K, 97))[labels] + 0.3 * rng.standard_normal((40, 97)) + 1
    found = kernel_nc1(features @ features.T, labels)
    direct = collapse(features, labels)
    assert found["nc1_pinv"] == pytest.approx(direct.nc1_pinv or 0, rel=1e-9)
    assert found["nc1_trace_ratio"] == pytest.approx(direct.nc1_trace_ratio or 0, rel=1e-9)
    with pytest.raises(ArgumentError, match="kernel"):
        kernel_nc1(features[:, :40], labels)
    with pytest.raises(ArgumentError, match="labels"):
        kernel_nc1(features @ features.T, labels[:-1])


@pytest.mark.parametrize("maps", ["flatten", "mean"])
def test_layers_are_measured_in_one_run(maps: Any) -> None:
    torch.manual_seed(0)
    runs: list[int] = []
    net = nn.Sequential(nn.Conv2d(2, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    net.register_forward_pre_hook(lambda *_: runs.append(1))
    images, labels = torch.randn(29, 2, 4, 4), torch.arange(29) % 4
    loader = [(images[:16], labels[:16]), (images[16:28], labels[16:28]), (images[28:], labels[28:])]
    found = measure_layers(net, loader, ["1", net[4]], 4, maps=maps)
    assert len(runs) == 3
    assert list(found) == ["1", "4"]
    with capture(net, "1") as inputs, torch.no_grad():
        net(images)
    rows = inputs.cat() if maps == "flatten" else inputs[0].double().mean(dim=(2, 3))
    expected = collapse(rows, labels)
    for name in ("nc1_pinv", "vci", "nc2_etf", "cdnv"):
        assert getattr(found["1"], name) == pytest.approx(getattr(expected, name), rel=1e-5), name
    assert found["4"].accuracy is None
    with pytest.raises(ArgumentError, match="layers"):
        measure_layers(net, loader, [], 4)
    with pytest.raises(ArgumentTypeError, match="layers: expected a list"):
        measure_layers(net, loader, "1", 4)


def test_layers_keep_a_covariance_where_it_is_affordable(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 11), nn.ReLU(), nn.Linear(11, 4))
    monkeypatch.setattr("encollapse.measure.moments.projection.BUDGET", 40 * 3**2)
    found = measure_layers(net, [(torch.randn(29, 3), torch.arange(29) % 4)], ["0", "2"], 4)
    assert [layer.route for layer in found.values()] == ["one-pass covariance", "no covariance"]


def test_tags_as_zeros_and_ones_are_the_same_tags() -> None:
    rng = np.random.default_rng(11)
    tags = [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}, {2}, {0, 2}, {1}]
    marks = np.zeros((9, 3), dtype=np.int64)
    for row, own in zip(marks, tags, strict=True):
        row[list(own)] = 1
    features = rng.standard_normal((9, D))
    wanted = tag_angles(features, tags)
    for given in (marks, marks.astype(bool), torch.from_numpy(marks).float(), [torch.tensor(sorted(t)) for t in tags]):
        assert tag_angles(features, given) == wanted


@pytest.mark.parametrize("tags", [None, "abc", [0, 1], ["a", "b"], [{0.5}, {1}], [{-1}, {1}], np.full((2, 3), 2)])
def test_tags_that_are_no_sets_of_whole_numbers(tags: Any) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="tags"):
        tag_angles(np.eye(2, D), tags)


def test_values_without_a_unit_at_extreme_scales() -> None:
    rng = np.random.default_rng(12)
    features, outside = rng.standard_normal((N, D)), rng.standard_normal((17, D))
    labels, weight, targets = np.arange(N) % K, rng.standard_normal((3, D)), rng.standard_normal((N, 3))
    plain = regression_collapse(features, targets, weight)
    for scale in (1e-200, 1e200):
        found = regression_collapse(scale * features, targets, scale * weight)
        assert (found.nrc1, found.nrc2, found.nrc3) == pytest.approx((plain.nrc1, plain.nrc2, plain.nrc3))
        assert regression_collapse(features, scale * targets, weight).nrc3 == pytest.approx(plain.nrc3)
        assert nc5(scale * features, labels, scale * outside) == pytest.approx(nc5(features, labels, outside))
        np.testing.assert_allclose(neco_scores(scale * features, scale * outside, 2), neco_scores(features, outside, 2))
        np.testing.assert_allclose(
            nci_scores(scale * outside, weight, mean=np.zeros(D)), nci_scores(outside, weight, mean=np.zeros(D))
        )


def test_a_kernel_says_what_its_entries_cannot_show() -> None:
    rng = np.random.default_rng(13)
    labels = np.arange(60) % K
    means = rng.standard_normal((K, D))
    for spread in (1e-2, 1e-10):
        features = means[labels] + spread * rng.standard_normal((60, D))
        found, direct = kernel_nc1(features @ features.T, labels), collapse(features, labels).nc1_trace_ratio
        assert direct is not None
        assert abs(found["nc1_trace_ratio"] - direct) < found["floor"]
        assert (direct < found["floor"]) == (spread == 1e-10)
    assert kernel_nc1((features @ features.T).astype(np.float32), labels)["floor"] > 1e-8
