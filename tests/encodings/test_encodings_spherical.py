"""Points on circle and sphere against proven optima."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

import encollapse as ec
from encollapse.encodings.codes import sphere_packing
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError


def smallest_angle(encoding: ec.encodings.Encoding) -> float:
    e = encoding.codewords
    np.testing.assert_allclose(np.linalg.norm(e, axis=0), 1, rtol=1e-13)
    cosines = e.T @ e - 3 * np.eye(e.shape[1])
    return float(np.degrees(np.arccos(np.clip(cosines.max(), -1, 1))))


@pytest.mark.parametrize("k", [2, 3, 5, 12])
def test_circular_classes_follow_one_another(k: int) -> None:
    e = ec.encodings.circular(k).codewords
    assert e.shape == (2, k)
    turn = np.exp(2j * np.pi / k)
    points = e[0] + 1j * e[1]
    np.testing.assert_allclose(points * turn, np.roll(points, -1), atol=1e-15)
    assert points[0] == 1


@settings(max_examples=30, deadline=None)
@given(data=st.data(), q=st.integers(1, 13))
def test_up_to_two_points_a_dimension_rankins_optimum_is_exact(data: st.DataObject, q: int) -> None:
    k = data.draw(st.integers(2, max(2, 2 * q)))
    encoding = ec.encodings.spherical(k, q)
    cosine = -1 / (k - 1) if k <= q + 1 else 0.0
    assert smallest_angle(encoding) == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-5)
    gram = encoding.gram()
    assert (gram - 3 * np.eye(k)).max() <= cosine + 1e-13
    np.testing.assert_allclose(encoding.mean(), 0, atol=1e-14)
    if k == 2 * q:
        cross_polytope = np.sort(gram, axis=1)
        np.testing.assert_allclose(cross_polytope[:, [0, -1]], np.tile([-1, 1], (k, 1)), atol=1e-13)


def test_the_plane_is_the_circle() -> None:
    np.testing.assert_array_equal(ec.encodings.spherical(7, 2).codewords, ec.encodings.circular(7).codewords)


@pytest.mark.parametrize("seed", [3, 11])
@pytest.mark.parametrize(("k", "degrees"), [(13, 57.1367031), (14, 55.6705700), (17, 51.0903285)])
def test_irregular_optima_whatever_the_seed(k: int, degrees: float, seed: int) -> None:
    # 13 and 14 are proved by Musin and Tarasov; 17 is the best known (Sloane's tables).
    assert smallest_angle(ec.encodings.spherical(k, 3, seed=seed)) == pytest.approx(degrees, abs=1e-6)


@pytest.mark.parametrize(
    ("k", "q", "degrees"),
    [
        (7, 3, np.degrees(np.arccos(1 / np.tan(np.radians(40)) / np.tan(np.radians(80))))),  # Schütte, van der Waerden
        (8, 3, np.degrees(np.arccos((2 * 2**0.5 - 1) / 7))),  # square antiprism
        (9, 3, np.degrees(np.arccos(1 / 3))),
        (12, 3, np.degrees(np.arccos(5**-0.5))),  # icosahedron
        (24, 3, 43.690767108),  # snub cube
        (10, 4, 80.405931773),
        (24, 4, 60.0),  # 24-cell
        (120, 4, 36.0),  # 600-cell
        (16, 5, np.degrees(np.arccos(1 / 5))),  # half of a cube
        (27, 6, np.degrees(np.arccos(1 / 4))),  # Schläfli
        (56, 7, np.degrees(np.arccos(1 / 3))),
    ],
)
def test_known_optima_are_reached(k: int, q: int, degrees: float) -> None:
    assert smallest_angle(ec.encodings.spherical(k, q)) == pytest.approx(degrees, abs=1e-7)


def test_other_seeds_reach_the_24_cell() -> None:
    for seed in (1, 2):
        assert smallest_angle(ec.encodings.spherical(24, 4, seed)) == pytest.approx(60, abs=1e-7)


def test_the_same_seed_gives_the_same_codewords() -> None:
    one, same, other = (ec.encodings.spherical(9, 4, seed=s).codewords for s in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_many_classes_are_spread_better_than_at_random() -> None:
    found = smallest_angle(ec.encodings.spherical(23, 5))
    assert found > smallest_angle(ec.encodings.random(23, 5)) + 20
    assert found < 90  # which 10 points reach at most


@pytest.mark.parametrize("sharpness", [1.0, 50.0, 1e4])
@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_soft_maximum_by_blocks(sharpness: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sphere_packing, "_BLOCK_ENTRIES", block)
    x = np.random.default_rng(0).standard_normal((13, 5))
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = np.array([units[a] @ units[b] for a in range(13) for b in range(13) if a != b])
    value, gradient = sphere_packing.soft_maximum(x.ravel(), 5, sharpness)
    assert value == pytest.approx(pairs.max() + np.log(np.exp(sharpness * (pairs - pairs.max())).sum()) / sharpness)
    assert sphere_packing.largest_cosine(units) == pytest.approx(pairs.max(), abs=1e-15)
    error = check_grad(
        lambda z: sphere_packing.soft_maximum(z, 5, sharpness)[0],
        lambda z: sphere_packing.soft_maximum(z, 5, sharpness)[1],
        x.ravel(),
        epsilon=1e-8,
    )
    assert error < 1e-3 * np.linalg.norm(gradient)


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match="code_dim"):
        ec.encodings.spherical(3, 1)
    with pytest.raises(ArgumentError, match="code_dim"):
        ec.encodings.spherical(3, 0)
    with pytest.raises(ArgumentError, match="seed"):
        ec.encodings.spherical(9, 3, seed=-2)
    with pytest.raises(ArgumentTypeError, match="code_dim"):
        ec.encodings.spherical(9, "3")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="num_classes"):
        ec.encodings.spherical(5_001, 20)
    assert ec.encodings.spherical(5_001, 2_501).num_classes == 5_001  # closed form
