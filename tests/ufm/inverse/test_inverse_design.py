"""Encodings designed for a geometry: the minimizer has it, whatever the counts, decays and rank."""

import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse._internal.typing import FloatArray
from encollapse.encodings.relations import from_similarity, hierarchical
from encollapse.errors import ArgumentError, ArgumentTypeError, EncollapseWarning
from encollapse.ufm.inverse.design import design_mismatch
from reference.ufm_reference import brute_force

DECAYS: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}
COUNTS = [3, 5, 7, 11, 13]
BIAS_DECAYS = [1e-3, 0.1, 1.0, 1e3, math.inf]


def relative_error(found: FloatArray, wanted: FloatArray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def minimizer(encoding: ec.encodings.Encoding, counts: Any, bias_decay: float, **decays: Any) -> Any:
    return ec.ufm.solve(ec.ufm.Problem(encoding, counts, bias_decay=bias_decay, **(decays or DECAYS)))


def random_gram(rng: np.random.Generator, num_classes: int, rank: int) -> FloatArray:
    means = rng.standard_normal((rank, num_classes))
    return means.T @ means


def quietly(*arguments: Any, **options: Any) -> ec.encodings.Encoding:
    """A design whose bias may be large: what that is worth is another test's question."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "bias_decay", EncollapseWarning)
        return ec.ufm.design(*arguments, **options)


@pytest.mark.parametrize("bias_decay", BIAS_DECAYS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_minimizer_has_the_geometry_asked_for(bias_decay: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 14))
    rank = int(rng.integers(1, k + 1))
    counts = np.rint(10 ** rng.uniform(0, 3, k)).astype(int)
    weight_decay, feature_decay = 10 ** rng.uniform(-5, -2, 2)
    decays = {"weight_decay": float(weight_decay), "feature_decay": float(feature_decay)}
    like = str(rng.choice(["one_hot", "unit_codewords", "unit_outputs"]))
    # Beyond these the sizes other than unit_outputs do not exist, which another test asks for.
    assume(counts.sum() * weight_decay * feature_decay * k < 0.9 or like == "unit_outputs")
    target = ec.ufm.scale_target(random_gram(rng, k, rank), counts, like=like, **decays)
    code_dim = int(rng.integers(rank, k + 4))

    encoding = quietly(target, counts, bias_decay=bias_decay, code_dim=code_dim, **decays)
    solution = minimizer(encoding, counts, bias_decay, **decays)

    assert encoding.codewords.shape == (code_dim, k)
    assert solution.rank == rank
    assert solution.certificate.holds
    assert relative_error(solution.geometry.feature_gram, target) < 1e-9


@pytest.mark.parametrize("bias_decay", [0.2, math.inf])
def test_brute_force_finds_the_target_too(bias_decay: float) -> None:
    target = ec.ufm.scale_target(random_gram(np.random.default_rng(3), 5, 3), COUNTS, **DECAYS)
    encoding = ec.ufm.design(target, COUNTS, bias_decay=bias_decay, code_dim=4, **DECAYS)
    problem = ec.ufm.Problem(encoding, COUNTS, bias_decay=bias_decay, **DECAYS)
    _, gram, bias = brute_force(problem, seed=1, feature_dim=7)
    assert relative_error(gram, target) < 1e-4
    np.testing.assert_allclose(ec.ufm.solve(problem).bias, bias, atol=1e-5)


@pytest.mark.parametrize("bias_decay", [0.0, 1e-9, 0.3, math.inf])
def test_centered_targets_are_had_at_every_bias_decay_from_one_encoding(bias_decay: float) -> None:
    rng = np.random.default_rng(5)
    geometry = ec.ClassGeometry(random_gram(rng, 5, 5), COUNTS)
    target = ec.ufm.scale_target(geometry.feature_gram_centered, COUNTS, **DECAYS)
    encoding = ec.ufm.design(target, COUNTS, bias_decay=0.0, **DECAYS)
    np.testing.assert_array_equal(
        ec.ufm.design(target, COUNTS, bias_decay=bias_decay, **DECAYS).codewords, encoding.codewords
    )
    np.testing.assert_allclose(encoding.mean(np.array(COUNTS) / sum(COUNTS)), 0.0, atol=1e-13)
    solution = minimizer(encoding, COUNTS, bias_decay)
    np.testing.assert_allclose(solution.bias, 0.0, atol=1e-12)
    assert relative_error(solution.geometry.feature_gram, target) < 1e-9


@pytest.mark.parametrize("bias_decay", [0.5, math.inf])
def test_bias_of_the_design_is_that_of_the_minimizer(bias_decay: float) -> None:
    """Theory §4: b = (c/λ_b) U Vᵀ u, and |Z| is a congruence of the target."""
    target = ec.ufm.scale_target(random_gram(np.random.default_rng(8), 5, 3), COUNTS, **DECAYS)
    encoding = ec.ufm.design(target, COUNTS, bias_decay=bias_decay, **DECAYS)
    solution = minimizer(encoding, COUNTS, bias_decay)
    n, size = np.sqrt(COUNTS), sum(COUNTS)
    absolute = math.sqrt(1e-3 / (size * 5e-3)) * n[:, None] * target * n
    values, vectors = np.linalg.eigh(absolute)
    learned = vectors[:, values > 1e-9]
    c = math.sqrt(size * 5e-3 * 1e-3)
    expected = np.zeros(5) if math.isinf(bias_decay) else c / bias_decay * learned @ (learned.T @ n)
    np.testing.assert_allclose(solution.bias, expected / math.sqrt(size), atol=1e-12)
    # From code_dim = K on, the outputs Z are the symmetric |Z| itself.
    outputs = solution.geometry.class_outputs * n / math.sqrt(size)
    np.testing.assert_allclose(outputs, absolute, atol=1e-12)


def test_balanced_frames_give_the_known_encodings_back() -> None:
    counts = [7] * 5
    orthogonal = ec.ufm.design("orthogonal", counts, **DECAYS)
    np.testing.assert_allclose(orthogonal.codewords, np.eye(5), atol=1e-14)
    centered = ec.ufm.design("simplex", counts, bias_decay=0.0, **DECAYS)
    np.testing.assert_allclose(centered.codewords, np.eye(5) - 0.2, atol=1e-14)
    unit = ec.ufm.scale_target("simplex", counts, like="unit_codewords", **DECAYS)
    for code_dim in (4, 7):
        simplex = ec.ufm.design(unit, counts, code_dim=code_dim, **DECAYS)
        np.testing.assert_allclose(simplex.gram(), ec.encodings.simplex(5).gram(), atol=1e-14)


def test_simplex_in_spite_of_imbalance() -> None:
    counts = [100, 100, 100, 4, 4]
    encoding = ec.ufm.design("simplex_etf", counts, **DECAYS)
    designed = minimizer(encoding, counts, math.inf).geometry
    np.testing.assert_allclose(designed.cosines(), ec.simplex_etf_gram(5), atol=1e-12)
    assert designed.distance("simplex_etf") < 1e-12
    assert minimizer(ec.encodings.one_hot(5), counts, math.inf).geometry.distance("simplex_etf") > 0.2


def test_hierarchies_and_similarities_are_targets() -> None:
    similarity = np.array([[1.0, 0.9, -0.6], [0.9, 1.0, 0.5], [-0.6, 0.5, 1.0]])
    with pytest.warns(EncollapseWarning, match="positive semidefinite"):
        nearest = from_similarity(similarity).gram()
    tree = hierarchical([["cat", "dog"], ["car", "truck", "bus"]]).gram()
    for shape in (nearest, tree):
        counts = COUNTS[: len(shape)]
        target = ec.ufm.scale_target(shape, counts, **DECAYS)
        encoding = ec.ufm.design(target, counts, **DECAYS)
        assert relative_error(minimizer(encoding, counts, math.inf).geometry.feature_gram, target) < 1e-12


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_design_commutes_with_the_order_of_the_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = ec.ufm.scale_target(random_gram(rng, 5, int(rng.integers(1, 6))), COUNTS, **DECAYS)
    order = rng.permutation(5)
    gram = ec.ufm.design(target, COUNTS, bias_decay=0.7, **DECAYS).gram()
    permuted = ec.ufm.design(
        target[np.ix_(order, order)], np.array(COUNTS)[order], bias_decay=0.7, code_dim=6, **DECAYS
    )
    np.testing.assert_allclose(permuted.gram(), gram[np.ix_(order, order)], atol=1e-10 * np.abs(gram).max())


def test_short_code_does_not_depend_on_the_basis_of_equal_singular_values() -> None:
    """Two roundings of one degenerate target decompose into other bases, and must give one code."""
    target = ec.ufm.scale_target("simplex", [6] * 7, **DECAYS)
    noise = 1e-15 * np.random.default_rng(0).standard_normal((7, 7)) * target.max()
    one = ec.ufm.design(target, 6, code_dim=6, **DECAYS).codewords
    other = ec.ufm.design(target + noise + noise.T, 6, code_dim=6, **DECAYS).codewords
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_scales_are_what_they_say() -> None:
    shape = random_gram(np.random.default_rng(2), 5, 3)
    priors = np.array(COUNTS) / sum(COUNTS)
    c = math.sqrt(sum(COUNTS) * 5e-3 * 1e-3)
    found = {}
    for like in ("one_hot", "unit_codewords", "unit_outputs"):
        target = ec.ufm.scale_target(shape, COUNTS, like=like, **DECAYS)
        np.testing.assert_allclose(target / target[0, 0], shape / shape[0, 0], rtol=1e-13)
        np.testing.assert_allclose(ec.ufm.scale_target(1e8 * shape, COUNTS, like=like, **DECAYS), target, rtol=1e-12)
        encoding = ec.ufm.design(target, COUNTS, **DECAYS)
        found[like] = encoding, minimizer(encoding, COUNTS, math.inf)
    assert found["one_hot"][1].singular_values[:3].mean() == pytest.approx(1 / math.sqrt(5) - c, rel=1e-12)
    codewords = found["unit_codewords"][0].codewords
    assert float((codewords**2).sum(axis=0) @ priors) == pytest.approx(1.0, rel=1e-12)
    outputs = found["unit_outputs"][1].geometry.class_outputs
    assert float((outputs**2).sum(axis=0) @ priors) == pytest.approx(1.0, rel=1e-12)


def test_targets_in_single_precision_and_with_rounding_are_taken() -> None:
    means = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float32)
    target = means.T @ means
    encoding = ec.ufm.design(target, COUNTS, code_dim=3, **DECAYS)
    found = minimizer(encoding, COUNTS, math.inf).geometry.feature_gram
    assert relative_error(found, target.astype(np.float64)) < 1e-6
    with pytest.raises(ArgumentError, match="positive semidefinite"):
        ec.ufm.design(np.round(np.float64(target), 3), COUNTS, **DECAYS)


def test_short_class_means_beside_long_ones_are_kept() -> None:
    lengths = np.array([1e-6, 1.0, 1e3, 1.0, 1e-3])
    target = ec.simplex_etf_gram(5) * np.outer(lengths, lengths)
    encoding = ec.ufm.design(target, COUNTS, **DECAYS)
    solution = minimizer(encoding, COUNTS, math.inf)
    assert solution.rank == 4
    assert relative_error(solution.geometry.feature_gram, target) < 1e-9


def test_a_class_at_the_origin_is_a_target() -> None:
    target = np.diag([1.0, 2.0, 0.0, 1.0, 3.0])
    encoding = ec.ufm.design(target, COUNTS, **DECAYS)
    found = minimizer(encoding, COUNTS, math.inf).geometry.feature_gram
    assert relative_error(found, target) < 1e-12
    assert not encoding.codewords[:, 2].any()


SIMPLEX = ec.simplex_etf_gram(5)
SKEWED = SIMPLEX + np.triu(np.full((5, 5), 1e-3), 1)
UNFILLED = np.where(np.eye(5) > 0, np.nan, SIMPLEX)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"target_gram": SKEWED}, ArgumentError, r"target_gram.*symmetric.*target_gram\[0, 1\] = -0\.249"),
        ({"target_gram": SIMPLEX - 0.5}, ArgumentError, r"target_gram.*smallest eigenvalue is -2\.5"),
        ({"target_gram": -np.eye(5)}, ArgumentError, "target_gram.*from_similarity"),
        ({"target_gram": np.eye(5) - np.diag([0, 0, 1, 0, 0]) + SKEWED - SIMPLEX}, ArgumentError, "target"),
        ({"target_gram": UNFILLED}, ArgumentError, r"target_gram.*finite.*\(0, 0\)"),
        ({"target_gram": SIMPLEX[:, :4]}, ArgumentError, r"target_gram.*\(5, 4\)"),
        ({"target_gram": np.ones(5)}, ArgumentError, "target_gram"),
        ({"target_gram": np.ones((1, 1)), "counts": 3}, ArgumentError, "target_gram.*2 classes"),
        ({"target_gram": np.zeros((5, 5))}, ArgumentError, "target_gram.*total collapse"),
        ({"target_gram": "hexagon"}, ArgumentError, "target_gram.*'simplex'"),
        ({"target_gram": "simplex", "counts": 7}, ArgumentError, "counts"),
        ({"target_gram": SIMPLEX + 0j}, ArgumentTypeError, "target_gram"),
        ({"counts": [1, 2, 3]}, ArgumentError, "counts"),
        ({"counts": [1, 2, 0, 3, 4]}, ArgumentError, "class 2"),
        ({"weight_decay": 0.0}, ArgumentError, "weight_decay"),
        ({"feature_decay": math.nan}, ArgumentError, "feature_decay"),
        ({"bias_decay": -1.0}, ArgumentError, "bias_decay"),
        ({"bias_decay": 0.0}, ArgumentError, "bias_decay.*math.inf"),
        ({"code_dim": 3}, ArgumentError, "code_dim.*rank 4"),
        ({"code_dim": 4.0}, ArgumentTypeError, "code_dim"),
        ({"classes": ["a", "b"]}, ArgumentError, "classes"),
        # One-hot labels have no size to lend where they learn nothing: c √K = 1.4.
        ({"target_gram": "simplex", "weight_decay": 1.0, "feature_decay": 1e-2}, ArgumentError, "one-hot"),
    ],
)
def test_bad_designs_are_refused_by_name(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"target_gram": SIMPLEX, "counts": COUNTS, **DECAYS, **change}
    with pytest.raises(error, match=words):
        ec.ufm.design(arguments.pop("target_gram"), arguments.pop("counts"), **arguments)


@pytest.mark.parametrize("like", ["one_hot", "unit_codewords", "big"])
def test_sizes_that_do_not_exist_are_refused(like: str) -> None:
    with pytest.raises(ArgumentError, match="like"):
        ec.ufm.scale_target(SIMPLEX, COUNTS, weight_decay=1.0, feature_decay=1e-1, like=like)
    target = ec.ufm.scale_target(SIMPLEX, COUNTS, weight_decay=1.0, feature_decay=1e-1, like="unit_outputs")
    assert target.trace() > 0


def test_uncentered_targets_have_no_encoding_at_a_free_bias() -> None:
    """A simplex is centered for equal counts only, and at λ_b = 0 every minimizer is centered."""
    ec.ufm.design("simplex", [7] * 5, bias_decay=0.0, **DECAYS)
    with pytest.raises(ArgumentError, match=r"bias_decay.*0\.\d+ of the root mean square.*center"):
        ec.ufm.design("simplex", COUNTS, bias_decay=0.0, **DECAYS)


def test_large_biases_are_warned_about_with_their_size() -> None:
    with pytest.warns(EncollapseWarning, match=r"bias_decay: at 1e-05 .* length \d"):
        encoding = ec.ufm.design(np.ones((5, 5)) + np.eye(5), COUNTS, bias_decay=1e-5, **DECAYS)
    assert np.linalg.norm(minimizer(encoding, COUNTS, 1e-5).bias) > 100


def test_lost_digits_are_warned_about() -> None:
    """A target 1e-10 below the threshold leaves float64 about six digits of it."""
    with pytest.warns(EncollapseWarning, match=r"target_gram: float64 resolves"):
        encoding = ec.ufm.design(1e-10 * np.eye(5), COUNTS, **DECAYS)
    found = minimizer(encoding, COUNTS, math.inf).geometry.feature_gram
    assert relative_error(found, 1e-10 * np.eye(5)) < 1e-4


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_digits_are_lost_in_silence(seed: int) -> None:
    """Sizes over 14 decades, class means over 6, counts over 6: an error above 1e-9 has been warned about."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 14))
    lengths = 10 ** rng.uniform(-3, 3, k)
    shape = random_gram(rng, k, int(rng.integers(1, k + 1))) * np.outer(lengths, lengths)
    counts = np.rint(10 ** rng.uniform(0, 6, k)).astype(int)
    decays: dict[str, Any] = {"weight_decay": float(10 ** rng.uniform(-7, -4)), "feature_decay": 1e-6}
    target = ec.ufm.scale_target(shape, counts, like="unit_outputs", **decays) * 10 ** rng.uniform(-10, 4)
    bias_decay = float(rng.choice([0.1, 10.0, math.inf]))
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        encoding = ec.ufm.design(target, counts, bias_decay=bias_decay, **decays)
    found = minimizer(encoding, counts, bias_decay, **decays).geometry.feature_gram
    assert relative_error(found, target) < 1e-9 or any("float64" in str(w.message) for w in raised)


def test_classes_that_would_share_a_codeword_are_warned_about() -> None:
    means = np.array([[1.0, 2.0, 1.0, 0.0, 5.0], [3.0, 1.0, 3.0, 1.0, 0.0]])
    with pytest.warns(EncollapseWarning, match="classes 0 and 2"):
        encoding = ec.ufm.design(means.T @ means, COUNTS, **DECAYS)
    np.testing.assert_allclose(encoding.codewords[:, 0], encoding.codewords[:, 2], atol=1e-12)


def test_designed_encodings_are_encodings(tmp_path: Any) -> None:
    names = ["ant", "bee", "cat", "dog", "eel"]
    encoding = ec.ufm.design("simplex", COUNTS, name="fair simplex", classes=names, **DECAYS)
    assert encoding.name == "fair simplex"
    loaded = ec.encodings.Encoding.load(encoding.save(tmp_path / "fair.json"))
    np.testing.assert_array_equal(loaded.codewords, encoding.codewords)
    assert loaded.classes == tuple(names)
    np.testing.assert_array_equal(encoding.decode(encoding.encode([4, 0, 2])), [4, 0, 2])


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_design_and_its_file_remember_their_setting(tmp_path: Any, suffix: str) -> None:
    encoding = ec.ufm.design("orthogonal", COUNTS, **DECAYS)
    loaded = ec.encodings.Encoding.load(encoding.save(tmp_path / f"code.{suffix}"))
    expected = {"counts": tuple(COUNTS), "bias_decay": math.inf, **DECAYS}
    for one in (encoding, loaded, pickle.loads(pickle.dumps(loaded))):
        assert one.designed_for is not None
        assert dict(one.designed_for) == expected
    assert ec.encodings.one_hot(5).designed_for is None
    assert design_mismatch(loaded, np.array(COUNTS), bias_decay=math.inf, **DECAYS) is None
    assert design_mismatch(ec.encodings.one_hot(5), np.array(COUNTS), bias_decay=0.0, **DECAYS) is None


def test_another_setting_than_that_of_the_design_is_named() -> None:
    encoding, counts = ec.ufm.design("orthogonal", COUNTS, **DECAYS), np.array(COUNTS)
    text = design_mismatch(encoding, counts, bias_decay=0.0, **DECAYS)
    assert text is not None
    assert "designed for bias_decay=inf and here bias_decay=0;" in text
    other = DECAYS | {"weight_decay": 2 * DECAYS["weight_decay"]}
    text = design_mismatch(encoding, counts[::-1].copy(), bias_decay=math.inf, **other)
    assert text is not None
    assert "weight_decay=" in text
    assert "counts=" in text
    assert "bias_decay" not in text
    assert design_mismatch(encoding, counts, weight_decay=DECAYS["weight_decay"], feature_decay=None) is None


def test_a_centered_design_serves_every_bias_decay() -> None:
    encoding = ec.ufm.design("simplex", [7] * 5, **DECAYS)
    assert design_mismatch(encoding, np.array([7] * 5), bias_decay=0.0, **DECAYS) is None
    grams = [minimizer(encoding, [7] * 5, decay).geometry.feature_gram for decay in (0.0, 0.7, math.inf)]
    for gram in grams[1:]:
        assert relative_error(gram, grams[0]) < 1e-9
