"""`collapse` against textbook code, and what others get wrong."""

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import Collapse, collapse
from encollapse.measure.result import VALUES
from encollapse.metrics import METRICS
from reference.collapse_reference import Array, metrics

K, D, Q = 5, 7, 3
Labels = NDArray[np.int64]


def sample(seed: int = 0, size: int = 120, spread: float = 0.8) -> tuple[Array, Labels]:
    """Imbalanced and noisy enough that decisions differ from labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(K, size, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.int64)
    return rng.standard_normal((K, D))[labels] + 0.5 + spread * rng.standard_normal((size, D)), labels


def classifier(outputs: int, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((outputs, D)), rng.standard_normal(outputs)


def known(measured: Collapse) -> dict[str, float]:
    return {name: value for name, value in measured.values.items() if value is not None}


@pytest.mark.parametrize("convention", ["default", "class-averaged"])
@pytest.mark.parametrize("name", ["none", "one-hot", "random"])
def test_every_value_equals_its_textbook_formula(convention: str, name: str) -> None:
    features, labels = sample()
    encoding = {"none": None, "one-hot": ec.encodings.one_hot(K), "random": ec.encodings.random(K, Q)}[name]
    weight, bias = classifier(K if encoding is None else encoding.code_dim)
    measured = collapse(features, labels, weight=weight, bias=bias, encoding=encoding, convention=convention)
    averaging = "sample" if convention == "default" else "class"
    codewords = None if encoding is None else encoding.codewords
    expected = metrics(features, labels, averaging, weight, bias, codewords)
    found = known(measured)
    assert set(found) == set(expected) | {"balance", "floor"}
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    assert measured.num_samples == len(features)
    assert measured.num_classes == K
    assert set(found) | set(measured.missing) == set(VALUES)
    assert not set(found) & set(measured.missing)


def test_the_geometry_is_that_of_means_and_classifier() -> None:
    features, labels = sample()
    weight, bias = classifier(Q)
    g = collapse(features, labels, weight=weight, bias=bias, encoding=ec.encodings.random(K, Q)).geometry
    means = np.array([features[labels == k].mean(axis=0) for k in range(K)])
    np.testing.assert_allclose(g.feature_gram, means @ means.T, rtol=1e-12)
    assert g.classifier_gram is not None
    assert g.class_outputs is not None
    np.testing.assert_allclose(g.classifier_gram, weight @ weight.T, rtol=1e-14)
    np.testing.assert_allclose(g.class_outputs, weight @ means.T, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(g.bias, bias)
    np.testing.assert_array_equal(g.counts, np.bincount(labels))
    np.testing.assert_allclose(g.within, [features[labels == k].var(axis=0).sum() for k in range(K)])
    assert g.provenance["source"] == "measured"
    assert g.provenance["encoding"] == "random"


def test_a_head_without_bias_and_no_head_at_all() -> None:
    features, labels = sample()
    weight, _ = classifier(K)
    without = collapse(features, labels, weight=weight)
    np.testing.assert_array_equal(without.geometry.bias, np.zeros(K))
    assert known(without) == known(collapse(features, labels, weight=weight, bias=np.zeros(K)))
    bare = collapse(features, labels)
    assert bare.geometry.bias is None
    assert bare.geometry.classifier_gram is None
    assert bare.accuracy is None
    assert bare.missing["accuracy"] == "no weight was given"
    assert bare.ncc_accuracy is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_and_numpy_give_the_same(dtype: torch.dtype) -> None:
    features, labels = sample()
    tensor = torch.from_numpy(features).to(dtype)
    weight, bias = classifier(K)
    by_torch = collapse(tensor, torch.from_numpy(labels), weight=torch.from_numpy(weight), bias=torch.from_numpy(bias))
    by_numpy = collapse(tensor.double().numpy(), labels, weight=weight, bias=bias)
    for name, value in known(by_numpy).items():
        if name != "floor":
            assert getattr(by_torch, name) == pytest.approx(value, rel=1e-12), name
    assert by_torch.floor is not None
    assert by_numpy.floor is not None
    ratio = torch.finfo(dtype).eps / torch.finfo(torch.float64).eps
    assert by_torch.floor == pytest.approx(by_numpy.floor * ratio**2)


def test_order_of_samples_does_not_matter() -> None:
    features, labels = sample()
    order = np.random.default_rng(2).permutation(len(labels))
    weight, bias = classifier(K)
    one = collapse(features, labels, weight=weight, bias=bias)
    two = collapse(features[order], labels[order], weight=weight, bias=bias)
    for name, value in known(one).items():
        assert getattr(two, name) == pytest.approx(value, rel=1e-11), name


def test_the_bias_takes_part_in_decisions() -> None:
    features, labels = sample()
    weight, _ = classifier(K)
    bias = np.array([0, 0, 50.0, 0, 0])
    measured = collapse(features, labels, weight=weight, bias=bias)
    assert measured.accuracy == pytest.approx(np.mean(labels == 2))


def test_the_rule_is_nearest_codeword_not_largest_output() -> None:
    """With ordinal codes the largest output says nothing about the class."""
    encoding = ec.encodings.ordinal(K)
    labels = np.repeat(np.arange(K), 3)
    features = np.hstack([encoding.encode(labels), np.zeros((len(labels), D - K + 1))])
    weight = np.eye(K - 1, D)
    measured = collapse(features, labels, weight=weight, encoding=encoding)
    assert measured.accuracy == measured.nc4_agreement == measured.ncc_accuracy == 1.0


def test_an_absent_class_enters_nothing() -> None:
    """Others take it for a zero vector that enters every mean."""
    features, labels = sample()
    shifted = labels + (labels >= 2)  # class 2 of 6 is absent
    weight, bias = classifier(K)
    wide = np.insert(weight, 2, 99.0, axis=0)
    plain = collapse(features, labels, weight=weight, bias=bias)
    gapped = collapse(features, shifted, weight=wide, bias=np.insert(bias, 2, -1e6), num_classes=K + 1)
    for name, value in known(plain).items():
        if name != "balance":
            assert getattr(gapped, name) == pytest.approx(value, rel=1e-11), name
    assert gapped.geometry.counts[2] == 0
    assert np.isnan(gapped.geometry.feature_gram[2]).all()
    encoding = ec.encodings.random(K + 1, Q, seed=3)
    head = classifier(Q)
    measured = collapse(features, shifted, weight=head[0], bias=head[1], encoding=encoding)
    mean = encoding.codewords[:, shifted].mean(axis=1)
    assert measured.bias_to_label_mean == pytest.approx(np.linalg.norm(head[1] - mean))
    assert "1 of them without samples" in str(measured)


def test_number_of_classes() -> None:
    features, labels = sample()
    assert collapse(features, labels).num_classes == K
    assert collapse(features, labels, num_classes=9).num_classes == 9
    assert collapse(features, labels, encoding=ec.encodings.one_hot(7)).num_classes == 7
    with pytest.raises(ArgumentError, match="encoding: has 7 classes"):
        collapse(features, labels, encoding=ec.encodings.one_hot(7), num_classes=6)
    with pytest.raises(ArgumentError, match=r"labels.*largest is 2000000.*num_classes"):
        collapse(features[:2], [0, 2_000_000])


@pytest.mark.parametrize("block", [1, 4 * D, 10**6])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = sample()
    weight, bias = classifier(K)
    whole = collapse(features, labels, weight=weight, bias=bias, convention="class-averaged")
    monkeypatch.setattr("encollapse.measure.moments.inputs.BLOCK_ENTRIES", block)
    monkeypatch.setattr("encollapse.measure.decisions.counter._CHUNK_ENTRIES", block)
    parts = collapse(features, labels, weight=weight, bias=bias, convention="class-averaged")
    for name, value in known(whole).items():
        assert getattr(parts, name) == pytest.approx(value, rel=1e-11), name


def test_nearest_mean_of_tightly_collapsed_classes_far_away() -> None:
    """|h|² - 2<h, m> + |m|² has no digits left here; ties go to the lowest class."""
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(K), 6)
    means = 1e3 + 1e-7 * rng.standard_normal((K, D))
    features = means[labels] + 1e-10 * rng.standard_normal((len(labels), D))
    assert collapse(features, labels).ncc_accuracy == 1.0
    far = np.vstack([features, np.full((6, D), -1e9)])
    assert collapse(far, np.append(labels, np.full(6, K))).ncc_accuracy == 1.0
    same = np.tile(rng.standard_normal(D), (2 * K, 1))
    assert collapse(same, np.repeat(np.arange(K), 2)).ncc_accuracy == 1 / K


def test_total_collapse_is_a_result() -> None:
    measured = collapse(np.zeros((10, D)), np.arange(10) % K, weight=np.zeros((K, D)), encoding=ec.encodings.one_hot(K))
    assert measured.nc1_pinv is None
    assert measured.missing["nc1_pinv"] == "all class means coincide"
    assert measured.bias_to_label_mean == pytest.approx(1 / math.sqrt(K))
    assert measured.label_centering == pytest.approx(1 / math.sqrt(K))


def test_one_class_and_one_sample() -> None:
    measured = collapse([[1.0, 2.0]], [0])
    assert measured.ncc_accuracy == 1.0
    assert "only class 0 has samples" in measured.missing["cdnv"]


@pytest.mark.parametrize(("classes", "dim", "each"), [(30, 11, 19), (12, 11, 53), (211, 97, 3), (5, 64, 23)])
@pytest.mark.parametrize("mean", [0.0, 2.0, 30.0, 300.0])
@pytest.mark.parametrize("covariance", [True, False])
def test_rounding_of_a_normalization_is_no_direction_of_the_features(
    classes: int, dim: int, each: int, mean: float, covariance: bool
) -> None:
    """In float64 that direction has no spread at all. Where rounding could not be told from spread, nothing is said."""
    labels = torch.arange(classes * each) % classes
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    inputs += mean + torch.randn(classes, dim, generator=generator, dtype=torch.float64)[labels]
    kinds = [torch.nn.LayerNorm(dim), torch.nn.Softmax(dim=1)]
    if dim % 4 == 0 and mean <= 2:
        kinds.append(torch.nn.GroupNorm(4, dim))
    for normalize in kinds:
        rounded = ec.measure.collapse(normalize(inputs.float()).detach(), labels, covariance=covariance)
        exact = ec.measure.collapse(normalize.double()(inputs).detach(), labels, covariance=covariance)
        for name in ("nc1_pinv", "vci"):
            value = getattr(rounded, name)
            if value is None and (mean == 300 or (name == "vci" and not covariance)):
                assert "float64" in rounded.missing[name] or "covariance=True" in rounded.missing[name]
            else:
                assert value == pytest.approx(getattr(exact, name), rel=3e-5), (normalize, name)


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_a_feature_far_from_the_origin_is_no_rounding(offset: float) -> None:
    """Beside its own size it differs as little as what a normalization leaves, and it has its digits all the same."""
    rng = np.random.default_rng(3)
    labels = np.arange(2003) % 31
    features = rng.standard_normal((2003, 13)) + rng.standard_normal((31, 13))[labels]
    features[:, 5] = np.round(features[:, 5], 1)
    moved = features + offset * (np.arange(13) == 5)
    found = ec.measure.collapse(moved.astype(np.float32), labels)
    exact = ec.measure.collapse(moved.astype(np.float32).astype(float), labels)
    for name in ("nc1_pinv", "vci"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=1e-6), name


def test_tiny_spread_survives_in_every_form_of_nc1() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(K), 400)
    means = rng.standard_normal((K, D)) * 4
    for spread, dtype in ((1e-3, "f4"), (1e-8, "f8")):
        features = (means[labels] + spread * rng.standard_normal((len(labels), D))).astype(dtype)
        measured = collapse(features, labels)
        centered = means - means.mean(axis=0)
        ratio = D * spread**2 / np.mean(np.sum(centered**2, axis=1))
        assert measured.nc1_trace_ratio == pytest.approx(ratio, rel=0.05)
        assert measured.nc1_normalized == pytest.approx(ratio, rel=0.05)
        inverse = np.trace(np.linalg.pinv(centered.T @ centered / K, rcond=1e-10))
        assert measured.nc1_pinv == pytest.approx(spread**2 * inverse / K, rel=0.05)
        assert measured.floor is not None
        assert measured.floor < 0.01 * ratio


def test_the_floor_is_where_rounding_of_the_features_begins() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(K), 50)
    features = (10 * rng.standard_normal((K, D)))[labels] + 1e-12 * rng.standard_normal((len(labels), D))
    measured = collapse(features.astype(np.float32) * np.float32(1), labels)
    noisy = features.astype(np.float32) + np.float32(1e-6) * rng.standard_normal(features.shape).astype("f4")
    assert measured.floor is not None
    rounded = collapse(noisy, labels).nc1_trace_ratio
    assert rounded is not None
    assert rounded < 10 * D * measured.floor


def test_the_public_names_of_the_values() -> None:
    names = """nc1_pinv nc1_trace_ratio nc1_normalized cdnv vci floor nc2_equinorm nc2_equiangular nc2_max_angle nc2_etf
    nc2_etf_uncentered nc2_orthogonal gnc2_log nc3_alignment nc3_self_duality unc3 nc4_agreement ncc_accuracy accuracy
    bias_to_label_mean label_centering balance"""
    assert tuple(names.split()) == VALUES
    measured = collapse(*sample())
    assert set(names.split()) <= set(dir(measured))
    assert all(f"\n    {name} : float or None" in (Collapse.__doc__ or "") for name in VALUES)
    with pytest.raises(AttributeError, match="did you mean 'nc1_pinv'"):
        _ = measured.nc1_pinw


def test_text_and_plain_values() -> None:
    features, labels = sample()
    measured = collapse(features, labels, weight=classifier(Q)[0])
    plain = json.loads(json.dumps(measured.to_dict()))
    assert set(plain) == {
        *VALUES,
        "num_samples",
        "num_classes",
        "counts",
        "convention",
        "route",
        "provenance",
        "missing",
    }
    assert plain["nc1_pinv"] == measured.nc1_pinv
    assert plain["unc3"] is None
    said, lines = str(measured).splitlines(), measured.summary().splitlines()
    assert said[: len(lines) + 1] == [*lines, ""]
    lines = said[len(lines) + 1 :]
    assert len(lines) == 2 + len(VALUES)
    assert lines[-1] == "route: one-pass covariance"
    assert "120 samples in 5 classes" in lines[0]
    starts = {
        line.index(METRICS[name].meaning) for line, name in zip(lines[1:-1], VALUES, strict=True) if "none:" not in line
    }
    assert len(starts) == 1
    assert "none: the classifier has 3 outputs for 5 classes" in str(measured)
    again = pickle.loads(pickle.dumps(measured))
    assert again.to_dict() == measured.to_dict()


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"features": np.ones((4, D), dtype=int)}, ArgumentTypeError, "features.*int64"),
    ({"features": torch.ones(4, D).to_sparse()}, ArgumentTypeError, "features.*to_dense"),
    ({"features": np.full((4, D), np.nan)}, ArgumentError, "features.*row 0"),
    ({"features": np.ones((0, D)), "labels": np.empty(0, dtype=int)}, ArgumentError, "features.*no samples"),
    ({"features": np.ones((4, 0))}, ArgumentError, "features.*dimension"),
    ({"features": np.ones((4, 2, 2))}, ArgumentError, "features.*reshape"),
    ({"labels": [0, 1, 2]}, ArgumentError, "labels.*3 labels for 4 rows"),
    ({"labels": [0, 1, 2, -1]}, ArgumentError, "labels.*-1 at index 3"),
    ({"labels": [0, 1, 2, 3], "num_classes": 3}, ArgumentError, "labels.*0 to 2"),
    ({"labels": [0.0, 1, 2, 1]}, ArgumentTypeError, "labels"),
    ({"weight": np.ones((D, 4))}, ArgumentError, "weight.*transposed"),
    ({"weight": np.ones((4, D + 1))}, ArgumentError, r"weight.*\(code_dim, 7\)"),
    ({"weight": np.full((4, D), np.inf)}, ArgumentError, "weight.*finite"),
    ({"weight": np.ones((4, D)), "encoding": ec.encodings.one_hot(3)}, ArgumentError, "weight.*3 rows"),
    ({"weight": np.ones((4, D)), "bias": np.ones(3)}, ArgumentError, r"bias.*\(4,\)"),
    ({"bias": np.ones(3)}, ArgumentError, "bias.*without weight"),
    ({"encoding": np.eye(3)}, ArgumentTypeError, "encoding.*Encoding"),
    ({"num_classes": 0}, ArgumentError, "num_classes"),
    ({"num_classes": 3.0}, ArgumentTypeError, "num_classes"),
    ({"convention": "papyan"}, ArgumentError, "convention.*default"),
]


@pytest.mark.parametrize(("changes", "kind", "text"), BAD)
def test_bad_input_is_named(changes: dict[str, Any], kind: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"features": np.random.default_rng(0).standard_normal((4, D)), "labels": [0, 1, 2, 1]}
    with pytest.raises(kind, match=text):
        collapse(**(arguments | changes))


def test_the_loss_decides_between_soft_codewords() -> None:
    """Counted by hand: the codeword at the least distance, or of the least divergence from the softmax."""
    rng = np.random.default_rng(31)
    codewords = np.array([[0.98, 0.01, 0.4], [0.01, 0.98, 0.3], [0.01, 0.01, 0.3]])
    labels = np.arange(211) % 3
    features = rng.standard_normal((211, 5))
    weight = 3 * rng.standard_normal((3, 5))
    outputs = features @ weight.T
    logs = outputs - np.log(np.exp(outputs).sum(axis=1))[:, None]
    divergence = [[float(e @ (np.log(e) - log)) for e in codewords.T] for log in logs]
    distance = [[float(np.sum((output - e) ** 2)) for e in codewords.T] for output in outputs]
    shares = {}
    for loss, scores in (("mse", distance), ("cross_entropy", divergence)):
        encoding = ec.encodings.Encoding(codewords)
        for given in (features, features.astype(np.float32)):
            found = collapse(given, labels, weight=weight, encoding=encoding, loss=loss)
            shares[loss] = float(np.mean(np.argmin(scores, axis=1) == labels))
            assert found.accuracy == pytest.approx(shares[loss], abs=1e-12)
    assert shares["mse"] != shares["cross_entropy"]


@pytest.mark.parametrize("name", ["one-hot", "minus one-hot"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codewords_decide_and_not_their_name(name: str, dtype: Any) -> None:
    """A perfect classifier towards ``-I`` has its own class at the least output."""
    encoding = ec.encodings.Encoding(-np.eye(K), name=name)
    labels = np.repeat(np.arange(K), 3)
    features = np.eye(D)[labels].astype(dtype)
    found = collapse(features, labels, weight=-np.eye(K, D), encoding=encoding)
    assert found.accuracy == found.nc4_agreement == 1.0


@pytest.mark.parametrize("scale", [2.0, -2.0])
def test_structured_codewords_decide_as_their_matrix_does(scale: float) -> None:
    features, labels = sample()
    weight, bias = classifier(K)
    structured = ec.encodings.scaled_one_hot(K, on=scale - 0.3, off=-0.3)
    dense = ec.encodings.Encoding(structured.codewords)
    found = [collapse(features, labels, weight=weight, bias=bias, encoding=e) for e in (structured, dense)]
    assert found[0].accuracy == found[1].accuracy
    assert found[0].nc4_agreement == found[1].nc4_agreement
    with pytest.raises(ArgumentError, match="no distributions"):
        collapse(features, labels, weight=weight, encoding=structured, loss="cross_entropy")
