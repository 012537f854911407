"""Next tokens at vanishing decay: dense minimizers, direct minimization with margins, symmetry, and many contexts."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec

Array = NDArray[np.float64]


def frequencies(tokens: int, contexts: int, most: int, seed: int) -> Array:
    """Counts with random supports, of which the last two contexts share theirs."""
    random = np.random.default_rng(seed)
    counts = np.zeros((tokens, contexts))
    for j in range(contexts):
        support = random.choice(tokens, random.integers(1, most + 1), replace=False)
        counts[support, j] = random.integers(1, 20, len(support))
    counts[:, -1] = np.where(counts[:, -2] > 0, random.integers(1, 20, tokens), 0)
    return counts


def solved(counts: Array, decay: float, price: str) -> tuple[Array, float]:
    """Logits and loss of the certified minimizer at a decay."""
    per_context = counts.sum(axis=0).astype(int)
    by_sample = price == "samples"
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(counts / counts.sum(axis=0)),
        per_context if by_sample else 1,
        class_weights=None if by_sample else len(per_context) * per_context / per_context.sum(),
        weight_decay=decay,
        feature_decay=decay / (per_context.sum() if by_sample else len(per_context)),
        bias_decay=math.inf,
        loss="cross_entropy",
    )
    solution = ec.ufm.solve(problem)
    return np.asarray(solution.geometry.class_outputs), solution.loss


@pytest.mark.parametrize("price", ["samples", "contexts"])
def test_minimizers_tend_to_the_finite_part_and_grow_along_the_direction(price: str) -> None:
    counts = frequencies(5, 7, 3, seed=5)
    limit = ec.ufm.next_token_limit(sp.coo_array(counts), price=price)
    direction = limit.direction().logits()
    before, _ = solved(counts, 1e-6, price)
    after, loss = solved(counts, 1e-7, price)
    support = counts > 0
    within = np.where(support, after - np.where(support, after, 0).sum(axis=0) / support.sum(axis=0), 0)
    np.testing.assert_allclose(within, limit.finite_part.toarray(), atol=5e-6)
    assert 0 < loss - limit.entropy < 1e-5
    # The constants of the logits cancel between two decays, so the error is of order 1/log² of the decay.
    growth = (after - before) / math.log(10)
    assert np.linalg.norm(growth - direction) < 0.03 * np.linalg.norm(direction)
    centered = support - support.mean(axis=0)
    assert np.linalg.norm(growth - centered) > 0.15 * np.linalg.norm(direction)


def test_the_direction_is_what_direct_minimization_with_margins_finds() -> None:
    counts = frequencies(5, 6, 3, seed=8)
    limit = ec.ufm.next_token_limit(counts)
    direction = limit.direction()
    logits, support, weights = direction.logits(), counts > 0, np.sqrt(limit.priors)
    for j in range(6):
        assert np.ptp(logits[support[:, j], j]) < 1e-12
        assert logits[support[:, j], j].min() - logits[~support[:, j], j].max() > 1 - 1e-9
    assert np.linalg.norm(logits * weights, "nuc") == pytest.approx(direction.nuclear_norm, rel=1e-12)
    assert direction.certificate.holds

    # A level and slacks from 0 for every context, under a nuclear norm that is smooth by 1e-10.
    def norm(x: Array) -> tuple[float, Array]:
        level, slack = x[:6], x[6:].reshape(5, 6)
        weighted = (level - np.where(support, 0.0, 1.0 + slack)) * weights
        values, vectors = np.linalg.eigh(weighted.T @ weighted + 1e-10 * np.eye(6))
        slope = (weighted @ (vectors / np.sqrt(values)) @ vectors.T) * weights
        return float(np.sqrt(values).sum()), np.concatenate([slope.sum(axis=0), np.where(support, 0, -slope).ravel()])

    bounds: list[Any] = [(None, None)] * 6 + [(0.0, None)] * 30
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(norm, np.full(36, 0.3), jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    assert found.fun == pytest.approx(direction.nuclear_norm, abs=2e-4)
    assert found.fun > direction.nuclear_norm


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_supports_of_one_size_grow_along_the_centered_support_matrix(size: int) -> None:
    masks = np.array([[int(bit) for bit in f"{n:05b}"] for n in range(32)]).T
    support = masks[:, masks.sum(axis=0) == size]
    direction = ec.ufm.next_token_limit(support, price="contexts").direction()
    assert direction.iterations == 0
    np.testing.assert_allclose(direction.logits(), support - size / 5, atol=1e-12)
    if size == 1:
        np.testing.assert_allclose(direction.context_cosines(), 1.25 * np.eye(5) - 0.25, atol=1e-12)
        np.testing.assert_allclose(direction.token_cosines(), 1.25 * np.eye(5) - 0.25, atol=1e-12)


def test_equal_tokens_and_contexts_count_as_often_as_they_occur() -> None:
    counts = frequencies(5, 7, 3, seed=2)
    tokens, contexts = np.array([0, 1, 1, 2, 3, 4, 4, 4]), np.array([3, 0, 1, 2, 2, 2, 4, 5, 6, 0, 3])
    repeated = counts[tokens][:, contexts]
    limit = ec.ufm.next_token_limit(repeated)
    assert limit.groups.shape == (5, 6)
    direction = limit.direction()
    # The same problem without groups: two tokens are set apart by a context that prices next to nothing.
    apart = np.vstack([np.hstack([repeated, 1e-12 * np.eye(8)]), np.zeros((1, 19))])
    split = ec.ufm.next_token_limit(apart)
    assert split.groups.shape[0] == 9
    alone = ec.ufm.next_token_limit(np.vstack([repeated, np.zeros((1, 11))])).direction()
    assert split.direction().nuclear_norm == pytest.approx(alone.nuclear_norm, rel=1e-5)
    weighted = direction.logits() * np.sqrt(limit.priors)
    assert np.linalg.norm(weighted, "nuc") == pytest.approx(direction.nuclear_norm, rel=1e-12)


@pytest.mark.parametrize("price", ["samples", "contexts"])
def test_bounds_enclose_the_norm_and_concepts_are_singular_vectors(price: str) -> None:
    counts = np.vstack([frequencies(23, 29, 5, seed=1), np.zeros((2, 29))])
    limit = ec.ufm.next_token_limit(counts, price=price)
    weights = np.sqrt(limit.priors) if price == "samples" else np.full(29, 1 / math.sqrt(29))
    centered = ((counts > 0) - (counts > 0).mean(axis=0)) * weights
    left, values, right = np.linalg.svd(centered, full_matrices=False)
    concepts = limit.concepts(4)
    np.testing.assert_allclose(concepts.strengths, values[:4], rtol=1e-10)
    found = (concepts.tokens * concepts.strengths) @ concepts.contexts.T
    np.testing.assert_allclose(found, (left[:, :4] * values[:4]) @ right[:4], atol=1e-10)
    lower, upper = limit.norm_bounds(concepts)
    norm = limit.direction().nuclear_norm
    assert 0.3 * norm < lower < norm < values.sum() < upper < 2 * norm


def test_fifty_thousand_tokens_and_contexts_take_the_memory_of_their_support() -> None:
    size, each = 50_000, 3
    tokens = np.random.default_rng(0).integers(0, size, size * each)
    counts = sp.coo_array((np.ones(size * each), (tokens, np.repeat(np.arange(size), each))), shape=(size, size))
    limit = ec.ufm.next_token_limit(counts)
    # Three different tokens have an entropy of log 3, and two that coincide are rare.
    assert limit.entropy == pytest.approx(math.log(3), abs=1e-3)
    assert limit.finite_part.nnz == limit.probabilities.nnz <= size * each
    with pytest.raises(ec.errors.ArgumentError, match="call concepts and norm_bounds"):
        limit.direction()


def test_above_the_largest_search_the_centered_support_is_checked() -> None:
    one_each = ec.ufm.next_token_limit(np.eye(211), price="contexts").direction()
    assert one_each.certificate.holds
    assert one_each.nuclear_norm == pytest.approx(210 / math.sqrt(211), rel=1e-12)
    limit = ec.ufm.next_token_limit(frequencies(211, 151, 4, seed=5))
    with pytest.raises(ec.errors.SolverError, match="throw=False"):
        limit.direction()
    assert not limit.direction(throw=False).certificate.holds


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([[1.0, 0.0], [2.0, 0.0]], "context 1 has no token"),
        ([[1.0, -1.0], [2.0, 3.0]], "from 0, got -1"),
        ([[1.0, 2.0]], "at least 2 tokens"),
        (sp.csr_array([[1.0, math.nan], [2.0, 3.0]]), "from 0, got nan"),
    ],
)
def test_frequencies_that_are_none_are_refused(counts: Any, text: str) -> None:
    with pytest.raises(ec.errors.ArgumentError, match=text):
        ec.ufm.next_token_limit(counts)


def test_contexts_with_all_tokens_ask_for_nothing() -> None:
    direction = ec.ufm.next_token_limit([[1, 2], [3, 4]]).direction()
    assert direction.nuclear_norm == 0.0
    assert direction.certificate.holds
    np.testing.assert_array_equal(direction.logits(), 0.0)
