"""The secular decomposition against dense linear algebra, far below the largest singular value too."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import encollapse as ec
from encollapse.ufm.mse.newton import divided_differences, rank_one_svd
from encollapse.ufm.mse.secular import secular_svd


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 2, 3, 7, 31, 101]), decades=st.floats(0.1, 12))
def test_vectors_are_orthonormal_and_reproduce_the_matrix(seed: int, n: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.sort(10 ** rng.uniform(-decades, 0, n))[::-1]
    spectrum[-1] *= rng.integers(0, 2)  # the direction of the mean label outside the span has 0
    assume((-np.diff(spectrum) > 8 * np.finfo(float).eps * spectrum[0]).all())
    shift = rng.standard_normal(n) * 10 ** rng.uniform(-decades, 0, n)
    vectors, singular, weights = secular_svd(spectrum, shift)
    matrix = np.column_stack([np.diag(spectrum), shift])
    size = float(np.linalg.norm(matrix, 2))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-13 * n)
    np.testing.assert_allclose(singular, np.linalg.svd(matrix, compute_uv=False), atol=1e-14 * size * n, rtol=0)
    np.testing.assert_allclose(weights, vectors.T @ shift, atol=1e-14 * size * n)
    right = np.column_stack([(spectrum[:, None] * vectors).T, weights]) / singular[:, None]
    # Orthonormal however small a singular value is: what a dense decomposition does not give.
    np.testing.assert_allclose(right @ right.T, np.eye(n), atol=1e-12 * n)


def test_small_singular_values_keep_their_digits() -> None:
    """[[d1, 0, z], [0, d2, w]] with d2, w ≪ z: the small one is |det| / the large one, to first order."""
    spectrum, shift = np.array([1.0, 1e-12]), np.array([1.0, 1e-12])
    _, singular, _ = secular_svd(spectrum, shift)
    # Sum of squared 2 × 2 minors is the squared product of the singular values.
    minors = spectrum[0] * spectrum[1], spectrum[0] * shift[1], shift[0] * spectrum[1]
    product = np.sqrt(sum(m**2 for m in minors))
    assert singular[0] * singular[1] == pytest.approx(product, rel=1e-14)


@pytest.mark.parametrize("shift", [(1e-12, 1e-30, 1e-170), (1e-170, -1e-200, 3e-171), (1e-170, 1e-3, -1e-300)])
def test_what_underflows_when_squared_leaves_a_pole_where_it_is(shift: tuple[float, ...]) -> None:
    """It was 0/0, and the solver ended in an error of LAPACK."""
    spectrum, small = np.array([0.7, 0.5, 0.3]), np.array(shift)
    vectors, singular, weights = rank_one_svd(spectrum, small)
    np.testing.assert_allclose(singular, spectrum, rtol=2e-6)
    np.testing.assert_allclose(np.abs(vectors), np.eye(3), atol=1e-10)
    np.testing.assert_allclose(weights, vectors.T @ small, rtol=1e-5, atol=1e-300)


@pytest.mark.parametrize("shift", [(1.9e-163, 1.6e-151), (1e-140, 1.6e-151)])
def test_an_update_far_below_the_poles_has_numbers(shift: tuple[float, float]) -> None:
    """LAPACK's roots were NaN here, with a status of success."""
    vectors, singular, weights = rank_one_svd(np.array([2.7e-12, 0.0]), np.array(shift))
    assert singular[0] == pytest.approx(2.7e-12, rel=1e-14)
    assert 0 <= singular[1] < 1e-150
    np.testing.assert_allclose(np.abs(vectors), np.eye(2), atol=1e-100)
    np.testing.assert_allclose(np.abs(weights[1]), singular[1], rtol=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("shift", [(1e-155, 3e-155), (2e-156, 1.0), (1e-158, 1e-155)])
def test_a_root_next_to_its_pole_overflows_nowhere(shift: tuple[float, float]) -> None:
    """``[diag(s) | x]`` with x next to nothing, or next to nothing in one entry: the dense one is the truth."""
    spectrum, x = np.array([1.5, 0.7]), np.array(shift)
    vectors, singular, weights = rank_one_svd(spectrum, x)
    left, values, _ = np.linalg.svd(np.column_stack([np.diag(spectrum), x]), full_matrices=False)
    np.testing.assert_allclose(singular, values, rtol=1e-14)
    np.testing.assert_allclose(np.abs(vectors), np.abs(left), atol=1e-14)
    np.testing.assert_allclose(np.abs(weights), np.abs(left.T @ x), atol=1e-14)


@pytest.mark.parametrize("bias_decay", [1e-145, 1e-151, 1e-158])
def test_labels_that_nearly_agree_may_meet_such_an_update(bias_decay: float) -> None:
    encoding = ec.encodings.scaled_one_hot(2, on=2.0**39, off=2.0**39 + 4.4)
    problem = ec.ufm.Problem(encoding, [36, 20], weight_decay=0.023, feature_decay=7.0)
    solution = ec.ufm.solve(problem.with_bias_decay(bias_decay))
    assert solution.certificate.holds
    assert solution.loss == pytest.approx(ec.ufm.solve(problem).loss, rel=1e-12)


@pytest.mark.parametrize("bias_decay", [1e-170, 1e-300])
def test_a_bias_decay_may_be_next_to_nothing(bias_decay: float) -> None:
    encoding = ec.encodings.random(7, 5, seed=3)
    problem = ec.ufm.Problem(encoding, [2, 3, 5, 7, 11, 13, 17], weight_decay=1e-2, feature_decay=1e-4)
    solution = ec.ufm.solve(problem.with_bias_decay(bias_decay))
    assert solution.loss == pytest.approx(ec.ufm.solve(problem).loss, rel=1e-13)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_divided_differences_from_their_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c = float(10 ** rng.uniform(-2, 2))
    singular = c * 10 ** rng.uniform(-1, 1, 7)
    table = divided_differences(singular, c)

    def phi(t: float) -> float:
        return min(1.0, c / float(np.sqrt(t)))

    for i in range(7):
        for j in range(7):
            s, t = singular[i] ** 2, singular[j] ** 2
            if i == j:
                slope = 0.0 if singular[i] < c else -c / (2 * singular[i] ** 3)
                assert table[i, j] == pytest.approx(slope, rel=1e-12, abs=1e-300)
            elif abs(s - t) > 1e-4 * s:
                expected = (phi(s) - phi(t)) / (s - t)
                assert table[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-12 / c**2)
