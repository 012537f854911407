"""Labels with a common mean far larger than what tells them apart: no digit of the minimum is lost to it."""

import math
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.ufm import label_structure
from encollapse.ufm.mse.resolvent.table import ResolventTable
from encollapse.ufm.mse.weighted_labels import WeightedLabels, unit_near

DECAYS = [0.0, 1e-9, 1e-3, 0.3, 10.0, 1e6, math.inf]


def eigenvalues(a: Decimal, b: Decimal, off: Decimal) -> tuple[Decimal, Decimal]:
    """Of [[a, off], [off, b]], larger first."""
    root = ((a - b) ** 2 + 4 * off**2).sqrt()
    return (a + b + root) / 2, (a + b - root) / 2


@pytest.mark.parametrize("downdate", [None, (0.3, 0.05)])
@pytest.mark.parametrize("c", [0.2, 0.9, 3.0])
@pytest.mark.parametrize("length", [3.0, 40.0, 1e3])
def test_the_value_to_fifty_digits(downdate: tuple[float, float] | None, c: float, length: float) -> None:
    getcontext().prec = 50
    spectrum, shift = np.array([1.0, 0.4]), length * np.array([0.8, -0.6])
    pencil = ResolventTable(spectrum, 1.1 * shift, c * length**0.25, None if downdate is None else np.array(downdate))
    p = [Decimal(0), Decimal(0)] if downdate is None else [Decimal(v) for v in downdate]
    x, d = [Decimal(float(v)) for v in shift], [Decimal(float(v)) for v in spectrum]
    threshold = Decimal(pencil.threshold)
    total = Decimal(0)
    for square in eigenvalues(
        d[0] ** 2 - p[0] ** 2 + x[0] ** 2, d[1] ** 2 - p[1] ** 2 + x[1] ** 2, x[0] * x[1] - p[0] * p[1]
    ):
        sigma = square.sqrt()
        total += square / 2 if sigma <= threshold else threshold * (sigma - threshold / 2)
    found = pencil.at(shift[None], np.zeros((1, 2)), np.array([0.0]))
    assert found.value[0] == pytest.approx(float(total), rel=3e-15)


@pytest.mark.parametrize("k", [7, 83])
@pytest.mark.parametrize("mean", [1.0, 100.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("share", [0.5, 0.03])
def test_gaps_stay_at_rounding(k: int, mean: float, share: float) -> None:
    """They were up to 1e-10 where the mean is large."""
    rng = np.random.default_rng(1)
    counts, codewords = rng.integers(1, 1000, k), rng.standard_normal((k, k))
    c = share * float(np.linalg.norm(codewords * np.sqrt(counts / counts.sum()), 2))
    decay = c / math.sqrt(counts.sum())
    problem = ec.ufm.Problem(ec.encodings.Encoding(codewords + mean), counts, weight_decay=decay, feature_decay=decay)
    for found in ec.ufm.bias_path(problem, DECAYS).solutions:
        assert found.certificate.relative_gap <= 2e-13


def test_a_free_bias_takes_the_mean_without_a_trace() -> None:
    """Codewords that are dyadic stay exact under a dyadic mean, so the minimum is the same to rounding."""
    rng = np.random.default_rng(2)
    codewords, counts = rng.integers(-512, 512, (5, 7)) / 512, np.array([2, 3, 5, 7, 11, 13, 17])
    losses = [
        ec.ufm.solve(
            ec.ufm.Problem(ec.encodings.Encoding(codewords + mean), counts, weight_decay=1e-2, feature_decay=1e-3)
        ).loss
        for mean in (0.0, 2.0**30)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-14)


def test_a_mean_that_the_bias_takes_costs_nothing_though_the_rest_is_small() -> None:
    """The bound was charged with the size of all labels, though hardly any of it is left in the loss."""
    rng = np.random.default_rng(4)
    codewords, counts = 1e-3 * rng.standard_normal((83, 97)) + 0.5, rng.integers(1, 1000, 97)
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(codewords),
        counts,
        weight_decay=0.5 / math.sqrt(counts.sum()),
        feature_decay=0.5 / math.sqrt(counts.sum()),
        bias_decay=1e-12,
    )
    assert ec.ufm.solve(problem).certificate.relative_gap <= 2e-13


def test_labels_are_centered_twice() -> None:
    rng = np.random.default_rng(3)
    codewords, priors = rng.integers(-512, 512, (5, 7)) / 512, rng.dirichlet(np.ones(7))
    near, far = (WeightedLabels.of(codewords + mean, priors) for mean in (0.0, 2.0**30))
    np.testing.assert_allclose(
        far.scale * far.centered, near.scale * near.centered, atol=4e-16 * np.abs(codewords).max()
    )


@pytest.mark.parametrize("size", [5e-324, 1e-300, 0.3, 1.0, 7.0, 1e300, 1.7976931348623157e308])
def test_units_are_powers_of_two(size: float) -> None:
    unit = unit_near(size)
    assert math.frexp(unit)[0] == 0.5
    assert 0.5 <= size / unit <= 2.0


@pytest.mark.parametrize("bias_decay", DECAYS)
def test_a_long_tail_under_a_large_mean_is_proved(bias_decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not, and had no other method to fall back to."""
    monkeypatch.setattr(label_structure, "_MANY_COUNTS", 0)
    k = 53
    encoding, counts = ec.encodings.scaled_one_hot(k, on=1000.0, off=999.0), np.arange(1, k + 1)
    decay = 0.2 / math.sqrt(k * counts.sum())
    arguments: dict[str, Any] = {"weight_decay": decay, "feature_decay": decay, "bias_decay": bias_decay}
    found = ec.ufm.solve(ec.ufm.Problem(encoding, counts, **arguments))
    assert found.problem.structure.long_tail is not None
    assert found.certificate.relative_gap <= 1e-13
    dense = ec.ufm.solve(ec.ufm.Problem(ec.encodings.Encoding(encoding.codewords), counts, **arguments))
    assert found.loss == pytest.approx(dense.loss, rel=1e-13)
    np.testing.assert_allclose(found.bias, dense.bias, atol=1e-9)
