"""Samples that were held out, about the class means of the training set: against loops that say what is meant."""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from encollapse.errors import ArgumentError, ArgumentTypeError, Undefined
from encollapse.measure import ClassMoments, collapse, held_out, measure_model, regression_collapse
from encollapse.measure.forward.feature_store import FeatureStore
from encollapse.metrics import ClassStatistics, directional_cdnv, nrc1, rnc1

Array = NDArray[Any]
held_out_module = importlib.import_module("encollapse.measure.held_out")  # whose name is that of the function
K, D = 5, 7


def sets(seed: int = 0, absent: int | None = None) -> tuple[tuple[Array, Array], tuple[Array, Array], Array, Array]:
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((K, D)) + 3
    labels, others = np.repeat(np.arange(K), [11, 5, 7, 13, 3]), np.repeat(np.arange(K), [2, 5, 3, 4, 7])
    others = others[others != absent] if absent is not None else others
    train = means[labels] + 0.3 * rng.standard_normal((len(labels), D))
    test = means[others] + 0.2 + 0.5 * rng.standard_normal((len(others), D))
    return (train, labels), (test, others), rng.standard_normal((K, D)), rng.standard_normal(K)


def directional(rows: Array, labels: Array, means: Array) -> float:
    classes = sorted(set(labels.tolist()))
    terms = []
    for k in classes:
        for other in classes:
            if other != k:
                axis = means[other] - means[k]
                terms.append(np.mean([((h - means[k]) @ axis) ** 2 for h in rows[labels == k]]) / (axis @ axis) ** 2)
    return float(np.mean(terms))


@pytest.mark.parametrize("absent", [None, 3])
@pytest.mark.parametrize("averaging", ["default", "class-averaged"])
def test_held_out_samples_are_measured_about_the_training_means(absent: int | None, averaging: str) -> None:
    (x, y), (z, t), weight, bias = sets(absent=absent)
    found = held_out((x, y), (z, t), weight=weight, bias=bias, convention=averaging)
    assert found.train.values == collapse(x, y, weight=weight, bias=bias, convention=averaging).values
    means = np.array([x[y == k].mean(axis=0) for k in range(K)])
    classes = [k for k in range(K) if k != absent]
    priors = np.array([np.mean(t == k) if averaging == "default" else 1 / len(classes) for k in classes])
    center = priors @ means[classes]
    between = sum(p * np.outer(means[k] - center, means[k] - center) for p, k in zip(priors, classes, strict=True))
    scatter = [(z[t == k] - means[k]).T @ (z[t == k] - means[k]) / np.sum(t == k) for k in classes]
    within = sum(p * s for p, s in zip(priors, scatter, strict=True))
    assert found.test.nc1_trace_ratio == pytest.approx(np.trace(within) / np.trace(between), rel=1e-10)
    pinv = np.linalg.pinv(between, rcond=1e-10)
    assert found.test.nc1_pinv == pytest.approx(np.trace(within @ pinv) / len(classes), rel=1e-9)
    pairs = [
        (np.trace(a) + np.trace(b)) / (2 * np.sum((means[k] - means[m]) ** 2))
        for i, (k, a) in enumerate(zip(classes, scatter, strict=True))
        for m, b in zip(classes[:i], scatter[:i], strict=True)
    ]
    assert found.test.cdnv == pytest.approx(np.mean(pairs), rel=1e-10)
    near = np.array([np.argmin([np.sum((h - m) ** 2) for m in means]) for h in z])  # of all training means
    decided = (z @ weight.T + bias).argmax(axis=1)
    assert found.test.ncc_accuracy == np.mean(near == t)
    assert found.test.nc4_agreement == np.mean(near == decided)
    assert found.test.accuracy == np.mean(decided == t)
    assert found.directional_cdnv[1] == pytest.approx(directional(z, t, means), rel=1e-10)
    assert found.directional_cdnv[0] == pytest.approx(directional_cdnv(x, y), rel=1e-10)
    own = [z[t == k].mean(axis=0) for k in classes]
    moved = sum(np.sum(t == k) * np.sum((m - means[k]) ** 2) for k, m in zip(classes, own, strict=True))
    assert found.shift_share == pytest.approx(
        moved / sum(np.sum((h - means[k]) ** 2) for h, k in zip(z, t, strict=True))
    )
    assert "directional_cdnv" in str(found)
    assert found.to_dict()["test"]["nc1_pinv"] == found.test.nc1_pinv


def test_a_network_on_two_loaders_is_measured_as_its_features_are() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, D), nn.ReLU(), nn.Dropout(0.5), nn.Linear(D, K))
    train, test = ([(torch.randn(20, 3), torch.arange(20) % K) for _ in range(2)] for _ in range(2))
    state = torch.get_rng_state()
    found = held_out(train, test, network=network)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert found.train.values == pytest.approx(measure_model(network, train).values)
    network.eval()
    features = [network[1](network[0](torch.cat([x for x, _ in part]))).detach() for part in (train, test)]
    labels = [torch.cat([y for _, y in part]) for part in (train, test)]
    by_hand = held_out(
        (features[0], labels[0]), (features[1], labels[1]), weight=network[3].weight, bias=network[3].bias
    )
    assert found.test.values == pytest.approx(by_hand.test.values)
    assert "'3' (Linear)" in str(found)


def test_features_of_loaders_go_to_files_beyond_the_budget() -> None:
    """Of each set 20 batches of 256 KiB: 2 MiB of them stay in memory, and the values are the same."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 256), nn.Tanh(), nn.Linear(256, K))

    class Batches:
        def __init__(self, seed: int) -> None:
            self.seed = seed

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            generator = torch.Generator().manual_seed(self.seed)
            for _ in range(20):
                labels = torch.randint(0, K, (256,), generator=generator)
                yield torch.randn(256, 3, generator=generator) + labels[:, None], labels

    kept = held_out(Batches(0), Batches(1), network=network)
    written: list[int] = []
    held: list[int] = []

    class Watched(FeatureStore):
        def append(self, features: torch.Tensor) -> None:
            super().append(features)
            written.append(self.bytes_on_disk)
            held.append(sum(part.nbytes for part in self._in_memory))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out_module, "FeatureStore", Watched)
        spilled = held_out(Batches(0), Batches(1), network=network, memory_budget=2**22)
    assert spilled.to_dict() == kept.to_dict()
    assert max(held) <= 2**21
    assert max(written) == 20 * 256 * 256 * 4 - max(held)


def test_the_training_set_about_its_own_means_is_itself() -> None:
    (x, y), _, weight, _ = sets(1)
    found = held_out((x, y), (x, y), weight=weight)
    known = {name: value for name, value in found.train.values.items() if value is not None}
    assert {name: found.test.values[name] for name in known} == pytest.approx(known, rel=1e-9)
    assert found.test.missing == found.train.missing
    assert found.shift_share == pytest.approx(0.0, abs=1e-12)
    assert found.directional_cdnv[0] == found.directional_cdnv[1]
    few = ClassStatistics.from_features(x, y)
    with pytest.raises(ArgumentError, match="expected shape"):
        few.about(np.zeros((K, D + 1)))


def test_what_does_not_fit_is_named() -> None:
    (x, y), (z, t), weight, _ = sets()
    with pytest.raises(ArgumentError, match="no mean of class 4"):
        held_out((x[y < 4], y[y < 4]), (z, t), num_classes=K)
    with pytest.raises(ArgumentTypeError, match="train: expected a pair"):
        held_out([(x, y)], (z, t))
    with pytest.raises(ArgumentError, match="is read from the network"):
        held_out([(x, y)], [(z, t)], network=nn.Linear(D, K), weight=weight)
    with pytest.raises(ArgumentError, match="is of 7 features a sample, and these have 6"):
        collapse(z[:, :6], t, about=collapse(x, y))
    with pytest.raises(ArgumentTypeError, match="about: expected a Collapse"):
        collapse(z, t, about=ClassMoments(K, D))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="means: has no mean of class 5"):
        directional_cdnv(z, np.where(t == 4, K, t), x[:K])


def test_relative_spread_in_both_published_senses() -> None:
    (x, y), _, weight, _ = sets(3)
    spread = sum(np.sum((x[y == k] - x[y == k].mean(axis=0)) ** 2) for k in range(K)) / len(x)
    assert rnc1(x, y) == pytest.approx(spread / np.mean([np.sqrt(h @ h) for h in x]) ** 2, rel=1e-12)
    assert rnc1(1e200 * x, y) == pytest.approx(rnc1(x, y), rel=1e-12)
    assert rnc1(x + 100, y) < 0.01 * rnc1(x, y)  # about the origin, as published
    centered = x - x.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1][:, -3:]
    outside = [1 - np.sum((axes.T @ h) ** 2) / (h @ h) for h in centered]
    assert nrc1(x, 3) == pytest.approx(np.mean(outside), rel=1e-10)
    assert nrc1(np.eye(K)[y], K - 1) == pytest.approx(0.0, abs=1e-12)
    targets = np.random.default_rng(0).standard_normal((len(x), 3))
    assert regression_collapse(x, targets, weight[:3]).nrc1 == pytest.approx(nrc1(x, 3))
    with pytest.raises(Undefined, match="all features are zero"):
        rnc1(np.zeros((3, 2)), [0, 1, 1])
    with pytest.raises(Undefined, match="all features are the same"):
        nrc1(np.ones((3, 2)), 1)
