"""Grassmannian frames against proven packings and bounds; ternary codes and soft labels from their definitions."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

import encollapse as ec
from encollapse.encodings.codes import sphere_packing
from encollapse.errors import ArgumentError, UnsupportedError


def largest(encoding: ec.encodings.Encoding) -> float:
    e = encoding.codewords
    np.testing.assert_allclose(np.linalg.norm(e, axis=0), 1, rtol=1e-12)
    return float(np.abs(e.T @ e - np.eye(e.shape[1])).max())


@pytest.mark.parametrize(
    ("k", "q", "cosine"),
    [
        (3, 5, 0.0),
        (4, 3, 1 / 3),
        (7, 2, np.cos(np.pi / 7)),
        (5, 3, 5**-0.5),  # as few as the six of the icosahedron (Conway, Hardin, Sloane)
        (6, 3, 5**-0.5),
        (7, 3, 3**-0.5),  # axes of the cube's faces and corners
        (12, 4, 0.5),  # the 24-cell
        (10, 5, 1 / 3),  # equiangular tight frames
        (16, 6, 1 / 3),
    ],
)
def test_proven_packings_of_lines_are_reached(k: int, q: int, cosine: float) -> None:
    found = ec.encodings.grassmannian(k, q)
    assert largest(found) == pytest.approx(cosine, abs=1e-9)
    bound = ec.encodings.grassmannian_bound(k, q)
    assert bound <= cosine + 1e-12
    if 0 < bound == pytest.approx(cosine):  # what attains a bound is a tight frame
        np.testing.assert_allclose(found.codewords @ found.codewords.T, k / q * np.eye(q), atol=1e-7)


def test_no_arrangement_is_below_the_bound_and_signs_shorten_the_mean() -> None:
    found = ec.encodings.grassmannian(11, 3, seed=1)
    assert largest(found) >= ec.encodings.grassmannian_bound(11, 3)
    total = found.codewords.sum(axis=1)
    for column in found.codewords.T:
        assert np.linalg.norm(total - 2 * column) >= np.linalg.norm(total) - 1e-9


def test_gradient_of_the_soft_maximum_of_lines() -> None:
    x = np.random.default_rng(0).standard_normal((7, 3)).ravel()
    units = x.reshape(7, 3) / np.linalg.norm(x.reshape(7, 3), axis=1, keepdims=True)
    pairs = [s * units[a] @ units[b] for a, b in itertools.permutations(range(7), 2) for s in (1, -1)]
    value, gradient = sphere_packing.soft_maximum_of_lines(x, 3, 50.0)
    # Each pair of lines counts twice, and each line meets its own negative twice.
    expected = np.log(2 * np.exp(50 * np.array(pairs)).sum() + 14 * np.exp(-50.0)) / 50
    assert value == pytest.approx(expected, rel=1e-12)
    function = sphere_packing.soft_maximum_of_lines
    error = check_grad(lambda z: function(z, 3, 50.0)[0], lambda z: function(z, 3, 50.0)[1], x, epsilon=1e-8)
    assert error < 1e-3 * np.linalg.norm(gradient)


def pairs_of(k: int) -> NDArray[np.float64]:
    rows = [[float(c == a) - float(c == b) for c in range(k)] for a, b in itertools.combinations(range(k), 2)]
    return np.array(rows)


def test_ternary_codes_ask_of_pairs_or_have_both_signs_in_every_output() -> None:
    np.testing.assert_array_equal(ec.encodings.ternary(5).codewords, pairs_of(5))
    for k, q in ((2, 1), (5, 3), (13, 7)):
        code = ec.encodings.ternary(k, q, seed=2).codewords
        assert set(np.unique(code)) <= {-1.0, 0.0, 1.0}
        assert (code.max(axis=1) == 1).all()
        assert (code.min(axis=1) == -1).all()
        assert len(np.unique(code.T, axis=0)) == k
    np.testing.assert_array_equal(code, ec.encodings.ternary(13, 7, seed=2).codewords)


@pytest.mark.parametrize(("distance", "power"), [("absolute", 1), ("squared", 2)])
def test_soft_ordinal_labels_fall_with_the_distance(distance: str, power: int) -> None:
    e = ec.encodings.soft_ordinal(5, 0.7, distance).codewords
    np.testing.assert_allclose(e.sum(axis=0), 1, rtol=1e-15)
    for i, j, k in itertools.product(range(5), repeat=3):
        ratio = np.exp(-0.7 * (abs(i - k) ** power - abs(j - k) ** power))
        assert e[i, k] == pytest.approx(ratio * e[j, k], rel=1e-12)
    np.testing.assert_allclose(ec.encodings.soft_ordinal(5, 60.0, distance).codewords, np.eye(5), atol=1e-15)
    problem = ec.ufm.Problem(
        ec.encodings.soft_ordinal(5), 7, weight_decay=1e-3, feature_decay=1e-3, loss="cross_entropy"
    )
    assert ec.ufm.solve(problem).certificate.holds


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match="code_dim"):
        ec.encodings.grassmannian(3, 1)
    with pytest.raises(UnsupportedError, match="num_classes"):
        ec.encodings.grassmannian(2_501, 20)
    with pytest.raises(ArgumentError, match="code_dim"):
        ec.encodings.ternary(28, 3)  # 27 words
    with pytest.raises(ArgumentError, match="distance"):
        ec.encodings.soft_ordinal(5, distance="cubed")
    with pytest.raises(ArgumentError, match="scale"):
        ec.encodings.soft_ordinal(5, 0.0)
