"""Laws that every method of the solver obeys. A method joins by entering ``METHODS``, with sample problems here."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import encollapse as ec
from encollapse.ufm.methods import METHODS
from reference import convex_reference
from reference.factored_descent import lowest
from reference.own_losses import HalfSquares
from reference.ufm_layers_reference import brute_force_layers, sized_problem

Array = NDArray[np.float64]

PRIMES = [2, 3, 5, 7, 11]
WEIGHTS = [0.5, 2.0, 1.0, 0.7, 3.0]


def labels(q: int, k: int) -> ec.encodings.Encoding:
    return ec.encodings.Encoding(np.random.default_rng(q * k).standard_normal((q, k)))


def distributions(q: int, k: int) -> ec.encodings.Encoding:
    return ec.encodings.Encoding(np.random.default_rng(q * k).dirichlet(np.full(q, 0.3), k).T)


def sized(encoding: ec.encodings.Encoding, counts: Any, share: float = 0.3, **options: Any) -> ec.ufm.Problem:
    made: ec.ufm.Problem = sized_problem(ec.ufm, encoding, counts, share, **options)
    return made


def decayed(encoding: ec.encodings.Encoding, counts: Any, **options: Any) -> ec.ufm.Problem:
    return ec.ufm.Problem(encoding, counts, weight_decay=5e-2, feature_decay=5e-3, **options)


SAMPLES: dict[str, dict[str, Callable[[], ec.ufm.Problem]]] = {
    "dense": {
        "wide codewords": lambda: sized(labels(7, 5), PRIMES, bias_decay=0.3),
        "fewer outputs than classes": lambda: sized(labels(3, 5), PRIMES, bias_decay=math.inf),
        "a free bias": lambda: sized(ec.encodings.ordinal(5), [3, 3, 5, 5, 7]),
        "a rank that binds": lambda: sized(labels(3, 5), PRIMES, bias_decay=0.3, feature_dim=2),
    },
    "blocks": {
        "balanced": lambda: sized(ec.encodings.one_hot(5), 7, bias_decay=0.2),
        "two counts": lambda: sized(ec.encodings.label_smoothing(5, 0.2), [11, 11, 11, 3, 3], bias_decay=2.0),
        "a simplex": lambda: sized(ec.encodings.simplex(5), PRIMES, bias_decay=0.3),
        "nothing learned": lambda: sized(ec.encodings.one_vs_rest(5), PRIMES, share=1.3, bias_decay=math.inf),
        "a rank that binds": lambda: sized(ec.encodings.one_hot(5), 7, bias_decay=math.inf, feature_dim=3),
    },
    "spectral": {
        "two layers": lambda: sized(ec.encodings.one_hot(5), 7, depth=2),
        "unequal layers": lambda: sized(labels(3, 5), PRIMES, weight_decay=[1e-3, 5e-3], depth=2, bias_decay=math.inf),
        "three layers": lambda: sized(labels(3, 5), PRIMES, depth=3, bias_decay=0.5),
    },
    "relu": {
        "balanced": lambda: sized(ec.encodings.one_hot(5), 7, bias_decay=0.3, features="relu"),
        "imbalanced": lambda: sized(ec.encodings.one_hot(5), PRIMES, features="relu", bias_decay=math.inf),
        "any labels": lambda: sized(labels(3, 5), PRIMES, features="relu", bias_decay=0.3),
        "cross-entropy, balanced": lambda: decayed(
            ec.encodings.label_smoothing(5, 0.2), 7, loss="cross_entropy", features="relu", bias_decay=0.3
        ),
        "cross-entropy, no bias": lambda: decayed(
            ec.encodings.one_hot(5), PRIMES, loss="cross_entropy", features="relu", bias_decay=math.inf
        ),
        "cross-entropy, imbalanced": lambda: decayed(
            ec.encodings.one_hot(5), PRIMES, loss="cross_entropy", features="relu", bias_decay=0.02
        ),
        "cross-entropy, soft labels": lambda: decayed(
            distributions(3, 5), PRIMES, loss="cross_entropy", features="relu", bias_decay=0.02
        ),
        "one's own": lambda: sized(labels(3, 5), PRIMES, loss=HalfSquares(), features="relu", bias_decay=0.3),
    },
    "deep loss": {
        "cross-entropy, balanced": lambda: decayed(
            ec.encodings.one_hot(5), 7, loss="cross_entropy", depth=2, bias_decay=math.inf
        ),
        "cross-entropy, imbalanced": lambda: ec.ufm.Problem(
            ec.encodings.one_hot(5), PRIMES, weight_decay=1e-2, feature_decay=5e-4, loss="cross_entropy", depth=3
        ),
        "cross-entropy, soft labels": lambda: ec.ufm.Problem(
            distributions(3, 5),
            PRIMES,
            weight_decay=[1e-2, 5e-3],
            feature_decay=1e-4,
            loss="cross_entropy",
            depth=2,
            bias_decay=0.02,
        ),
    },
    "convex": {
        "cross-entropy": lambda: decayed(ec.encodings.one_hot(5), PRIMES, loss="cross_entropy", bias_decay=0.02),
        "cross-entropy, two counts": lambda: decayed(ec.encodings.one_hot(5), [11, 11, 11, 3, 3], loss="cross_entropy"),
        "cross-entropy, soft labels": lambda: decayed(
            ec.encodings.label_smoothing(5, 0.2), PRIMES, loss="cross_entropy", bias_decay=math.inf
        ),
        "one's own": lambda: sized(labels(3, 5), PRIMES, loss=HalfSquares(), bias_decay=0.3),
    },
    "priced": {
        "a cheap mean": lambda: decayed(labels(3, 5), PRIMES, bias_decay=2.0, feature_mean_decay=1e-3),
        "a dear mean": lambda: decayed(labels(7, 5), PRIMES, bias_decay=math.inf, feature_mean_decay=2e-2),
        "balanced": lambda: decayed(ec.encodings.one_vs_rest(5), 7, bias_decay=0.3, feature_mean_decay=3e-3),
    },
    "weighted": {
        "squared error": lambda: decayed(labels(3, 5), PRIMES, bias_decay=0.3, class_weights=WEIGHTS),
        "cross-entropy": lambda: decayed(
            ec.encodings.one_hot(5), PRIMES, loss="cross_entropy", bias_decay=0.02, class_weights=WEIGHTS
        ),
        "cross-entropy, a cheap mean": lambda: decayed(
            ec.encodings.label_smoothing(5, 0.2), PRIMES, loss="cross_entropy", bias_decay=2.0, feature_mean_decay=1e-3
        ),
    },
}


def test_every_method_has_samples_that_it_solves() -> None:
    assert {method.name for method in METHODS} == set(SAMPLES)
    for name, made in SAMPLES.items():
        assert len(made) >= 3
        assert {ec.ufm.select_method(make()) for make in made.values()} == {name}


def cases() -> Iterator[Any]:
    for method in METHODS:
        for sample in SAMPLES.get(method.name, {}):
            yield pytest.param((method.name, sample), id=f"{method.name}: {sample}")


@cache
def solved(method: str, sample: str) -> ec.ufm.Solution:
    return ec.ufm.solve(SAMPLES[method][sample]())


@pytest.fixture(params=cases())
def solution(request: pytest.FixtureRequest) -> ec.ufm.Solution:
    return solved(*request.param)


def changed(problem: ec.ufm.Problem, codewords: Array, **changes: Any) -> ec.ufm.Problem:
    """The problem for other codewords, as a matrix: what structure they have is not said."""
    return dataclasses.replace(problem, encoding=ec.encodings.Encoding(codewords), **changes)


def assert_same(one: ec.ufm.Solution, other: ec.ufm.Solution, unit: float, gram: Array, bias: Array) -> None:
    """`one` is the minimum of which `other` is `unit` times the loss, with the Gram matrix and bias expected of it."""
    assert one.loss == pytest.approx(other.loss * unit, rel=1e-8)
    # Where several geometries may be as good, or one is not proved to be the best, only the loss is fixed.
    if one.certificate.kind == "stationary" or not (one.unique and other.unique):
        return
    # A relative gap of 1e-8 leaves half of its digits to the point.
    level = 1e-8 if one.certificate.relative_gap < 1e-12 and other.certificate.relative_gap < 1e-12 else 1e-4
    size = max(float(np.linalg.norm(gram)), 1e-300)
    assert np.linalg.norm(np.asarray(one.geometry.feature_gram) - gram) <= level * size
    assert np.linalg.norm(one.bias - bias) <= level * (np.linalg.norm(bias) + math.sqrt(unit * other.loss))


def test_the_certificate_closes_or_says_so(solution: ec.ufm.Solution) -> None:
    certificate = solution.certificate
    assert solution.status.success
    assert certificate.holds
    assert certificate.lower_bound <= solution.loss
    assert certificate.gap == pytest.approx(solution.loss - certificate.lower_bound, rel=1e-6, abs=1e-16)
    assert certificate.kind in ("duality_gap", "theorem", "stationary")
    if certificate.kind == "duality_gap":
        assert certificate.relative_gap <= 1e-8
    if certificate.kind == "stationary":
        assert solution.status is ec.ufm.Status.STATIONARY


def test_the_objective_at_the_parameters_is_the_loss(solution: ec.ufm.Solution) -> None:
    value = ec.ufm.objective(solution.problem, *solution.parameters(seed=7))
    assert value == pytest.approx(solution.loss, rel=1e-11)
    layers = solution.layers(seed=7)
    assert ec.ufm.objective(solution.problem, layers, *solution.parameters(seed=7)[1:]) == pytest.approx(
        value, rel=1e-11
    )


def test_the_geometry_is_that_of_the_parameters(solution: ec.ufm.Solution) -> None:
    weight, means, _ = solution.parameters()
    geometry, size = solution.geometry, float(np.linalg.norm(means)) ** 2
    np.testing.assert_allclose(np.asarray(geometry.feature_gram), means.T @ means, atol=1e-11 * size)
    np.testing.assert_allclose(np.asarray(geometry.class_outputs), weight @ means, atol=1e-11)
    values = np.linalg.svd(weight @ means * np.sqrt(solution.problem.priors), compute_uv=False)
    np.testing.assert_allclose(
        solution.singular_values[: len(values)], values[: len(solution.singular_values)], atol=1e-11
    )


def test_permuting_the_classes_permutes_the_answer(solution: ec.ufm.Solution) -> None:
    problem, order = solution.problem, np.array([3, 0, 4, 1, 2])
    weights = None if problem.class_weights is None else problem.class_weights[order]
    moved = ec.ufm.solve(
        changed(problem, problem.encoding.codewords[:, order], counts=problem.counts[order], class_weights=weights)
    )
    gram = np.asarray(solution.geometry.feature_gram)[np.ix_(order, order)]
    assert_same(moved, solution, 1.0, gram, solution.bias)


def test_rotating_the_codewords_changes_nothing_else(solution: ec.ufm.Solution) -> None:
    problem, q = solution.problem, solution.problem.code_dim
    rng = np.random.default_rng(q)
    rotation = np.linalg.qr(rng.standard_normal((q, q)))[0]
    if problem.convex_loss is not None:
        # Another loss tells outputs from their mixtures, but not one output from another.
        rotation = np.eye(q)[rng.permutation(q)]
    moved = ec.ufm.solve(changed(problem, rotation @ problem.encoding.codewords))
    assert_same(moved, solution, 1.0, np.asarray(solution.geometry.feature_gram), rotation @ solution.bias)


# Distributions, which cross-entropy asks for, have no scale.
@pytest.mark.parametrize("solution", [case for case in cases() if "entropy" not in str(case.id)], indirect=True)
def test_scaling_the_labels_scales_the_answer(solution: ec.ufm.Solution) -> None:
    problem, scale, factors = solution.problem, 3.7, solution.problem.depth + 1
    # The threshold grows with the labels if Π λ of all factors grows like their power 2 p - 2.
    decay = problem.feature_decay * scale ** (2 * factors - 2)
    mean = problem.feature_mean_decay
    mean_decay = None if mean is None else mean * decay / problem.feature_decay
    moved = ec.ufm.solve(
        changed(problem, scale * problem.encoding.codewords, feature_decay=decay, feature_mean_decay=mean_decay)
    )
    # The loss is a square, λ_H |H|² among it.
    gram = np.asarray(solution.geometry.feature_gram) * scale**2 / scale ** (2 * factors - 2)
    assert_same(moved, solution, scale**2, gram, scale * solution.bias)


def test_no_random_start_ends_below(solution: ec.ufm.Solution) -> None:
    problem = solution.problem
    width, starts = problem.feature_dim or problem.num_classes + 2, 20
    if problem.depth > 1 and problem.convex_loss is not None:
        best = brute_force_layers(problem, 5, width, 6)[0]
    elif problem.loss == "cross_entropy":
        best = convex_reference.brute_force(problem, 5, width, starts)[0]
    elif problem.convex_loss is not None or (problem.depth == 1 and problem.features == "linear"):
        priors, codewords = problem.priors, problem.encoding.codewords
        priors = priors if problem.class_weights is None else priors * problem.class_weights
        best = lowest(
            problem,
            lambda o: (0.5 * float((priors * (o - codewords) ** 2).sum()), priors * (o - codewords)),
            5,
            width,
            starts,
        )[0]
    else:
        best = brute_force_layers(problem, 5, width, starts)[0]
    assert solution.certificate.lower_bound <= best * (1 + 1e-12)
    assert solution.loss <= best * (1 + 1e-9)
