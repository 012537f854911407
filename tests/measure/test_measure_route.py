"""Which way a result was computed: the ways agree, and the result says which was taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.measure import ClassMoments, collapse, measure_model, measure_shards
from encollapse.measure.moments import projection
from encollapse.metrics import PRESETS

K, D, N = 7, 29, 211
NEEDS_ALL = {"vci"}


def sample(dim: int = D, spread: float = 0.3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(dim)
    labels = rng.choice(K, N, p=[0.3, 0.0, 0.25, 0.2, 0.1, 0.1, 0.05])
    means = np.logspace(0, -3, K)[:, None] * rng.standard_normal((K, dim)) + 3
    return means[labels] + spread * rng.standard_normal((N, dim)) * np.linspace(0.5, 2, dim), labels


@pytest.mark.parametrize("convention", sorted(PRESETS))
@pytest.mark.parametrize(("dim", "dtype", "rtol"), [(D, "f8", 1e-9), (3, "f8", 1e-9), (331, "f4", 1e-5)])
def test_projected_residuals_give_the_value_of_the_covariance(
    convention: str, dim: int, dtype: str, rtol: float
) -> None:
    features, labels = sample(dim)
    full = collapse(features.astype(dtype), labels, convention=convention)
    part = collapse(features.astype(dtype), labels, convention=convention, covariance=False)
    averaged_again = PRESETS[convention].within_averaging == "class"
    few_of_float32 = dtype == "f4"  # fewer samples than dimensions
    assert full.route == ("two-pass covariance" if averaged_again or few_of_float32 else "one-pass covariance")
    assert part.route == "two-pass projected" == part.to_dict()["route"]
    assert str(part).endswith("route: two-pass projected")
    assert part.nc1_pinv == pytest.approx(full.nc1_pinv, rel=rtol)
    assert part.details["nc1_quotient"] == pytest.approx(full.details["nc1_quotient"], rel=rtol)
    assert set(part.missing) == set(full.missing) | NEEDS_ALL
    assert "covariance=True" in part.missing["vci"]
    for name in set(full.values) - NEEDS_ALL - {"nc1_pinv"}:
        assert part.values[name] == full.values[name], name
    assert (
        "along the class means"
        in (
            collapse(
                features, labels, weight=np.ones((K, dim)), encoding=ec.encodings.one_hot(K), covariance=False
            ).details.missing["mse_nc1"]
        )
    )


def test_tight_classes_keep_their_digits() -> None:
    """float32 features with means of length 10 and spread 1e-3, against two passes in float64."""
    rng = np.random.default_rng(5)
    labels = np.arange(4013) % K
    means = rng.standard_normal((K, 131))
    means *= 10 / np.linalg.norm(means, axis=1)[:, None]
    features = (means[labels] + 1e-3 * rng.standard_normal((len(labels), 131))).astype(np.float32)
    exact = features.astype(np.float64)
    centers = np.array([exact[labels == k].mean(axis=0) for k in range(K)])
    residuals = exact - centers[labels]
    spread = centers - exact.mean(axis=0)
    shares = np.bincount(labels)[:, None] / len(labels)
    inverse = np.linalg.pinv(spread.T @ (shares * spread), rcond=1e-10)
    slow = np.trace(residuals.T @ residuals / len(labels) @ inverse) / K
    assert collapse(features, labels, covariance=False).nc1_pinv == pytest.approx(slow, rel=1e-5)


def test_the_route_is_chosen_by_the_memory_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = sample()
    rank = np.count_nonzero(np.bincount(labels)) - 1
    needs = (40 * D**2, 40 * rank**2 + 32 * rank * D)
    for budget, route in (
        (needs[0], "one-pass covariance"),
        (needs[0] - 1, "two-pass projected"),
        (needs[1], "two-pass projected"),
        (needs[1] - 1, "no covariance"),
    ):
        monkeypatch.setattr(projection, "BUDGET", budget)
        found = collapse(features, labels)
        assert found.route == route
        assert (found.nc1_pinv is None) == (route == "no covariance")
    assert collapse(features, labels, covariance=True).route == "one-pass covariance"


def test_a_long_product_that_nc1_can_do_without_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``N d²`` beside ``N r (d + r)``, the products of the two routes, once the first takes seconds."""
    rng = np.random.default_rng(5)
    labels = np.arange(101) % 5
    features = rng.standard_normal((101, 67)) + 3 * rng.standard_normal((5, 67))[labels]
    monkeypatch.setattr(projection, "LONG_PRODUCT", 101 * 67**2)
    found = collapse(features, labels)
    assert found.route == "two-pass projected"
    assert "covariance=True" in found.missing["vci"]
    asked = collapse(features, labels, covariance=True)
    assert asked.route == "one-pass covariance"
    assert found.nc1_pinv == pytest.approx(asked.nc1_pinv, rel=1e-10)
    # A sample fewer is below the limit; a rank of 17 of 67 takes 0.32 of the product.
    assert collapse(features[1:], labels[1:]).route == "one-pass covariance"
    assert collapse(features, np.arange(101) % 18).route == "one-pass covariance"

    np.save(tmp_path / "features.npy", features)
    np.save(tmp_path / "features.labels.npy", labels)
    assert measure_shards(tmp_path).route == "two-pass projected"
    assert measure_shards(tmp_path, second_pass=False).route == "one-pass covariance"


def test_nothing_to_project_on() -> None:
    features, _ = sample()
    for labels in (np.zeros(N, dtype=np.int64), np.arange(N) % 2):
        found = collapse(np.ones_like(features), labels, covariance=False)
        assert found.route == "no covariance"
        assert found.nc1_pinv is None


@pytest.mark.parametrize("convention", ["default", "class-averaged"])
def test_networks_and_shards_take_the_same_routes(tmp_path: Path, convention: str) -> None:
    features, labels = sample()
    head = nn.Linear(D, K, dtype=torch.float64)
    given: dict[str, Any] = {"weight": head.weight.detach(), "bias": head.bias.detach(), "num_classes": K}
    wanted = collapse(features, labels, convention=convention, covariance=False, **given)
    loader = [(torch.from_numpy(features[i : i + 50]), torch.from_numpy(labels[i : i + 50])) for i in range(0, N, 50)]
    for number, (x, y) in enumerate(loader):
        np.save(tmp_path / f"{number}.npy", x.numpy())
        np.save(tmp_path / f"{number}.labels.npy", y.numpy())
    options: dict[str, Any] = {"convention": convention, "covariance": False}
    for found in (measure_model(nn.Sequential(head), loader, **options), measure_shards(tmp_path, **options, **given)):
        assert found.route == "two-pass projected"
        assert found.missing == wanted.missing
        for name, value in wanted.values.items():
            assert (found.values[name] is None) == (value is None), name
            assert value is None or found.values[name] == pytest.approx(value, rel=1e-9), name
    once = measure_shards(tmp_path, second_pass=False, **options, **given)
    assert once.route == "no covariance"
    assert once.missing["nc1_pinv"].startswith("the within-class covariance was not kept")


@pytest.mark.parametrize("convention", ["default", "class-averaged"])
def test_directions_of_little_spread_are_gathered_in_double(tmp_path: Path, convention: str) -> None:
    """Variances within classes span 1e7, and the means lie along the least of them."""
    rng = np.random.default_rng(8)
    size, dim, classes = 1500, 67, 5
    labels = rng.choice(classes, size, p=[0.3, 0.3, 0.2, 0.1, 0.1])
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    means = np.zeros((classes, dim))
    means[:, -classes:] = np.eye(classes)
    noise = np.sqrt(np.logspace(0, -7, dim)) * rng.standard_normal((size, dim))
    features = ((means[labels] + noise) @ turn).astype(np.float32)
    exact = collapse(features.astype(np.float64), labels, convention=convention)
    assert exact.vci is not None
    found = collapse(features, labels, convention=convention)
    assert found.route == "two-pass covariance"
    assert found.vci == pytest.approx(exact.vci, rel=1e-5)
    for number, part in enumerate(np.array_split(np.arange(size), 3)):
        np.savez(tmp_path / f"{number}.npz", features=features[part], labels=labels[part])
    shards = measure_shards(tmp_path, convention=convention)
    assert shards.route == "two-pass covariance"
    assert shards.vci == pytest.approx(exact.vci, rel=1e-5)
    head, encoding = rng.standard_normal((classes, dim)), ec.encodings.one_hot(classes)
    by_double = collapse(features.astype(np.float64), labels, weight=head, encoding=encoding).details
    details = collapse(features, labels, weight=head, encoding=encoding).details
    for name in ("mse_nc1", "mse_nc23", "mse_perpendicular"):
        assert details[name] == pytest.approx(by_double[name], rel=1e-5), name
    once = ClassMoments(classes, dim).update(features, labels).collapse(head, None, encoding)
    assert "float64" in once.details.missing["mse_nc1"]
    assert once.vci is None
    assert "float64" in once.missing["vci"]
    assert once.nc1_pinv == pytest.approx(collapse(features.astype(np.float64), labels).nc1_pinv, rel=1e-4)
