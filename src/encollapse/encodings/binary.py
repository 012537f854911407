"""Codewords of ±1: orthogonal ones, and ones that stay apart when some outputs are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.codes.binary_codes import (
    distance_bound,
    distances,
    exhaustive_code,
    hadamard_code,
    improve,
    linear_code,
    minimum_distance,
)
from encollapse.encodings.codes.hadamard_matrices import hadamard_matrix, hadamard_order
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError

_RANDOM_STARTS = 2  # beside the constructed codes
_MOST_EXHAUSTIVE = 7  # all 2^(K-1) - 1 columns are tried up to here, as in the paper
_WORK = 1e7  # entries that are looked at in all
_MOST_STEPS = 2000  # for small codes, which need fewer than the work permits
_TRIES = 50  # random changes of a word that is there already


def hadamard(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Mutually orthogonal codewords of ±1: columns of a Hadamard matrix. ``code_dim`` is its order.

    The order n is the smallest from `num_classes` on that Sylvester's doubling :cite:p:`sylvester1867`, both
    constructions of Paley over finite fields :cite:p:`paley1933` and Kronecker products of those reach: a power of
    two or a multiple of 4, at most the next power of two. (The first orders that they miss are 92, 116 and 156.)
    The codewords are the first K columns, and ``Eᵀ E = n I`` exactly. Such codewords as targets of a network:
    :cite:t:`yang2015`.

    The first entry of every codeword is 1. It tells no classes apart, but without it the codewords would not be
    orthogonal: their inner products would be -1. The mean codeword cannot vanish either way, for the mean of K
    orthogonal codewords has the squared length n/K. With K = n, centering gives a simplex.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (n, K) of ±1, where n is the order of the matrix.

    Raises
    ------
    MemoryLimitError
        If the Hadamard matrix would need more than the memory limit.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.hadamard(5)
    >>> encoding.code_dim, encoding.gram()[0].tolist()
    (8, [8.0, 0.0, 0.0, 0.0, 0.0])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    memory.require_room("codewords", k, k, instead="one_hot is orthogonal too and needs no matrix")
    order = hadamard_order(k)
    memory.require_room("codewords", order, order, instead="one_hot is orthogonal too and needs no matrix")
    return Encoding(hadamard_matrix(order)[:, :k], name="hadamard", classes=classes)


def error_correcting(
    num_classes: int, code_dim: int, seed: int = 0, *, classes: Sequence[str] | None = None
) -> Encoding:
    """Codewords of ±1 with a large minimum Hamming distance d: (d - 1)//2 wrong signs are corrected.

    Each output bit splits the classes in two, as in :cite:t:`dietterich1995`. The code is the best of those from
    Hadamard matrices (which meet Plotkin's bound :cite:p:`plotkin1960` at ``K ≤ q + 1 = 4m``, and with complements at
    ``K = 2q = 8m``), a linear code found column by column, and random words, each improved by changing bits one at
    a time. Of codes with the same minimum distance, the one with the fewest rows that are constant or repeat
    another row or its complement is taken, for such a bit adds no question, then the one with the
    fewest pairs at that distance. Rows are repaired where that costs no distance.

    No optimum is claimed beyond those bounds. For up to 16 bits the distance is that of the best linear code where
    K is a power of two (tried: 7, 15 and 16 bits). The extended Golay code is missed (24 bits, K = 4096: 6 instead
    of 8), and at 64 bits and K = 1000 it is 25, where BCH codes have 28.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    code_dim : int
        Number of bits q, at least ``log₂ K``, and a small multiple of it for a distance worth having.
    seed : int
        Seed of the random words and of the search. The same arguments give the same codewords.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (q, K) of ±1.

    Raises
    ------
    ArgumentError
        If ``2**code_dim`` is below `num_classes`: some classes would share a codeword.
    MemoryLimitError
        If the distances of all pairs would need more than the memory limit.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.error_correcting(5, 7)
    >>> received = encoding.encode([3])
    >>> received[0, 0] *= -1  # one wrong bit
    >>> encoding.decode(received)
    array([3])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    generator = np.random.default_rng(checks.integer(seed, "seed", minimum=0))
    shortest = (k - 1).bit_length()
    if q < shortest:
        raise ArgumentError(f"code_dim: {k} distinct codewords of ±1 need at least {shortest} bits, got {q}")
    memory.require_room("distances", k, k, instead="use random codewords")
    return Encoding(_best_code(k, q, generator), name="error-correcting", classes=classes)


def _best_code(k: int, q: int, generator: np.random.Generator) -> FloatArray:
    ideal = (distance_bound(k, q), -max(0, q - (2 ** min(k - 1, 63) - 1)))
    starts = _starts(k, q, generator)
    for code in starts:
        if _quality(code)[:2] == ideal:
            return code
    steps = int(min(_MOST_STEPS, _WORK / (k * q + 20 * k)))
    best = starts[0]
    for start in starts:
        code = _with_useful_rows(improve(start, steps, generator), generator)
        best = max(best, start, code, key=_quality)
        if _quality(best)[:2] == ideal:
            break
    return best


def _starts(k: int, q: int, generator: np.random.Generator) -> list[FloatArray]:
    codes = [exhaustive_code(k, q)] if k <= _MOST_EXHAUSTIVE else []
    if k <= 4 * q:  # more words than that come from larger matrices, of which too few rows would remain
        codes.append(hadamard_code(k, q))
    codes.append(linear_code(k, q))
    if k <= 2**q // 2:  # with nearly as many classes as words there is nothing to search for
        codes += [generator.choice([-1.0, 1.0], size=(q, k)) for _ in range(_RANDOM_STARTS)]
    return codes


def _quality(code: FloatArray) -> tuple[int, int, int]:
    nearest = minimum_distance(code)
    return nearest, -len(useless_rows(code)), -int((distances(code) == nearest).sum())


def useless_rows(code: FloatArray) -> list[int]:
    """Rows of ±1 that are constant, or equal to an earlier row or to its complement."""
    seen: set[bytes] = set()
    found = []
    for j, row in enumerate(code * code[:, :1]):  # the first entry +1: a row and its complement become the same
        key = row.tobytes()
        if key in seen or (row > 0).all():
            found.append(j)
        seen.add(key)
    return found


def _with_useful_rows(code: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Replace useless rows by others that keep the minimum distance, where such are found.

    A row has to separate the pairs that are at the minimum distance with its help. These pairs form a
    bipartite graph, whose components may each be turned over without loss.
    """
    useless = useless_rows(code)
    if not useless:
        return code
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    code = code.copy()
    nearest = minimum_distance(code)
    for j in useless:
        separated = code[j][:, None] != code[j][None, :]
        _, part = connected_components(csr_array((distances(code) == nearest) & separated), directed=False)
        if part.max() == 0:
            continue
        row = code[j].copy()
        for _ in range(_TRIES):
            code[j] = row * generator.choice([-1.0, 1.0], size=part.max() + 1)[part]
            if j not in useless_rows(code):
                break
        else:
            code[j] = row
    return code
