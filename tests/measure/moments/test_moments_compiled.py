"""The compiled loops against sums written out in float64, at the sizes and scales where they could go astray."""

import copy
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse.measure.moments import residuals
from encollapse.measure.moments.residuals import rows_by_class

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def _whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "COMPILED_FROM", 1)
    monkeypatch.setattr(residuals, "_SHARE_ENTRIES", 64)
    monkeypatch.setattr(residuals, "_CHUNK_ROWS", 31)


@pytest.fixture(params=[1, 2, 3], ids=lambda number: f"{number} threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def written_out(
    rows: torch.Tensor, place: torch.Tensor, anchors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Residuals, sums by class and squares by class, one class after the other in float64."""
    gaps = rows.double() - anchors.double()[place]
    classes = range(len(anchors))
    sums = torch.stack([gaps[place == k].sum(dim=0) for k in classes])
    squares = torch.stack([gaps[place == k].square().sum() for k in classes])
    return gaps, sums, squares


@pytest.mark.parametrize("few", [True, False], ids=["in chunks", "at once"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "not kept"])
def test_sums_are_those_of_the_residuals(
    few: bool, dtype: torch.dtype, keep: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residuals, "_FEW_ANCHORS", 2**20 if few else 0)
    generator = torch.Generator().manual_seed(3)
    for size, dim, count in ((5, 7, 2503), (1, 11, 1031), (89, 3, 97), (13, 37, 4)):
        place = torch.randint(0, size, (count,), generator=generator)
        place[place == 3] = 0  # a class without rows, and one with many
        anchors = torch.randn(size, dim, generator=generator, dtype=torch.float64).mul_(10).float().to(dtype)
        spread = 1e-3 * torch.randn(count, dim, generator=generator, dtype=torch.float64)
        rows = (anchors[place].double() + spread).to(dtype)
        kept = torch.full_like(rows, torch.nan) if keep else None

        by_class = rows_by_class(rows, place, size, threads)
        assert type(by_class).__name__ == "_Compiled"
        found = by_class.residual_sums(rows, anchors, kept)

        gaps, sums, squares = written_out(rows, place, anchors)
        eps = max(torch.finfo(dtype).eps, 1e-14)  # the reference rounds as well
        scale = gaps.abs().max() * count
        torch.testing.assert_close(found.sums, sums, rtol=0, atol=float(4 * eps * scale))
        torch.testing.assert_close(found.squares, squares, rtol=8 * eps, atol=0)
        assert float(found.largest) == pytest.approx(float(gaps.norm(dim=1).max()), rel=8 * eps)
        assert by_class.counts.tolist() == [int((place == k).sum()) for k in range(size)]
        for k, first in enumerate(by_class.first_rows.tolist()):
            own = (place == k).nonzero().flatten()
            assert first == (int(own[0]) if len(own) else count)
        if kept is not None:
            torch.testing.assert_close(kept.double(), gaps, rtol=8 * eps, atol=0)


@pytest.mark.parametrize("few", [True, False], ids=["in chunks", "at once"])
def test_squares_below_the_range_of_float32_are_not_lost(few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "_FEW_ANCHORS", 2**20 if few else 0)
    rows = torch.full((11, 5), 1e-25)
    rows[3] = 1e-5
    place = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0])
    found = rows_by_class(rows, place, 2, 1).residual_sums(rows, torch.zeros(2, 5), None)
    _, _, squares = written_out(rows, place, torch.zeros(2, 5))
    torch.testing.assert_close(found.squares, squares, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("row", [0, 1, 37, 100])
@pytest.mark.parametrize("few", [True, False], ids=["in chunks", "at once"])
def test_an_entry_that_is_not_finite_is_found_wherever_it_is(
    few: bool, row: int, bad: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residuals, "_FEW_ANCHORS", 2**20 if few else 0)
    features = torch.ones(101, 67)
    features[row, 5] = bad
    labels = torch.arange(101) % 3
    with pytest.raises(ec.errors.ArgumentError, match=f"row {row}, column 5"):
        ec.measure.ClassMoments(3, 67).update(features, labels)


def in_batches(
    size: int, features: torch.Tensor, labels: torch.Tensor, num_classes: int, *, covariance: bool
) -> ec.measure.ClassMoments:
    """Moments of batches that the compiled loops take, as tensors, arrays and strided views in turn."""
    found = ec.measure.ClassMoments(num_classes, features.shape[1], covariance=covariance)
    found.update(features[:1], labels[:1]).means  # noqa: B018 (from here on the loops are at hand)
    assert found._kernels is not None
    for i, start in enumerate(range(1, len(labels), size)):
        rows, own = features[start : start + size], labels[start : start + size]
        given: Any = (rows.clone().requires_grad_(), rows.numpy(), torch.stack([rows, rows], dim=2)[:, :, 0])[i % 3]
        found.update(given, own)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", [1e-22, 1.0, 1e22])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_batches_added_one_by_one_hold_their_precision(dtype: torch.dtype, scale: float, offset: float) -> None:
    """Against sums written out in 40 digits, the first row an outlier, one class without samples."""
    generator = torch.Generator().manual_seed(11)
    labels = torch.randint(0, 6, (300,), generator=generator)
    means = torch.randn(7, 5, generator=generator, dtype=torch.float64) + offset
    features = means[labels] + 1e-2 * torch.randn(300, 5, generator=generator, dtype=torch.float64)
    features[0] += 30.0
    features = (features * scale).to(dtype)
    found = in_batches(37, features, labels, 7, covariance=False)
    assert found.counts.tolist() == np.bincount(labels, minlength=7).tolist()
    assert found.counts[6] == 0
    assert torch.isnan(found.means[6]).all()
    with mpmath.workdps(40):
        for k in range(6):
            rows = [[mpmath.mpf(x) for x in row] for row in features[labels == k].tolist()]
            mean = [mpmath.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
            trace = mpmath.fsum((x - m) ** 2 for row in rows for x, m in zip(row, mean, strict=True)) / len(rows)
            np.testing.assert_allclose(found.means[k], [float(m) for m in mean], rtol=1e-14, atol=1e-14 * scale)
            assert float(found.within_trace[k]) == pytest.approx(float(trace), rel=1e-12)


@pytest.mark.parametrize("covariance", [True, False])
def test_a_batch_that_the_loops_refuse_is_named_and_changes_nothing(covariance: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    features, labels = torch.randn(90, 9, generator=generator), torch.arange(90) % 4
    found = in_batches(31, features, labels, 4, covariance=covariance)
    before = copy.deepcopy(found).state_dict()
    wrong: list[tuple[torch.Tensor, torch.Tensor, str]] = [
        (features[:7].clone().index_fill_(0, torch.tensor([5]), value), labels[:7], "row 5, column 0")
        for value in (torch.nan, torch.inf, -torch.inf)
    ]
    wrong += [
        (features[:3], torch.tensor([0, 4, 1]), "got 4 at index 1"),
        (features[:3], torch.tensor([0, -1, 1]), "got -1 at index 1"),
        (features[:3], labels[:2], "2 labels for 3 rows"),
        (features[:3, :8].contiguous(), labels[:3], "expected 9 columns"),
    ]
    for rows, own, text in wrong:
        with pytest.raises(ec.errors.ArgumentError, match=text):
            found.update(rows, own)
    assert found.num_samples == 90
    for name, value in found.state_dict().items():
        assert torch.equal(value, before[name]), name
    huge = torch.full((2, 9), 3e38)  # whose sum is beyond the range, which the entries are not
    assert found.update(huge, torch.tensor([3, 3])).num_samples == 92


def test_what_was_added_one_by_one_does_not_wait_and_is_no_view() -> None:
    generator = torch.Generator().manual_seed(4)
    features, labels = torch.randn(200, 6, generator=generator), torch.arange(200) % 3
    given, own = features.clone(), labels.clone()
    found = in_batches(50, given, own, 3, covariance=False)
    assert found._waiting is None
    wanted, copied = found.means, copy.deepcopy(found)
    given.zero_()
    own.zero_()
    found.update(features, labels)
    torch.testing.assert_close(found.means, wanted, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(copied.means, wanted, rtol=0, atol=0)
    assert (found.num_samples, copied.num_samples) == (400, 200)


@pytest.mark.parametrize("few", [True, False], ids=["in chunks", "at once"])
@pytest.mark.parametrize("covariance", [True, False])
@pytest.mark.parametrize("scale", [1e-22, 1.0, 1e22])
def test_moments_hold_their_precision(
    few: bool, covariance: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means of length 10 and spread 1e-3 in float32, the first row an outlier; also where squares leave float32."""
    monkeypatch.setattr(residuals, "_FEW_ANCHORS", 2**20 if few else 0)
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 7, (1999,), generator=generator)
    means = 10 * torch.nn.functional.normalize(torch.randn(7, 71, generator=generator))
    features = means[labels] + 1e-3 * torch.randn(1999, 71, generator=generator)
    features[0] += 3.0
    features *= scale
    moments = ec.measure.ClassMoments(7, 71, covariance=covariance)
    for part in (slice(0, 1000), slice(1000, 1999)):
        moments.update(features[part], labels[part])

    exact = features.double().numpy() / scale
    own = [exact[labels.numpy() == k] for k in range(7)]
    traces = [((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean() for rows in own]
    np.testing.assert_allclose(moments.within_trace / scale**2, traces, rtol=1e-5)
    if covariance:
        total = sum((rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) for rows in own) / 1999
        found = moments.within_covariance
        assert found is not None
        assert np.abs(found.numpy() / scale**2 - total).max() < 1e-5 * np.abs(total).max()
