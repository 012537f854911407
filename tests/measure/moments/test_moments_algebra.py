"""The linear algebra of the metrics by torch against numpy's."""

import numpy as np
import pytest

from encollapse.measure.moments.torch_algebra import TORCH
from encollapse.metrics.linear_algebra import NUMPY, LinearAlgebra, factor, quotient_of_factors

ROWS, SIZE, OTHER = 293, 271, 7


@pytest.mark.parametrize("algebra", [NUMPY, TORCH])
@pytest.mark.parametrize("read_only", [True, False])
def test_operations_are_their_definitions(algebra: LinearAlgebra, read_only: bool) -> None:
    rng = np.random.default_rng(0)
    rows, right = rng.standard_normal((ROWS, SIZE)), rng.standard_normal((SIZE, OTHER))
    rows.flags.writeable = right.flags.writeable = not read_only
    np.testing.assert_allclose(algebra.product(rows, right), np.einsum("nd,dm->nm", rows, right), atol=1e-11)
    square = algebra.gram(rows)
    np.testing.assert_allclose(square, np.einsum("nd,ne->de", rows, rows), atol=1e-10)
    np.testing.assert_array_equal(square, square.T)
    lower = algebra.cholesky(square)
    assert lower is not None
    np.testing.assert_array_equal(np.triu(lower, 1), 0.0)
    np.testing.assert_allclose(lower @ lower.T, square, atol=1e-10)
    np.testing.assert_allclose(lower @ algebra.solve(lower, right), right, atol=1e-9)
    np.testing.assert_allclose(lower.T @ algebra.solve(lower, right, transposed=True), right, atol=1e-9)


@pytest.mark.parametrize("algebra", [NUMPY, TORCH])
def test_trace_of_a_quotient_by_its_factors(algebra: LinearAlgebra) -> None:
    rng = np.random.default_rng(1)
    below, above = (x.T @ x for x in rng.standard_normal((2, 3 * SIZE, SIZE)))
    lower, upper = factor(below, algebra), factor(above, algebra)
    assert lower is not None
    assert upper is not None
    expected = np.trace(np.linalg.solve(below, above))
    assert quotient_of_factors(lower, upper, algebra) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("algebra", [NUMPY, TORCH])
def test_a_matrix_that_is_singular_or_nearly_so_has_no_factor(algebra: LinearAlgebra) -> None:
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0]
    values = np.ones(SIZE)
    for least in (-1.0, 0.0, 1e-12):
        values[-1] = least
        assert factor((axes * values) @ axes.T, algebra) is None
    values[-1] = 1e-4
    assert factor((axes * values) @ axes.T, algebra) is not None
