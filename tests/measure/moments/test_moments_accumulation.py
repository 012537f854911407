"""float32 features by float32 products: as right as their own digits allow, in any order and from any start."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from encollapse.measure import ClassMoments, collapse
from encollapse.measure.moments.inputs import working_dtype

K, D, N = 5, 131, 9000


def sample(case: str, spread: float = 1e-3, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of length 10, one class with a single sample, one absent."""
    generator = torch.Generator().manual_seed(len(case))
    means = torch.randn(K + 1, D, generator=generator, dtype=torch.float64)
    means *= 10 / means.norm(dim=1, keepdim=True)
    if case == "norms from 1 to 1e-3":
        means *= torch.logspace(-1, -4, K + 1, dtype=torch.float64)[:, None]
    labels = torch.randint(0, K - 1, (N,), generator=generator)
    labels[7] = K - 1
    if case == "sorted":
        labels = labels.sort().values
    features = means[labels] + spread * torch.randn(N, D, generator=generator, dtype=torch.float64)
    if case == "outliers first":
        for k in range(K - 1):
            first = (labels == k).nonzero()[0, 0]
            features[first] += 1e3 * spread * torch.randn(D, generator=generator, dtype=torch.float64)
    return features.to(dtype), labels


def two_passes(features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scatter, traces = torch.zeros(D, D, dtype=torch.float64), torch.zeros(K + 1, dtype=torch.float64)
    for k in range(K):
        rows = features[labels == k].double()
        assert len(rows)
        rows -= rows.mean(dim=0)
        scatter += rows.T @ rows
        traces[k] = rows.square().sum() / len(rows)
    return scatter / len(features), traces


@pytest.mark.parametrize("batch", [601, 4000, N])
@pytest.mark.parametrize("case", ["plain", "sorted", "outliers first", "norms from 1 to 1e-3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_passes_in_float64_agree(case: str, batch: int, dtype: torch.dtype) -> None:
    spread, tolerance = (1e-3, 1e-4) if dtype == torch.float32 else (1e-8, 1e-6)
    spread *= 1e-2 if "norms" in case else 1
    features, labels = sample(case, spread, dtype)
    assert working_dtype(torch.finfo(dtype).eps, batch, D) == dtype
    found = ClassMoments(K + 1, D)
    for rows, own in zip(features.split(batch), labels.split(batch), strict=True):  # type: ignore[no-untyped-call]
        found.update(rows, own)
    scatter, traces = two_passes(features, labels)
    assert found.within_covariance is not None
    assert float((found.within_covariance - scatter).norm() / scatter.norm()) < tolerance
    np.testing.assert_allclose(found.within_trace[: K - 1], traces[: K - 1], rtol=tolerance)
    assert float(found.within_trace[K - 1]) == 0.0
    assert found.within_trace[K].isnan()
    light = ClassMoments(K + 1, D, covariance=False).update(features, labels)
    np.testing.assert_allclose(light.within_trace[: K - 1], traces[: K - 1], rtol=tolerance)


def test_many_classes_merging_and_mixed_dtypes() -> None:
    features, labels = sample("plain")
    labels = torch.arange(N) % 997
    whole = ClassMoments(997, D).update(features, labels)
    parts = [ClassMoments(997, D) for _ in range(2)]
    parts[0].update(features[:4000].double(), labels[:4000])
    parts[1].update(features[4000:], labels[4000:])
    merged = parts[1].merge(parts[0])
    mixed = ClassMoments(997, D).update(features[:4000].double(), labels[:4000])
    mixed.update(features[4000:], labels[4000:])
    for other in (merged, mixed):
        # These classes mix all means, so their spread is 10 and its digits are those of float32.
        np.testing.assert_allclose(other.means, whole.means, atol=1e-6)
        np.testing.assert_allclose(other.within_trace, whole.within_trace, rtol=1e-5)


def test_settings_of_the_caller_do_not_spoil_digits() -> None:
    """Autocast and fast matrix products are the network's business."""
    features, labels = sample("plain")
    plain = ClassMoments(K + 1, D).update(features, labels).within_covariance
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = ClassMoments(K + 1, D).update(features, labels).within_covariance
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert plain is not None
    assert cast is not None
    assert torch.equal(plain, cast)


def test_settings_made_backend_by_backend() -> None:
    """torch refuses to read such settings by its older call."""
    script = (
        "import torch; from encollapse.measure import ClassMoments\n"
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'\n"
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'\n"
        "g = torch.Generator().manual_seed(0)\n"
        "x, y = torch.randn(4000, 67, generator=g), torch.arange(4000) % 3\n"
        "m, e = ClassMoments(3, 67).update(x, y), ClassMoments(3, 67).update(x.double(), y)\n"
        "assert (m.within_covariance - e.within_covariance).norm() < 1e-5 * e.within_covariance.norm()\n"
        "assert torch.backends.cuda.matmul.fp32_precision == 'tf32'\n"
        "assert torch.backends.mkldnn.matmul.fp32_precision == 'bf16'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_beyond_the_range_of_float32(scale: float) -> None:
    features, labels = sample("plain", spread=1.0)
    plain = ClassMoments(K + 1, D).update(features.double() * scale, labels)
    found = ClassMoments(K + 1, D).update((features.double() * scale).float(), labels)
    np.testing.assert_allclose(found.within_trace[: K - 1], plain.within_trace[: K - 1], rtol=1e-5)


def test_bad_entries_in_large_blocks_change_nothing() -> None:
    features, labels = sample("plain")
    found = ClassMoments(K + 1, D).update(features, labels)
    before = found.state_dict()
    broken = features.clone()
    broken[8123, 5] = torch.inf
    with pytest.raises(ValueError, match="row 8123, column 5"):
        found.update(broken, labels)
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


def test_decisions_in_float32_are_those_of_float64() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 17, (N,), generator=generator)
    features = 5 + torch.randn(17, D, generator=generator)[labels] + 3 * torch.randn(N, D, generator=generator)
    weight, bias = torch.randn(17, D, generator=generator), torch.randn(17, generator=generator)
    weight[3], bias[3] = weight[2], bias[2]  # ties, which go to the lowest class
    single = collapse(features, labels, weight=weight, bias=bias)
    double = collapse(features.double(), labels, weight=weight, bias=bias)
    assert 0.1 < (double.accuracy or 0) < 0.99 or (double.ncc_accuracy or 0) > 0.5
    for name in ("nc4_agreement", "ncc_accuracy", "accuracy"):
        assert getattr(single, name) == getattr(double, name), name


def test_many_equal_rows_and_equal_means_are_decided_at_once() -> None:
    """Every sample ties between classes 1, 2 and 3; the lowest wins."""
    labels = torch.arange(3001) % 4
    features = torch.zeros(3001, D)
    features[labels == 0] = 1.0
    found = collapse(features, labels)
    assert found.ncc_accuracy == pytest.approx(float((labels <= 1).double().mean()), rel=1e-15)
