"""The waist: what a class geometry says, and that absent classes never enter."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError

RNG = np.random.default_rng(7)
COUNTS = np.array([3, 5, 7, 11, 13])
MEANS = RNG.standard_normal((7, 5))
WEIGHT = RNG.standard_normal((3, 7))


def geometry(means: Any = MEANS, counts: Any = COUNTS, weight: Any = WEIGHT) -> ec.ClassGeometry:
    return ec.ClassGeometry(
        feature_gram=means.T @ means,
        counts=counts,
        classifier_gram=weight @ weight.T,
        class_outputs=weight @ means,
        bias=np.array([0.1, -0.2, 0.3]),
        provenance={"source": "test"},
    )


def test_centered_gram_is_that_of_the_centered_means() -> None:
    center = MEANS @ (COUNTS / COUNTS.sum())
    centered = MEANS - center[:, None]
    np.testing.assert_allclose(geometry().feature_gram_centered, centered.T @ centered, atol=1e-13)


def test_cosines_and_norms_from_the_vectors() -> None:
    g = geometry()
    for k in range(5):
        assert g.norm(k) == pytest.approx(np.linalg.norm(MEANS[:, k]))
        for j in range(5):
            expected = MEANS[:, k] @ MEANS[:, j] / np.linalg.norm(MEANS[:, k]) / np.linalg.norm(MEANS[:, j])
            assert g.cosine(k, j) == pytest.approx(expected)
            assert g.cosines()[k, j] == pytest.approx(expected)
    off = g.cosines()[~np.eye(5, dtype=bool)]
    assert g.mean_cosine() == pytest.approx(off.mean())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-100, 1e100))
def test_shape_distance_ignores_rotation_and_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((7, 7)))
    g = geometry()
    turned = ec.ClassGeometry(feature_gram=scale * (rotation @ MEANS).T @ (rotation @ MEANS), counts=COUNTS)
    assert g.distance(turned) == pytest.approx(0, abs=1e-12)
    assert g.distance(turned, centered=True) == pytest.approx(0, abs=1e-12)
    assert turned.distance("orthogonal") == pytest.approx(g.distance("orthogonal"), rel=1e-9)


def test_distances_of_the_frames() -> None:
    k = 7
    etf = ec.ClassGeometry(feature_gram=3 * ec.simplex_etf_gram(k), counts=np.full(k, 2))
    frame = ec.ClassGeometry(feature_gram=5 * ec.orthogonal_gram(k), counts=np.full(k, 2))
    assert etf.distance("simplex_etf") < 1e-15
    assert frame.distance("orthogonal") < 1e-15
    assert frame.distance("simplex_etf", centered=True) < 1e-15
    # |P/√(K-1) - I/√K|² = 2 - 2 √((K-1)/K), P the centering projection.
    expected = np.sqrt(2 - 2 * np.sqrt((k - 1) / k))
    assert etf.distance("orthogonal") == pytest.approx(expected, rel=1e-13)
    assert etf.distance(ec.orthogonal_gram(k)) == pytest.approx(expected, rel=1e-13)
    assert frame.mean_cosine() == 0
    assert etf.mean_cosine() == pytest.approx(-1 / (k - 1))


def test_absent_classes_never_enter() -> None:
    counts = np.array([3, 0, 7, 11, 13])
    means = MEANS.copy()
    means[:, 1] = 1e9  # whatever stands there
    g = geometry(means, counts)
    kept = [0, 2, 3, 4]
    alone = ec.ClassGeometry(feature_gram=MEANS[:, kept].T @ MEANS[:, kept], counts=counts[kept])
    assert np.isnan(g.feature_gram[1]).all()
    assert np.isnan(g.feature_gram_centered[:, 1]).all()
    assert g.mean_cosine() == pytest.approx(alone.mean_cosine())
    assert g.mean_cosine(centered=True) == pytest.approx(alone.mean_cosine(centered=True))
    assert g.distance("simplex_etf") == pytest.approx(alone.distance("simplex_etf"))
    np.testing.assert_array_equal(g.present, [True, False, True, True, True])


def test_a_zero_mean_has_no_angle() -> None:
    means = MEANS.copy()
    means[:, 2] = 0
    g = geometry(means)
    assert np.isnan(g.cosine(2, 1))
    assert np.isnan(g.cosines()[2]).all()
    assert np.isnan(g.mean_cosine())
    means[:, 2] = 1e-17 * MEANS[:, 2]  # zero up to rounding, as a solver leaves it
    assert np.isnan(geometry(means).cosine(2, 1))
    assert geometry(means).norm(2) == 0.0
    with pytest.raises(ArgumentError, match="zero"):
        ec.ClassGeometry(feature_gram=np.zeros((5, 5)), counts=COUNTS).distance("orthogonal")


def test_frozen_and_copied() -> None:
    gram = MEANS.T @ MEANS
    g = ec.ClassGeometry(feature_gram=gram, counts=COUNTS)
    gram[0, 0] = 99
    assert g.feature_gram[0, 0] != 99
    with pytest.raises(ValueError, match="read-only"):
        g.feature_gram[0, 0] = 1
    with pytest.raises(AttributeError):
        g.counts = COUNTS  # type: ignore[misc]
    with pytest.raises(TypeError):
        g.provenance["a"] = 1  # type: ignore[index]


def test_pickles_for_process_pools() -> None:
    g = geometry()
    back = pickle.loads(pickle.dumps(g))
    np.testing.assert_array_equal(back.feature_gram, g.feature_gram)
    np.testing.assert_array_equal(back.bias, g.bias)
    assert dict(back.provenance) == {"source": "test"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"feature_gram": np.ones((5, 4))}, "feature_gram"),
        ({"feature_gram": np.full((5, 5), np.nan)}, "feature_gram"),
        ({"counts": np.zeros(5, dtype=int)}, "counts"),
        ({"counts": np.array([1, -1, 1, 1, 1])}, "counts"),
        ({"counts": np.ones(5)}, "counts"),
        ({"classifier_gram": np.ones((3, 2))}, "classifier_gram"),
        ({"bias": np.ones(2)}, "bias"),
        ({"class_outputs": np.ones((3, 4))}, "class_outputs"),
        ({"within": np.ones(4)}, "within"),
        ({"within": np.full(5, np.inf)}, "within"),
    ],
)
def test_bad_geometries(change: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {
        "feature_gram": MEANS.T @ MEANS,
        "counts": COUNTS,
        "classifier_gram": np.eye(3),
        **change,
    }
    with pytest.raises(ArgumentError, match=words):
        ec.ClassGeometry(**arguments)


def test_bad_targets() -> None:
    with pytest.raises(ArgumentError, match="target"):
        geometry().distance("cube")
    with pytest.raises(ArgumentError, match="target"):
        geometry().distance(np.eye(4))
    with pytest.raises(ArgumentError, match="target"):
        geometry().distance(np.full((5, 5), np.nan))
    with pytest.raises(ArgumentError, match="k"):
        geometry().norm(5)
    with pytest.raises(ArgumentTypeError):
        ec.simplex_etf_gram(2.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        ec.orthogonal_gram(1)


def test_comparison_from_its_definition() -> None:
    predicted, other = geometry(), geometry(MEANS * 1.1, weight=WEIGHT * 0.9)
    c = ec.compare(predicted, other)
    assert c.gram_error == pytest.approx(0.21, rel=1e-12)
    assert c.shape_error == pytest.approx(0, abs=1e-15)
    assert c.cosine_error == pytest.approx(0, abs=1e-14)
    assert c.classifier_gram_error == pytest.approx(0.19, rel=1e-12)
    assert c.outputs_error == pytest.approx(0.01, rel=1e-9)
    assert c.bias_error == 0.0
    assert c.worst().value == max(row.value for row in c.rows if row.value is not None)
    assert set(c.to_dict()) == {row.name for row in c.rows} | {"missing", "notes"}
    for row in c.rows:
        assert row.name in str(c)


def test_comparison_with_itself_is_zero_and_unbalanced_layers_are_seen() -> None:
    problem = ec.ufm.Problem(ec.encodings.random(5, 3), COUNTS, weight_decay=1e-2, feature_decay=1e-3, bias_decay=0.1)
    g = ec.ufm.solve(problem).geometry
    assert max(row.value for row in ec.compare(g, g).rows if row.value is not None) < 1e-13
    weight, means, bias = ec.ufm.solve(problem).parameters(7)
    for factor in (1.01, 2.0):
        moved = ec.ClassGeometry(
            feature_gram=means.T @ means * factor**2,
            counts=COUNTS,
            classifier_gram=weight @ weight.T / factor**2,
            class_outputs=weight @ means,
            bias=bias,
        )
        residual = ec.compare(g, moved).balance_residual
        assert residual is not None
        assert residual > 0.9 * (factor**2 - factor**-2) / factor**2


def test_comparison_says_what_is_missing() -> None:
    g = geometry()
    bare = ec.ClassGeometry(feature_gram=MEANS.T @ MEANS, counts=np.array([3, 5, 7, 0, 14]))
    c = ec.compare(g, bare)
    assert c.bias_error is None
    assert "classifier" in c.missing["bias_error"]
    assert c.gram_error == pytest.approx(0, abs=1e-15)
    assert any("[3]" in note for note in c.notes)
    assert any("frequencies" in note for note in c.notes)
    zero = ec.ClassGeometry(feature_gram=np.zeros((5, 5)), counts=COUNTS)
    against_zero = ec.compare(zero, g)
    assert against_zero.gram_error is None
    assert "zero" in against_zero.missing["gram_error"]
    assert ec.compare(zero, zero).gram_error == 0.0


def test_comparison_refuses_what_cannot_be_compared() -> None:
    g = geometry()
    with pytest.raises(ArgumentTypeError, match="measured"):
        ec.compare(g, g.feature_gram)  # type: ignore[arg-type]
    fewer = ec.ClassGeometry(feature_gram=np.eye(4), counts=np.ones(4, dtype=int))
    with pytest.raises(ArgumentError, match="classes"):
        ec.compare(g, fewer)
    longer = ec.ClassGeometry(feature_gram=np.eye(5), counts=COUNTS, classifier_gram=np.eye(4))
    with pytest.raises(ArgumentError, match="shape"):
        ec.compare(g, longer)


def test_a_centered_mean_that_is_rounding_has_no_angle() -> None:
    """Class 4 is at the global mean: its centered length is 0, and what subtraction leaves of it no direction."""
    for seed in range(20):
        means = np.random.default_rng(seed).standard_normal((7, 5))
        means[:, 4] = means[:, :4].mean(axis=1)
        g = ec.ClassGeometry(feature_gram=means.T @ means, counts=np.full(5, 3))
        assert np.isnan(g.cosines(centered=True)[4]).all()
        assert np.isfinite(g.cosines(centered=True)[:4, :4]).all()
        assert np.isfinite(g.cosines()).all()


def test_one_zero_for_geometry_and_explorer() -> None:
    """A mean of a billionth of the others' length has a direction wherever it is shown."""
    from encollapse.explorer.state.state import State
    from encollapse.explorer.views.solution import classifier_gram, feature_gram

    means = MEANS.copy()
    means[:, 2] *= 1e-9
    g, state = geometry(means), State(quantity="cosines")
    np.testing.assert_array_equal(feature_gram(state, g), g.cosines())
    assert np.isfinite(g.cosines()).all()
    np.testing.assert_allclose(classifier_gram(state, means.T), g.cosines(), atol=1e-12)
    equal = np.ones((3, 1)) * MEANS[:, 0]  # about their mean all rows are zero
    assert np.isnan(classifier_gram(State(quantity="cosines", centered=True), equal)).all()


def test_comparison_takes_what_has_a_geometry() -> None:
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), 3, weight_decay=1e-2, feature_decay=1e-3)
    solution = ec.ufm.solve(problem)
    weight, means, bias = solution.parameters(7)
    measured = ec.measure.collapse(means.T, np.arange(5), weight=weight, bias=bias)
    by_result, by_geometry = ec.compare(solution, measured), ec.compare(solution.geometry, measured.geometry)
    assert by_result.to_dict() == by_geometry.to_dict()
    assert by_result.gram_error == pytest.approx(0, abs=1e-12)
    with pytest.raises(ArgumentTypeError, match="predicted"):
        ec.compare("solution", measured)  # type: ignore[arg-type]
