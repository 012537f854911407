"""The secular decomposition against dense linear algebra, far below the largest singular value too."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from encollapse.ufm.newton import divided_differences
from encollapse.ufm.secular import secular_svd


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
    np.testing.assert_allclose(
        singular, np.linalg.svd(matrix, compute_uv=False), atol=1e-14 * size * n, rtol=0
    )
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
