"""Any shape, dtype, memory layout and labels: the right answer or a clear error."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encollapse.errors import EncollapseError
from encollapse.measure import ClassMoments, collapse
from reference.collapse_reference import moments

FLOATS = ["f2", "f4", "f8", ">f4", ">f8", "bfloat16", "longdouble"]
LAYOUTS = ["plain", "fortran", "reversed", "strided", "column-strided", "read-only", "broadcast", "offset"]
WHOLE = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", "list", "torch"]


def laid_out(rows: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    if layout == "fortran":
        return np.asfortranarray(rows)
    if layout == "reversed":
        return rows[::-1].copy()[::-1]
    if layout == "strided":
        return np.repeat(rows, 3, axis=0)[::3]
    if layout == "column-strided":
        return np.repeat(rows, 2, axis=1)[:, ::2]
    if layout == "broadcast":
        return np.broadcast_to(rows[:1], rows.shape)
    if layout == "offset":
        return np.vstack([rows[:1], rows])[1:]
    if layout == "read-only":
        rows = rows.copy()
        rows.flags.writeable = False
    return rows


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 40),
    dim=st.sampled_from([1, 2, 7, 67]),
    classes=st.integers(1, 7),
    dtype=st.sampled_from(FLOATS),
    layout=st.sampled_from(LAYOUTS),
    whole=st.sampled_from(WHOLE),
    big=st.booleans(),
)
@example(seed=0, size=1, dim=1, classes=1, dtype="f8", layout="reversed", whole="i1", big=False)
def test_a_right_answer(
    seed: int, size: int, dim: int, classes: int, dtype: str, layout: str, whole: str, big: bool
) -> None:
    rng = np.random.default_rng(seed)
    size *= 25 if big else 1  # large enough for the float32 way at dim 67
    labels = rng.integers(0, classes, size)
    rows = rng.standard_normal((classes, dim))[labels] * 3 + rng.standard_normal((size, dim))
    features: Any
    if dtype == "bfloat16":
        features = torch.from_numpy(laid_out(rows, "plain")).bfloat16()
        exact = features.double().numpy()
    else:
        features = laid_out(rows.astype(dtype), layout)
        exact = np.asarray(features, dtype=np.float64)
    given_labels: Any = labels.tolist() if whole == "list" else labels
    if whole == "torch":
        given_labels = torch.from_numpy(labels).int()
    elif whole != "list":
        given_labels = labels.astype(whole)
    kept = np.array(exact)
    found = collapse(features, given_labels, num_classes=classes)
    expected = moments(exact, labels)
    assert found.num_samples == size
    np.testing.assert_array_equal(found.geometry.counts[expected.classes], expected.counts)
    scale = 1e-5 * float(np.square(exact).sum(axis=1).max())
    np.testing.assert_allclose(
        found.geometry.within[expected.classes], [np.trace(c) for c in expected.covariances], atol=scale
    )
    np.testing.assert_allclose(
        found.geometry.feature_gram[np.ix_(expected.classes, expected.classes)],
        expected.means @ expected.means.T,
        atol=scale,
    )
    for name, value in found.values.items():
        assert (value is None) == (name in found.missing), name
        assert value is None or np.isfinite(value), name
    again = features.double().numpy() if isinstance(features, torch.Tensor) else np.asarray(features, dtype="f8")
    np.testing.assert_array_equal(again, kept)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    dtype=st.sampled_from(["f4", "f8"]),
    size=st.sampled_from([1, 5, 1100]),
    broken=st.sampled_from(["feature", "label", "length"]),
)
def test_a_clear_error(seed: int, bad: float, dtype: str, size: int, broken: str) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.standard_normal((size, 67)).astype(dtype), rng.integers(0, 3, size)
    place = int(rng.integers(size))
    if broken == "feature":
        features[place, rng.integers(67)] = bad
        match = f"features: .* row {place},"
    elif broken == "label":
        labels[place] = rng.choice([-99, -1, 3, 2**40])
        match = f"labels: .* index {place}"
    else:
        labels = labels[:-1]
        match = "labels: got"
    for call in (
        lambda: collapse(features, labels, num_classes=3),
        lambda: ClassMoments(3, 67).update(torch.from_numpy(features), labels),
    ):
        with pytest.raises(EncollapseError, match=match):
            call()
