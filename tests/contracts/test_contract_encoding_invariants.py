"""What the definition of each encoding of the catalog says about its example: rank, Gram, mean, distance."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import encollapse as ec
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.registry import ENCODINGS

Array = NDArray[np.float64]
SIZES = (2, 5, 11)


@dataclass(frozen=True)
class Truth:
    """Invariants as functions of the number of classes; None where the definition does not settle them."""

    rank: Callable[[int], int] | None
    gram: Callable[[int], Any] | None
    mean: Callable[[int], Any] | None
    nearest: Callable[[int], float] | None


def eye_plus(scale: float, offset: float, k: int) -> Array:
    return scale * np.eye(k) + offset


def tree_gram(k: int) -> Array:
    """Common part of the ways from the root, over the longest way; a class is as long as that."""
    ways: dict[str, tuple[int, ...]] = {}

    def walk(node: Any, way: tuple[int, ...]) -> None:
        if isinstance(node, str):
            ways[node] = way
            return
        for i, child in enumerate(node):
            walk(child, (*way, i))

    walk(ENCODINGS["hierarchical"].example_for(k)["tree"], ())
    height = max(map(len, ways.values()))
    gram = np.eye(k)
    for a in range(k):
        for b in set(range(k)) - {a}:
            shared = 0
            while ways[str(a)][shared] == ways[str(b)][shared]:
                shared += 1
            gram[a, b] = shared / height
    return gram


def shared_labels(k: int) -> list[list[int]]:
    return [[bin(a & b).count("1") for b in range(k)] for a in range(k)]


def angle(cosine: float) -> float:
    return float(np.sqrt(2 - 2 * cosine))


TRUTHS = {
    "one-hot": Truth(lambda k: k, lambda k: np.eye(k), lambda k: np.full(k, 1 / k), lambda k: 2**0.5),
    "simplex": Truth(
        lambda k: k - 1,
        lambda k: eye_plus(k / (k - 1), -1 / (k - 1), k),
        lambda k: np.zeros(k - 1),
        lambda k: angle(-1 / (k - 1)),
    ),
    "label-smoothing": Truth(
        lambda k: k, lambda k: eye_plus(0.64, 0.36 / k, k), lambda k: np.full(k, 1 / k), lambda k: 0.8 * 2**0.5
    ),
    "scaled-one-hot": Truth(
        lambda k: k, lambda k: eye_plus(36, k - 12, k), lambda k: np.full(k, 6 / k - 1), lambda k: 6 * 2**0.5
    ),
    "one-vs-rest": Truth(
        lambda k: 1 if k == 2 else k, lambda k: eye_plus(4, k - 4, k), lambda k: np.full(k, 2 / k - 1), lambda k: 8**0.5
    ),
    "hadamard": Truth(
        lambda k: k, lambda k: {2: 2, 5: 8, 11: 12}[k] * np.eye(k), None, lambda k: (2 * {2: 2, 5: 8, 11: 12}[k]) ** 0.5
    ),
    # Largest distances of 7 bits: 2 words 7 (repetition), 8 words 4 (simplex), 16 words 3 (Hamming).
    "error-correcting": Truth(None, None, None, lambda k: 2 * {2: 7, 5: 4, 11: 3}[k] ** 0.5),
    # All pairs: K rows of which each class has K - 1 entries of ±1, and two classes meet in one, with opposite signs.
    "ternary": Truth(
        lambda k: k - 1, lambda k: eye_plus(k, -1, k), lambda k: np.zeros(k * (k - 1) // 2), lambda k: (2 * k) ** 0.5
    ),
    # Columns of a Kac-Murdock-Szegő matrix, which is positive definite, each scaled.
    "soft-ordinal": Truth(lambda k: k, None, None, None),
    "ordinal": Truth(
        lambda k: k - 1,
        lambda k: np.minimum.outer(np.arange(k), np.arange(k)),
        lambda k: np.arange(k - 1, 0, -1) / k,
        lambda k: 1.0,
    ),
    "circular": Truth(
        lambda k: min(k - 1, 2),
        lambda k: np.cos(2 * np.pi * np.subtract.outer(np.arange(k), np.arange(k)) / k),
        lambda k: np.zeros(2),
        lambda k: 2 * float(np.sin(np.pi / k)),
    ),
    # In three dimensions: opposite points; 90 degrees; the icosahedron, of which one point may be left out.
    "spherical": Truth(
        lambda k: {2: 1, 5: 3, 11: 3}[k], None, None, lambda k: angle({2: -1.0, 5: 0.0, 11: 5**-0.5}[k])
    ),
    "grassmannian": Truth(lambda k: min(k, 3), None, None, None),
    "random": Truth(lambda k: min(k, 6), None, None, None),
    "hierarchical": Truth(lambda k: k, tree_gram, None, lambda k: angle(tree_gram(k)[0, 1])),
    "from-similarity": Truth(
        lambda k: k,
        lambda k: 0.75 ** np.abs(np.subtract.outer(np.arange(k), np.arange(k))),
        None,
        lambda k: angle(0.75),
    ),
    "multi-label": Truth(
        lambda k: {2: 1, 5: 3, 11: 4}[k],
        shared_labels,
        lambda k: [sum(a >> j & 1 for a in range(k)) / k for j in range({2: 1, 5: 3, 11: 4}[k])],
        lambda k: 1.0,
    ),
}


@cache
def example(name: str, k: int) -> Encoding:
    return ec.encodings.by_name(name, k, **ENCODINGS[name].example_for(k))


def declared(invariant: str) -> pytest.MarkDecorator:
    """Run a test on every encoding that declares the invariant, at every size."""
    known = [(name, getattr(truth, invariant)) for name, truth in TRUTHS.items()]
    cases = [pytest.param(n, k, t, id=f"{n}-{k}") for n, t in known if t is not None for k in SIZES]
    return pytest.mark.parametrize(("name", "k", "truth"), cases)


def test_every_encoding_declares_its_invariants() -> None:
    assert set(TRUTHS) == set(ENCODINGS)


@declared("rank")
def test_rank(name: str, k: int, truth: Callable[[int], int]) -> None:
    assert np.linalg.matrix_rank(example(name, k).codewords) == truth(k)


@declared("gram")
def test_gram(name: str, k: int, truth: Callable[[int], Any]) -> None:
    np.testing.assert_allclose(example(name, k).gram(), truth(k), atol=1e-13 * k)


@declared("mean")
def test_mean(name: str, k: int, truth: Callable[[int], Any]) -> None:
    np.testing.assert_allclose(example(name, k).mean(), truth(k), atol=1e-14)


@declared("nearest")
def test_distance_of_the_nearest_codewords(name: str, k: int, truth: Callable[[int], float]) -> None:
    e = example(name, k).codewords
    nearest = min(float(np.linalg.norm(e[:, a] - e[:, b])) for a in range(k) for b in range(a))
    assert nearest == pytest.approx(truth(k), abs=1e-9)


@pytest.mark.parametrize(
    "name", ["simplex", "circular", "spherical", "grassmannian", "random", "hierarchical", "from-similarity"]
)
@pytest.mark.parametrize("k", SIZES)
def test_unit_length(name: str, k: int) -> None:
    np.testing.assert_allclose(np.linalg.norm(example(name, k).codewords, axis=0), 1, rtol=1e-13)


@pytest.mark.parametrize("name", ["one-vs-rest", "hadamard", "error-correcting"])
@pytest.mark.parametrize("k", SIZES)
def test_entries_of_plus_and_minus_one(name: str, k: int) -> None:
    assert set(np.unique(example(name, k).codewords)) == {-1.0, 1.0}
