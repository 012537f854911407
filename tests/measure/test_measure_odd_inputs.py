"""Inputs that frameworks hand out and numpy does not take as they are; sizes and scales out of range."""

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError, MemoryLimitError
from encollapse.measure import ClassMoments, Collapse, collapse
from encollapse.measure.moments.inputs import FeatureRows
from reference.collapse_reference import metrics

K, D, N = 5, 7, 41
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K
FEATURES = RNG.standard_normal((K, D))[LABELS] + 0.4 * RNG.standard_normal((N, D))
WEIGHT = RNG.standard_normal((K, D))
EXPECTED = metrics(FEATURES, LABELS, weight=WEIGHT)


def assert_expected(found: Collapse, *left_out: str) -> None:
    for name, value in EXPECTED.items():
        if name not in left_out:
            assert found.values[name] == pytest.approx(value, rel=1e-9), name


def test_tensors_that_numpy_does_not_take() -> None:
    rows = [torch.tensor(row, requires_grad=True) for row in FEATURES]
    negative = torch._neg_view(torch.from_numpy(-WEIGHT))
    labels = [torch.tensor(label) for label in LABELS]
    assert_expected(collapse(rows, labels, weight=negative))
    conjugate = torch.complex(torch.zeros(N, D).double(), torch.from_numpy(-FEATURES)).conj().imag
    assert_expected(collapse(conjugate, LABELS, weight=[torch.tensor(w, requires_grad=True) for w in WEIGHT]))


def test_tensors_of_eight_bits() -> None:
    weight = torch.from_numpy(WEIGHT).to(torch.float8_e4m3fn)
    found = collapse(FEATURES, LABELS, weight=weight)
    wide = collapse(FEATURES, LABELS, weight=weight.double())
    assert found.values == wide.values


def odd(values: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    halves = [values[:20], values[20:]]
    return [
        (values.to("meta"), "meta"),
        (values.to_sparse(), "sparse"),
        (torch.nested.nested_tensor(halves), "nested"),
        (torch.nested.nested_tensor(halves, layout=torch.jagged), "nested"),
        (torch.quantize_per_tensor(values.float(), 0.1, 0, torch.qint8), "qint8"),
    ]


@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_entries_are_refused() -> None:
    for features, word in odd(torch.from_numpy(FEATURES)):
        for call in (collapse, ClassMoments(K, D).update):
            with pytest.raises(ArgumentTypeError, match=f"features: .*{word}"):
                call(features, LABELS)
    for weight, word in odd(torch.from_numpy(WEIGHT)):
        with pytest.raises(ArgumentTypeError, match=f"weight: .*{word}"):
            collapse(FEATURES, LABELS, weight=weight)
    for labels, word in odd(torch.from_numpy(LABELS)):
        with pytest.raises(ArgumentTypeError, match=f"labels: .*{word}"):
            collapse(FEATURES, labels)


def test_arrays_of_python_objects_say_what_makes_numbers_of_them() -> None:
    names = np.array(["ant", "bee", "cow", "dog", "eel"], dtype=object)[LABELS]
    with pytest.raises(
        ArgumentTypeError, match=r"^labels: expected numbers, got names; number them by classes, labels"
    ):
        collapse(FEATURES, names)
    with pytest.raises(ArgumentTypeError, match=r"^features: .*dtype object with float; use \.astype\(float\)"):
        collapse(FEATURES.astype(object), LABELS)
    with pytest.raises(ArgumentTypeError, match=r"^features: expected numbers, got a csr_matrix; use \.toarray\(\)"):
        collapse(scipy.sparse.csr_matrix(FEATURES), LABELS)
    with pytest.raises(ArgumentError, match=r"^interval: expected one of 'jackknife', 'bootstrap', got 'x'"):
        collapse(FEATURES, LABELS, interval="x")  # type: ignore[arg-type]


def test_masks_are_not_overlooked() -> None:
    hidden = np.zeros(FEATURES.shape, dtype=bool)
    hidden[3] = True
    with pytest.raises(ArgumentError, match="features: 7 entries are masked"):
        collapse(np.ma.masked_array(FEATURES, hidden), LABELS)
    with pytest.raises(ArgumentError, match="labels: 1 entries are masked"):
        collapse(FEATURES, np.ma.masked_array(LABELS, np.arange(N) == 3))
    assert_expected(collapse(np.ma.masked_array(FEATURES, False), LABELS, weight=WEIGHT))


def test_more_than_memory_holds_is_said() -> None:
    with pytest.raises(MemoryLimitError, match=r"moments: .* take 64,"):
        collapse(FEATURES, LABELS, num_classes=5 * 10**11)
    with pytest.raises(MemoryLimitError, match="covariance=False"):
        ClassMoments(2, 10**8)
    with pytest.raises(MemoryLimitError):
        ClassMoments(2**70, 3)


def test_flags_are_true_or_false() -> None:
    for call in (
        lambda flag: collapse(FEATURES, LABELS, covariance=flag),
        lambda flag: ClassMoments(K, D, covariance=flag),
    ):
        for flag in ("no", 0, "false"):
            with pytest.raises(ArgumentTypeError, match="covariance"):
                call(flag)


@pytest.mark.parametrize("exponent", [-1000, -520, -470, -350, -130, 130, 350, 460, 470, 505])
def test_values_without_a_unit_are_right_or_missing_at_any_scale(exponent: int) -> None:
    scale = 2.0**exponent
    found = collapse(scale * FEATURES, LABELS, weight=WEIGHT)
    plain = collapse(FEATURES, LABELS, weight=WEIGHT)
    units = {"bias_to_label_mean", "label_centering"}
    for name, value in found.values.items():
        assert value is None or name in units or value == pytest.approx(plain.values[name], rel=1e-9), name
    for name, value in found.details.items():
        assert value is None or name == "mean_output" or value == pytest.approx(plain.details[name], rel=1e-9), name
    assert (found.accuracy is None) == (abs(exponent) >= 470)
    if found.accuracy is None:
        assert "scale" in found.missing["ncc_accuracy"]
    else:
        assert_expected(found)


@pytest.mark.parametrize("exponent", [-990, -520, 520, 1000])
def test_classifiers_whose_squares_leave_the_range(exponent: int) -> None:
    found = collapse(FEATURES, LABELS, weight=2.0**exponent * WEIGHT)
    plain = collapse(FEATURES, LABELS, weight=WEIGHT)
    for name in ("nc3_alignment", "nc3_self_duality", "unc3", "accuracy"):
        assert found.values[name] == pytest.approx(plain.values[name], rel=1e-9), name
    for name in ("nc3_cosine", "cosine_margin", "nc0_row_sum", "nc2_etf_weight"):
        assert found.details[name] == pytest.approx(plain.details[name], rel=1e-9), name


def test_features_on_a_device_without_values() -> None:
    with pytest.raises(ArgumentError, match="device: meta"):
        ClassMoments(K, D, device="meta")
    assert ec.measure.collapse(torch.from_numpy(FEATURES).requires_grad_(), LABELS).num_samples == N


def test_large_blocks_are_taken_only_where_they_need_no_copy() -> None:
    def usable(features: np.ndarray | torch.Tensor) -> bool:
        return FeatureRows(features).usable_as_they_are(torch.device("cpu"))

    wide = np.zeros((2003, 67), np.float32)
    read_only = wide.copy()
    read_only.flags.writeable = False
    assert all(usable(features) for features in (wide, torch.from_numpy(wide), wide.astype(float)))
    for features in (wide[:, :5], wide[::-1], read_only, wide.astype(np.float16), torch.zeros(2003, 7)):
        assert not usable(features)


TWENTY = np.arange(20) % 5
NOT_LABELS: dict[str, np.ndarray[Any, Any]] = {
    "column": TWENTY[:, None],
    "names": np.array([f"class {k}" for k in TWENTY]),
    "one-hot": np.eye(5)[TWENTY],
    "one-hot of whole numbers": np.eye(5, dtype=int)[TWENTY],
    "mixup": 0.7 * np.eye(5)[TWENTY] + 0.3 * np.eye(5)[(TWENTY + 1) % 5],
    "floats": TWENTY.astype(float),
}


@pytest.mark.parametrize("given", NOT_LABELS)
def test_hints_about_labels_work(given: str) -> None:
    labels = NOT_LABELS[given]
    features = np.random.default_rng(0).standard_normal((20, 7))
    with pytest.raises((ArgumentError, ArgumentTypeError)) as refused:
        collapse(features, labels)
    hint = re.search(r"labels\[:, 0\]|labels\.argmax\(1\)|np\.unique\(.*\)|\.astype\(int\)", str(refused.value))
    assert hint is not None, refused.value
    code = hint[0] if hint[0][0] != "." else f"labels{hint[0]}"
    made = eval(code, {"np": np, "labels": labels})
    assert np.array_equal(made[1] if isinstance(made, tuple) else made, TWENTY)
    assert ("mixed" in str(refused.value)) == (given == "mixup")


def test_real_targets_are_sent_to_regression() -> None:
    with pytest.raises(ArgumentTypeError, match="regression_collapse"):
        collapse(np.ones((3, 2)), [0.5, 1.5, 2.5])
