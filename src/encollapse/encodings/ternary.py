"""Codewords of -1, 0 and 1: each output tells some classes from some others and asks 0 of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError

_WORK = 3e7  # multiplications of the random draws in all
_MOST_DRAWS = 1000  # enough for small codes, which need fewer than the work permits


def ternary(
    num_classes: int, code_dim: int | None = None, seed: int = 0, *, classes: Sequence[str] | None = None
) -> Encoding:
    """Codewords of -1, 0 and 1: all pairs of classes against each other, or a random code of a given length.

    Without a `code_dim` every output is a pair of classes: 1 for one, -1 for the other and 0 for the rest. Since zeros
    are asked for like other targets, the codewords form a simplex with a zero mean: ``Eᵀ E = K I - J``. With a
    `code_dim` it is the sparse random code of :cite:t:`allwein2000`: entries are 0 half of the time, and of many draws
    the one with the largest least distance is taken, in which every output has both signs.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    code_dim : int, optional
        Length q of a codeword, with at least K distinct ones. Default: ``K (K - 1)/2``, all pairs.
    seed : int
        Seed of the draws. The same arguments give the same codewords.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (q, K) of -1, 0 and 1.

    Raises
    ------
    ArgumentError
        If no draw has K distinct codewords: a larger `code_dim` has.
    MemoryLimitError
        If codewords or distances would need more than the memory limit.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.ternary(3).codewords
    array([[ 1., -1.,  0.],
           [ 1.,  0., -1.],
           [ 0.,  1., -1.]])
    >>> ec.encodings.ternary(7, 11).code_dim
    11
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    if code_dim is None:
        pairs = k * (k - 1) // 2
        memory.require_room(
            "codewords", pairs, k, instead="give a code_dim, or take simplex, which has the same angles"
        )
        one, other = np.triu_indices(k, 1)
        codewords = np.zeros((pairs, k))
        codewords[np.arange(pairs), one] = 1.0
        codewords[np.arange(pairs), other] = -1.0
        return Encoding(codewords, name="ternary", classes=classes)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    generator = np.random.default_rng(checks.integer(seed, "seed", minimum=0))
    memory.require_room("distances", k, max(k, q), instead="use random codewords")
    return Encoding(_best_draw(k, q, generator), name="ternary", classes=classes)


def _best_draw(k: int, q: int, generator: np.random.Generator) -> FloatArray:
    best, farthest = None, 0.0
    for _ in range(int(np.clip(_WORK / (k * k * q), 10, _MOST_DRAWS))):
        code = generator.choice([-1.0, 0.0, 0.0, 1.0], size=(q, k))
        for j in np.flatnonzero((code.max(axis=1) < 1) | (code.min(axis=1) > -1)):
            code[j, generator.permutation(k)[:2]] = 1.0, -1.0
        gram = code.T @ code
        squares = gram.diagonal()[:, None] + gram.diagonal()[None, :] - 2 * gram
        nearest = float(squares[np.triu_indices(k, 1)].min())
        if nearest > farthest:
            best, farthest = code, nearest
    if best is None:
        raise ArgumentError(
            f"code_dim: found no {k} distinct codewords of {q} entries of -1, 0 and 1; take a larger one"
        )
    return best
