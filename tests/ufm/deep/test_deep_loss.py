"""Several layers under cross-entropy: two classes in closed form, explicit descents, and what beats a simplex."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

import encollapse as ec
from reference.ufm_layers_reference import brute_force_layers

Array = NDArray[np.float64]


def problem(k: int, depth: int, decay: float, **options: object) -> ec.ufm.Problem:
    values = {"weight_decay": decay, "feature_decay": decay, "bias_decay": math.inf, **options}
    return ec.ufm.Problem(ec.encodings.one_hot(k), 1, loss="cross_entropy", depth=depth, **values)  # type: ignore[arg-type]


def simplex_loss(p: ec.ufm.Problem) -> float:
    """Least loss of outputs ``a (I - J/K)``: K - 1 singular values a/√K, which p factors price."""
    k, factors = p.num_classes, p.depth + 1
    kappa = 0.5 * factors * (p.num_samples * p.feature_decay * math.prod(p.weight_decays)) ** (1 / factors)

    def value(size: float) -> float:
        penalty = kappa * (k - 1) * (size / math.sqrt(k)) ** (2 / factors)
        return float(math.log1p((k - 1) * math.exp(-size)) + penalty)

    grid = np.geomspace(1e-3, 100, 400)
    around = grid[np.argmin([value(a) for a in grid])]
    return float(minimize_scalar(value, bounds=(0.9 * around, 1.1 * around), options={"xatol": 1e-12}).fun)


@pytest.mark.parametrize("depth", [2, 5])
def test_two_balanced_classes_are_solved_with_a_proof(depth: int) -> None:
    solution = ec.ufm.solve(problem(2, depth, 0.02))
    # Outputs of two classes have sum 0 and so rank one: a scalar problem.
    assert solution.loss == pytest.approx(simplex_loss(solution.problem), rel=1e-9)
    assert (solution.certificate.kind, solution.certificate.holds) == ("duality_gap", True)


def test_where_nothing_pays_nothing_is_learned() -> None:
    solution = ec.ufm.solve(problem(4, 2, 1.0))
    assert solution.rank == 0
    assert solution.loss == pytest.approx(math.log(4), rel=1e-12)


@pytest.mark.parametrize(("k", "depth", "decay", "rank"), [(4, 2, 0.01, 3), (4, 3, 0.01, 2), (6, 4, 0.005, 2)])
def test_a_simplex_is_beaten_from_four_classes_and_three_layers_on(k: int, depth: int, decay: float, rank: int) -> None:
    solution = ec.ufm.solve(problem(k, depth, decay))
    simplex = simplex_loss(solution.problem)
    assert solution.rank == rank
    if rank == k - 1:
        assert solution.loss == pytest.approx(simplex, rel=1e-9)
    else:
        assert solution.loss < 0.99 * simplex
    assert solution.status is ec.ufm.Status.STATIONARY
    assert solution.certificate.lower_bound < solution.loss


@pytest.mark.parametrize("bias_decay", [0.0, 0.05, math.inf])
def test_no_explicit_descent_on_the_layers_ends_below(bias_decay: float) -> None:
    encoding, counts = ec.encodings.label_smoothing(4, 0.1), [9, 6, 3, 2]
    p = ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=[2e-2, 1e-2],
        feature_decay=5e-4,
        bias_decay=bias_decay,
        loss="cross_entropy",
        depth=2,
    )
    solution = ec.ufm.solve(p)
    lowest, gram = brute_force_layers(p, 1, 4, 6)
    assert solution.loss == pytest.approx(lowest, rel=1e-6)
    assert solution.loss <= lowest * (1 + 1e-9)
    assert solution.certificate.lower_bound <= lowest
    np.testing.assert_allclose(np.asarray(solution.geometry.feature_gram), gram, atol=5e-3 * np.abs(gram).max())


def test_the_rank_keeps_to_the_features() -> None:
    wide, narrow = (ec.ufm.solve(problem(4, 2, 0.01, feature_dim=d)) for d in (None, 2))
    assert (wide.rank, narrow.rank) == (3, 2)
    assert wide.loss < narrow.loss
    assert narrow.certificate.lower_bound <= wide.loss


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(ec.errors.UnsupportedError, match="depth"):
        problem(3, 31, 0.1)
