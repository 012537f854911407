"""The Gaussian mixture has the separation and the variance that it claims."""

from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError


@pytest.mark.parametrize(("num_classes", "dim"), [(5, 4), (5, 11), (2, 1), (7, 3)])
def test_mixtures_have_the_separation_asked_for(num_classes: int, dim: int) -> None:
    n = 4000
    data = ec.data.gaussian_mixture(num_classes, dim, n, separation=6.0, seed=3)
    means = np.stack([data.train.inputs[data.train.labels == k].mean(0) for k in range(num_classes)])
    distances = np.linalg.norm(means[:, None] - means, axis=2)[np.triu_indices(num_classes, 1)]
    assert np.sqrt((distances**2).mean()) == pytest.approx(6.0, abs=0.1)
    if dim >= num_classes - 1:
        np.testing.assert_allclose(distances, 6.0, atol=0.15)
    residuals = data.train.inputs - means[data.train.labels]
    np.testing.assert_allclose(np.cov(residuals.T).reshape(dim, dim), np.eye(dim), atol=0.05)


def test_mixtures_have_the_variance_of_theory() -> None:
    """Of isotropic noise at distance D the class-distance normalized variance is dim/D²."""
    data = ec.data.load("gaussian-mixture", num_classes=5, dim=7, samples_per_class=3000, separation=4.0)
    found = ec.measure.collapse(data.train.inputs, data.train.labels)
    assert found.cdnv == pytest.approx(7 / 16, rel=0.02)


def test_mixtures_go_by_the_seed_and_have_test_sets_of_their_own() -> None:
    options: dict[str, Any] = {"num_classes": 3, "dim": 2, "samples_per_class": [5, 7, 11]}
    first, again, other = (ec.data.load("gaussian-mixture", seed=s, **options) for s in (1, 1, 2))
    assert first.counts.tolist() == [5, 7, 11]
    assert np.array_equal(first.train.inputs, again.train.inputs)
    assert not np.array_equal(first.train.inputs, other.train.inputs)
    held = ec.data.load("gaussian-mixture", seed=1, test_samples_per_class=13, **options)
    assert held.test is not None
    assert np.bincount(held.test.labels).tolist() == [13, 13, 13]
    assert np.array_equal(held.train.inputs, first.train.inputs)
    assert not np.isin(held.test.inputs, first.train.inputs).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"dim": 0}, "dim"),
        ({"separation": -1.0}, "separation"),
        ({"samples_per_class": [1, 2]}, "samples_per_class"),
        ({"seed": -1}, "seed"),
    ],
)
def test_mixtures_refuse_what_is_out_of_range(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        ec.data.gaussian_mixture(**options)
