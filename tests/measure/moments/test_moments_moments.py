"""`ClassMoments` against two passes in float64, whatever the batches, the order and the spread."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.measure import ClassMoments
from encollapse.measure.moments import state as moment_state
from encollapse.measure.moments.symmetric_product import add_gram
from reference.collapse_reference import Array, metrics, moments

K, D = 5, 7
Labels = NDArray[np.int64]


def sample(seed: int, size: int = 60, spread: float = 0.5, length: float = 1.0) -> tuple[Array, Labels]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, size)
    means = rng.standard_normal((K, D))
    means *= length / np.linalg.norm(means, axis=1, keepdims=True)
    return means[labels] + spread * rng.standard_normal((size, D)), labels


def assert_right(found: ClassMoments, features: Array, labels: Labels, rel: float = 1e-12) -> None:
    """Compare with the two-pass reference, relative to the size of each quantity."""
    expected = moments(features, labels)
    absent = sorted(set(range(found.num_classes)) - set(expected.classes))
    traces = [np.trace(c) for c in expected.covariances]
    assert found.counts.dtype == torch.int64
    assert found.counts[expected.classes].tolist() == expected.counts
    assert found.counts[absent].tolist() == [0] * len(absent)
    assert found.means.dtype == found.within_trace.dtype == torch.float64
    np.testing.assert_allclose(found.means[expected.classes], expected.means, rtol=1e-13, atol=1e-13)
    assert found.means[absent].isnan().all()
    assert found.within_trace[absent].isnan().all()
    scale = float(np.max(traces))
    np.testing.assert_allclose(found.within_trace[expected.classes], traces, rtol=rel, atol=rel * scale)
    if found.covariance:
        assert found.within_covariance is not None
        np.testing.assert_allclose(found.within_covariance, expected.within, rtol=0, atol=rel * scale)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    spread=st.sampled_from([0.0, 1e-5, 1.0]),
)
def test_any_split_into_batches_is_the_two_pass_result(seed: int, size: int, cuts: list[int], spread: float) -> None:
    features, labels = sample(seed, size, spread)
    found = ClassMoments(K, D)
    for part in np.split(np.arange(size), sorted(min(c, size) for c in cuts)):
        found.update(features[part], labels[part])  # empty parts and parts of one sample among them
    # Σ of squares about a mean is known to eps |m| per residual, which is all there is at spread 0.
    scale = max(spread, 1e-15)
    expected = moments(features, labels)
    traces = [np.trace(c) for c in expected.covariances]
    np.testing.assert_allclose(found.within_trace[expected.classes], traces, rtol=1e-9, atol=1e-14 * scale**2 + 1e-29)
    if spread == 1.0:
        assert_right(found, features, labels)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 6))
def test_merge_in_any_order_and_with_empty_and_absent_classes(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = sample(seed, 40)
    owner = rng.integers(0, parts, 40)
    pieces = [ClassMoments(K, D).update(features[owner == p], labels[owner == p]) for p in range(parts)]
    pieces.append(ClassMoments(K, D))
    total = ClassMoments(K, D)
    for p in rng.permutation(len(pieces)):
        total.merge(pieces[p])
    assert_right(total, features, labels)


def test_merge_leaves_the_other_alone() -> None:
    features, labels = sample(0)
    one, two = ClassMoments(K, D).update(features, labels), ClassMoments(K, D).update(features, labels)
    before = two.state_dict()
    one.merge(two)
    assert all(torch.equal(before[name], value) for name, value in two.state_dict().items())
    assert one.num_samples == 2 * two.num_samples


@pytest.mark.parametrize(("dtype", "spread", "tolerance"), [("f4", 1e-3, 1e-4), ("f8", 1e-8, 1e-6)])
def test_tiny_spreads_about_large_means(dtype: str, spread: float, tolerance: float) -> None:
    """Raw second moments are off by 270 % here."""
    features, labels = sample(1, 500, spread, length=10.0)
    rounded = features.astype(dtype)
    found = ClassMoments(K, D)
    for i in range(0, 500, 37):
        found.update(rounded[i : i + 37], labels[i : i + 37])
    expected = moments(rounded.astype(np.longdouble).astype(np.float64), labels)
    for k, covariance in zip(expected.classes, expected.covariances, strict=True):
        assert float(found.within_trace[k]) == pytest.approx(np.trace(covariance), rel=tolerance)
    assert found.within_covariance is not None
    error = np.linalg.norm(found.within_covariance.numpy() - expected.within)
    assert error <= tolerance * np.linalg.norm(expected.within)
    assert float(found.within_trace.sum()) == pytest.approx(K * D * spread**2, rel=0.2)


def test_a_first_sample_far_from_its_class() -> None:
    features, labels = sample(2, 300, 0.1)
    features[0] += 1e6
    assert_right(ClassMoments(K, D).update(features[:1], labels[:1]).update(features[1:], labels[1:]),
                 features, labels, 1e-10)  # fmt: skip
    reverse = ClassMoments(K, D).update(features[::-1], labels[::-1])
    assert_right(reverse, features, labels, 1e-10)


def test_one_sample_a_class_has_no_spread() -> None:
    features = np.random.default_rng(3).standard_normal((K, D))
    found = ClassMoments(K, D).update(features, np.arange(K))
    np.testing.assert_array_equal(found.means, features)
    assert not found.within_trace.any()
    assert found.within_covariance is not None
    assert not found.within_covariance.any()


def test_the_first_sample_is_not_a_view_of_the_batch() -> None:
    batch = torch.randn(4, D, dtype=torch.float64)
    found = ClassMoments(K, D).update(batch, torch.tensor([0, 0, 1, 1]))
    before = found.means.clone()
    batch.zero_()
    assert torch.equal(found.means.nan_to_num(), before.nan_to_num())
    found.means.zero_()
    assert torch.equal(found.means.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_dtype_is_added_up_in_float64(dtype: torch.dtype) -> None:
    features, labels = sample(4, 200)
    given_features = torch.from_numpy(features).to(dtype)
    found = ClassMoments(K, D).update(given_features, torch.from_numpy(labels))
    assert_right(found, given_features.double().numpy(), labels)
    assert found.statistics().resolution == torch.finfo(dtype).eps


def test_resolution_is_that_of_the_coarsest_batch() -> None:
    found = ClassMoments(K, D).update(np.ones((1, D)), [0])
    assert found.statistics().resolution == np.finfo(np.float64).eps
    found.update(torch.ones(1, D, dtype=torch.bfloat16), [0]).update(np.ones((1, D), dtype="f4"), [0])
    assert found.statistics().resolution == 2.0**-7


@pytest.mark.filterwarnings("error")
def test_memory_layouts() -> None:
    features, labels = sample(5, 40)
    frozen = features.copy()
    frozen.flags.writeable = False
    layouts: list[Any] = [
        np.asfortranarray(features),
        features[::-1][::-1],
        np.repeat(features, 2, axis=1)[:, ::2],
        frozen,
        features.astype(">f8"),
        features.tolist(),
        torch.from_numpy(features.T.copy()).T,
        torch.from_numpy(features).requires_grad_(),
    ]
    for layout in layouts:
        assert_right(ClassMoments(K, D).update(layout, labels), features, labels)
    for kind in ("i1", "i2", "i4", "u1", "u8"):
        assert_right(ClassMoments(K, D).update(features, labels.astype(kind)), features, labels)
    assert_right(ClassMoments(K, D).update(features, torch.from_numpy(labels).int()), features, labels)


def test_blocks_inside_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encollapse.measure.moments.inputs.BLOCK_ENTRIES", 3 * D)
    features, labels = sample(6, 50)
    assert_right(ClassMoments(K, D).update(features, labels), features, labels)
    features[31, 2] = np.nan
    with pytest.raises(ArgumentError, match="row 31, column 2"):
        ClassMoments(K, D).update(features, labels)


def test_without_covariance() -> None:
    features, labels = sample(7)
    found = ClassMoments(K, D, covariance=False).update(features, labels)
    assert found.within_covariance is None
    assert_right(found, features, labels)
    collapse = found.collapse()
    assert collapse.nc1_pinv is None
    assert "covariance" in collapse.missing["nc1_pinv"]
    assert collapse.nc1_trace_ratio == pytest.approx(metrics(features, labels)["nc1_trace_ratio"])


def test_collapse_of_moments_lacks_only_decisions() -> None:
    features, labels = sample(8)
    collapse = ClassMoments(K, D).update(features, labels).collapse()
    assert set(collapse.missing) >= {"nc4_agreement", "ncc_accuracy", "accuracy"}
    assert "do not keep the features" in collapse.missing["nc4_agreement"]
    for name, value in metrics(features, labels).items():
        assert getattr(collapse, name) == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("covariance", [True, False])
def test_state_and_file_round_trips(tmp_path: Path, covariance: bool) -> None:
    features, labels = sample(9)
    whole = ClassMoments(K, D, covariance=covariance).update(features, labels)
    half = ClassMoments(K, D, covariance=covariance).update(features[:30].astype("f4"), labels[:30])
    path = half.save(tmp_path / "new" / "half.safetensors")
    assert [p.name for p in path.parent.iterdir()] == ["half.safetensors"]
    loaded = ClassMoments.load(path)
    copied = ClassMoments(K, D, covariance=covariance)
    copied.load_state_dict(half.state_dict())
    for again in (loaded, copied):
        assert again.covariance is covariance
        for name, value in half.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name
    assert whole.num_samples == loaded.update(features[30:], labels[30:]).num_samples


def test_damaged_states_are_refused(tmp_path: Path) -> None:
    good = ClassMoments(K, D).update(*sample(10))
    state = good.state_dict()
    damaged: list[tuple[dict[str, Any], str]] = [
        ({k: v for k, v in state.items() if k != "squares"}, "entries"),
        (state | {"extra": torch.zeros(1)}, "entries"),
        (state | {"counts": state["counts"].double()}, "counts"),
        (state | {"counts": -state["counts"]}, "counts"),
        (state | {"anchors": torch.zeros(K, D + 1, dtype=torch.float64)}, r"anchors.*\(5, 7\)"),
        (state | {"sums": torch.full_like(state["sums"], torch.nan)}, "sums.*finite"),
        (state | {"squares": [1, 2]}, "squares"),
    ]
    for broken, text in damaged:
        with pytest.raises(ArgumentError, match=text):
            ClassMoments(K, D).load_state_dict(broken)
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"counts": torch.zeros(3)}, tmp_path / "other.safetensors")
    for name in ("text", "other"):
        with pytest.raises(FileFormatError, match=f"{name}.safetensors: not a file of class moments"):
            ClassMoments.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(FileNotFoundError):
        ClassMoments.load(tmp_path / "none.safetensors")
    with pytest.raises(ArgumentError, match="safetensors"):
        good.save(tmp_path / "moments.pt")


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (np.ones((2, D), dtype=int), [0, 1], ArgumentTypeError, "features.*int64"),
    (np.ones((2, D), dtype=bool), [0, 1], ArgumentTypeError, "features.*bool"),
    (np.ones((2, D), dtype=complex), [0, 1], ArgumentTypeError, "features.*complex"),
    (torch.ones(2, D, dtype=torch.int32), [0, 1], ArgumentTypeError, "features.*int32"),
    (torch.ones(2, D, dtype=torch.complex64), [0, 1], ArgumentTypeError, "features.*complex64"),
    (np.array([[1.0] * D, [np.inf] * D]), [0, 1], ArgumentError, "features.*inf in row 1"),
    (torch.tensor([[1.0] * D, [torch.nan] * D]), [0, 1], ArgumentError, "features.*nan in row 1"),
    (np.ones(D), [0], ArgumentError, r"features.*\(N, d\)"),
    (np.ones((2, D, 1)), [0, 1], ArgumentError, r"features.*\(N, d\)"),
    (np.ones((2, D + 1)), [0, 1], ArgumentError, "features.*7 columns.*8"),
    (np.ones((2, D)), [0, -1], ArgumentError, "labels.*-1 at index 1"),
    (np.ones((2, D)), [-100, 0], ArgumentError, "labels.*-100 at index 0"),
    (np.ones((2, D)), [0, K], ArgumentError, "labels.*0 to 4, got 5"),
    (np.ones((2, D)), [0.0, 1.0], ArgumentTypeError, "labels.*float64"),
    (np.ones((2, D)), [True, False], ArgumentTypeError, "labels.*bool"),
    (np.ones((2, D)), [[0], [1]], ArgumentError, r"labels.*\(N,\)"),
    (np.ones((2, D)), [0, 1, 2], ArgumentError, "labels.*3 labels for 2 rows"),
    (np.ones((0, D)), [0], ArgumentError, "labels.*1 labels for 0 rows"),
    ("text", [0], ArgumentTypeError, "features"),
]


@pytest.mark.parametrize(("features", "labels", "kind", "text"), BAD)
def test_bad_batches_change_nothing(features: Any, labels: Any, kind: type[Exception], text: str) -> None:
    found = ClassMoments(K, D).update(*sample(11))
    before = found.state_dict()
    with pytest.raises(kind, match=text):
        found.update(features, labels)
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


def test_zero_size_batches_are_a_no_op() -> None:
    found = ClassMoments(K, D).update(np.empty((0, D)), np.empty(0, dtype=int))
    assert found.num_samples == 0
    with pytest.raises(ArgumentError, match="no samples"):
        found.collapse()


def test_bad_construction_and_merging() -> None:
    for arguments, name in (((0, D), "num_classes"), ((K, 0), "feature_dim")):
        with pytest.raises(ArgumentError, match=name):
            ClassMoments(*arguments)
    with pytest.raises(ArgumentError, match="device"):
        ClassMoments(K, D, device="nowhere")
    with pytest.raises(ArgumentError, match=r"other.*feature_dim=8"):
        ClassMoments(K, D).merge(ClassMoments(K, D + 1))
    with pytest.raises(ArgumentError, match=r"other.*covariance=False"):
        ClassMoments(K, D).merge(ClassMoments(K, D, covariance=False))
    with pytest.raises(ArgumentTypeError, match="other"):
        ClassMoments(K, D).merge(3)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_an_array_that_is_only_read_is_refused_without_a_warning() -> None:
    frozen = np.full((3, D), np.nan)
    frozen.flags.writeable = False
    with pytest.raises(ArgumentError, match="got nan in row 0, column 0"):
        ClassMoments(K, D).update(frozen, [0, 1, 2])


def test_features_too_large_to_square() -> None:
    with pytest.raises(ArgumentError, match="scale"):
        ClassMoments(K, D).update([[0.0] * D, [1e200] * D], [0, 0]).collapse()


def test_the_scatter_of_many_classes_costs_those_that_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are zero are left out of the product of offsets, whose cost they would decide."""
    rows: list[int] = []

    def counted(total: torch.Tensor, factors: torch.Tensor, **options: Any) -> None:
        rows.append(len(factors))
        add_gram(total, factors, **options)

    features = np.random.default_rng(2).standard_normal((23, 71))
    moments = ClassMoments(5003, 71).update(features, 11 * (np.arange(23) % 3))
    monkeypatch.setattr(moment_state, "add_gram", counted)
    assert moments.within_covariance is not None
    assert rows == [3]


def test_a_bit_that_turned_over_in_a_file_is_noticed(tmp_path: Path) -> None:
    path = ClassMoments(K, D).update(*sample(10)).save(tmp_path / "a.safetensors")
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"a\.safetensors.*not those that were written"):
        ClassMoments.load(path)


def test_a_header_of_moments_that_lies_takes_no_memory(tmp_path: Path) -> None:
    state = ClassMoments(2, 10).state_dict()
    wide = {"anchors": torch.zeros(1, 10**6, dtype=torch.float64), "scatter": torch.zeros(1, 1, dtype=torch.float64)}
    save_file(state | wide, tmp_path / "a.safetensors", metadata={"format": "encollapse.moments", "version": "2"})
    with pytest.raises(FileFormatError, match=r"a\.safetensors: not a file of class moments.*must have shape"):
        ClassMoments.load(tmp_path / "a.safetensors")


def test_moments_of_an_earlier_release_are_read(tmp_path: Path) -> None:
    moments = ClassMoments(K, D).update(*sample(10))
    save_file(
        moments.state_dict(), tmp_path / "a.safetensors", metadata={"format": "encollapse.moments", "version": "2"}
    )
    assert torch.equal(ClassMoments.load(tmp_path / "a.safetensors").means, moments.means)
