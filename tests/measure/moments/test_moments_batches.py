"""Rows that wait in a block: whatever the split in batches, the numbers are those of the slow reference."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encollapse.errors import ArgumentError
from encollapse.measure import ClassMoments, NeuralCollapse
from encollapse.measure.adapters import metric as adapter
from encollapse.measure.moments import accumulate, residuals, waiting
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.measure.packing import pack
from reference.collapse_reference import moments as slow_moments

K, D = 5, 67


def sample(count: int, seed: int = 0, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, K - 1, (count,), generator=generator)
    means = 3 * torch.randn(K, D, generator=generator)
    return means[labels] + spread * torch.randn(count, D, generator=generator), labels


def fed(size: int, features: torch.Tensor, labels: torch.Tensor, **options: Any) -> ClassMoments:
    found = ClassMoments(K, D, **options)
    for rows, own in zip(features.split(size), labels.split(size), strict=True):  # type: ignore[no-untyped-call]
        found.update(rows, own)
    return found


READS: dict[str, Any] = {
    "nothing": lambda found: found,
    "means": lambda found: (found.means, found)[1],
    "trace": lambda found: (found.within_trace, found)[1],
    "pickle": lambda found: pickle.loads(pickle.dumps(found)),
    "deep copy": copy.deepcopy,
    "state": lambda found: (found.load_state_dict(found.state_dict()), found)[1],
    "merge": lambda found: ClassMoments(K, D, covariance=found.covariance).merge(found),
    "reduce": lambda found: found.all_reduce(),
    "statistics": lambda found: (found.num_samples and found.statistics(), found)[1],
}
DTYPES = {"f2": 1e-3, "bfloat16": 1e-2, "f4": 1e-6, "f8": 1e-12}


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(sorted(DTYPES)), st.sampled_from(sorted(READS)), st.booleans()),
        min_size=1, max_size=9,
    ).filter(lambda parts: any(size for size, *_ in parts)),
    capacity=st.sampled_from([1, 7, 31, 2**16]),
    compiled_from=st.sampled_from([1, 2**10, 2**21]),
    covariance=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(
    parts=[(40, "f4", "merge", True), (40, "f8", "pickle", False)],
    capacity=31,
    compiled_from=2**21,
    covariance=True,
    seed=0,
)
@example(
    parts=[(9, "f4", read, False) for read in READS for _ in range(2)],
    capacity=2**16,
    compiled_from=1,
    covariance=False,
    seed=0,
)
def test_any_split_dtypes_and_reads_between(
    parts: list[tuple[int, str, str, bool]], capacity: int, compiled_from: int, covariance: bool, seed: int
) -> None:
    features, labels = sample(sum(size for size, *_ in parts), seed)
    found, seen, start = ClassMoments(K, D, covariance=covariance), [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "_MOST_ROWS", capacity)
        for module in (waiting, residuals):
            patch.setattr(module, "COMPILED_FROM", compiled_from)
        for size, dtype, read, as_array in parts:
            rows, own = features[start : start + size], labels[start : start + size]
            given_rows: Any = rows.bfloat16() if dtype == "bfloat16" else rows.numpy().astype(dtype)
            seen.append(given_rows.double() if dtype == "bfloat16" else torch.from_numpy(given_rows.astype("f8")))
            if not as_array and dtype != "bfloat16":
                given_rows = torch.from_numpy(given_rows).requires_grad_()
            found.update(given_rows, own)
            found = READS[read](found)
            start += size
            assert found.num_samples == start
    exact = torch.cat(seen).numpy()
    wanted = slow_moments(exact, labels.numpy())
    scale = float(np.square(exact).sum(axis=1).max())
    np.testing.assert_array_equal(found.counts[wanted.classes], wanted.counts)
    np.testing.assert_allclose(found.means[wanted.classes], wanted.means, atol=1e-12 * scale)
    np.testing.assert_allclose(
        found.within_trace[wanted.classes], [np.trace(c) for c in wanted.covariances], atol=1e-12 * scale
    )
    if found.within_covariance is not None:
        np.testing.assert_allclose(found.within_covariance.numpy(), wanted.within, atol=1e-12 * scale)
    coarsest = max({"f2": 2.0**-10, "bfloat16": 2.0**-7, "f4": 2.0**-23, "f8": 2.0**-52}[d] for _, d, *_ in parts)
    assert found.statistics().resolution == coarsest


@pytest.mark.parametrize("compiled_from", [2**10, 2**21])
@pytest.mark.parametrize("covariance", [True, False])
def test_batches_of_any_size_fill_the_same_blocks(
    covariance: bool, compiled_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, by float32 products: the split cannot be told from the result."""
    monkeypatch.setattr(waiting, "_MOST_ROWS", 1009)
    monkeypatch.setattr(waiting, "COMPILED_FROM", compiled_from)
    monkeypatch.setattr(residuals, "COMPILED_FROM", compiled_from)
    features, labels = sample(3001)
    first, *others = (fed(size, features, labels, covariance=covariance).state_dict() for size in (32, 131, 1008))
    for other in others:
        for name, value in first.items():
            assert torch.equal(value, other[name]), name
    wanted = slow_moments(features.double().numpy(), labels.numpy())
    total = fed(32, features, labels, covariance=covariance)
    np.testing.assert_allclose(total.within_trace[wanted.classes], [np.trace(c) for c in wanted.covariances], rtol=1e-6)
    if total.within_covariance is not None:
        np.testing.assert_allclose(total.within_covariance.numpy(), wanted.within, atol=1e-5)


def test_a_hundred_small_batches_are_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []

    def counted(total: torch.Tensor, rows: torch.Tensor, **options: Any) -> None:
        products.append(len(rows))
        add_gram(total, rows, **options)

    monkeypatch.setattr(accumulate, "add_gram", counted)
    features, labels = sample(3200)
    found = fed(32, features, labels)
    assert products == []
    assert found.within_covariance is not None
    assert products == [3200]


def test_what_waits_is_a_copy_and_is_let_go_when_read() -> None:
    features, labels = sample(97)
    wanted = fed(97, features, labels).means
    mine, own, array = features.clone(), labels.clone(), features[:40].numpy().copy()
    found = ClassMoments(K, D).update(array, labels[:40]).update(mine[40:], own[40:])
    mine.zero_()
    own.zero_()
    array[:] = 0
    assert len(pickle.dumps(copy.deepcopy(found))) < 100_000  # the block has 16 MiB
    np.testing.assert_allclose(found.means, wanted, rtol=1e-12)


@pytest.mark.parametrize("capacity", [7, 2**16])
def test_a_batch_that_is_refused_changes_nothing(capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_MOST_ROWS", capacity)
    features, labels = sample(40)
    found = ClassMoments(K, D).update(features[:5], labels[:5])
    for bad in (torch.nan, torch.inf, -torch.inf):
        for cast in (torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.float, torch.Tensor.double):
            broken = features[5:11].clone()
            broken[4, 3] = bad
            with pytest.raises(ArgumentError, match="row 4, column 3"):
                found.update(cast(broken), labels[5:11])
    with pytest.raises(ArgumentError, match="index 2"):
        found.update(features[5:11], [0, 1, K, 0, 1, 2])
    for wrong in (K, -1):
        with pytest.raises(ArgumentError, match="index 2"):
            found.update(features[5:11], torch.tensor([0, 1, wrong, 0, 1, 2]))
    large = torch.full((4, D), 3e38)  # the sum is beyond the range, the entries are not
    assert ClassMoments(K, D).update(large, [0] * 4).means[0, 0] == large[0, 0]
    assert found.num_samples == 5
    wanted = slow_moments(features.double().numpy(), labels.numpy())
    np.testing.assert_allclose(found.update(features[5:], labels[5:]).means[wanted.classes], wanted.means, rtol=1e-6)


def test_inference_mode_may_begin_and_end_between_batches() -> None:
    features, labels = sample(97)
    for first in (True, False):
        with torch.inference_mode(first):
            found, metric = ClassMoments(K, D), NeuralCollapse(K, D)
            found.update(features[:40], labels[:40])
            metric.update(features[:40], labels[:40])
        with torch.inference_mode(not first):
            found.update(features[40:], labels[40:])
            metric.update(features[40:], labels[40:])
        np.testing.assert_allclose(found.means, fed(97, features, labels).means, rtol=1e-12)
        assert metric.collapse().num_samples == 97


def test_the_torchmetrics_state_is_packed_when_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And never between batches, in which frameworks ask the network for its modules and so for their hashes."""
    packed: list[int] = []

    def counted(moments: ClassMoments) -> torch.Tensor:
        packed.append(moments.num_samples)
        return pack(moments)

    features, labels = sample(130)
    metric = NeuralCollapse(K, D, metrics=("cdnv", "nc1_pinv"))
    network = torch.nn.ModuleDict({"body": torch.nn.Linear(3, 2), "metric": metric})
    monkeypatch.setattr(adapter, "pack", counted)
    for rows, own in zip(features.split(10), labels.split(10), strict=True):  # type: ignore[no-untyped-call]
        metric.update(rows, own)
        assert len(list(network.parameters())) == 2
    wanted = ClassMoments(K, D).update(features, labels)
    assert float(metric.compute()["cdnv"]) == pytest.approx(wanted.collapse().cdnv, rel=1e-12)
    assert packed == []
    other: Any
    for other in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        assert packed == []
        other.update(features, labels)
        assert other.collapse().num_samples == 260
    metric.persistent(True)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    assert packed == [130]
    metric.update(features[:3], labels[:3])
    network.load_state_dict(torch.load(tmp_path / "network.pt"))
    assert metric.collapse().num_samples == 130
