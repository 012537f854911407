"""Unit codewords: on a circle, spread over a sphere, or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.structured import simplex
from encollapse.errors import ArgumentError, UnsupportedError

MAX_POINTS = 5_000
"""Above this many classes each step of the search takes seconds, and the search is refused."""


def circular(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Points on the unit circle in cyclic order, for classes such as hours or directions, with ``code_dim = 2``.

    Class k lies at the angle ``2πk/K``. The inner product of two codewords is the cosine of the arc between
    them :cite:p:`mardia2000`, so the last class is as near to the first as any two neighbors. The mean
    codeword is zero.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes, in cyclic order.

    Returns
    -------
    Encoding
        Shape (2, K).

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.circular(4).gram().round(2)[0]
    array([ 1.,  0., -1., -0.])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    memory.require_room("codewords", 2, k, instead="take fewer classes")
    return Encoding(circle(k), name="circular", classes=classes)


def circle(num_points: int) -> FloatArray:
    """Equally spaced points of the unit circle as columns, (2, num_points), the first at ``(1, 0)``."""
    angles = 2 * np.pi * np.arange(num_points) / num_points
    return np.stack([np.cos(angles), np.sin(angles)])


def random(num_classes: int, code_dim: int, seed: int = 0, *, classes: Sequence[str] | None = None) -> Encoding:
    """Independent Gaussian codewords scaled to unit length, nearly orthogonal when `code_dim` is large.

    The same arguments give the same codewords on every platform (NumPy's PCG64 generator).

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    code_dim : int
        Length q of a codeword.
    seed : int
        Seed of the generator.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (code_dim, K).

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.random(5, 3, seed=2)
    >>> encoding.codewords.shape, encoding.gram().diagonal().round(6).tolist()
    ((3, 5), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    generator = np.random.default_rng(checks.integer(seed, "seed", minimum=0))
    memory.require_room("codewords", q, k, instead="take a smaller code_dim, or one_hot, which needs no matrix")
    codewords = generator.standard_normal((q, k))
    codewords /= np.linalg.norm(codewords, axis=0)
    return Encoding(codewords, name="random", classes=classes)


def spherical(num_classes: int, code_dim: int, seed: int = 0, *, classes: Sequence[str] | None = None) -> Encoding:
    """Unit codewords spread so that the smallest angle is large, for any number of classes and dimensions.

    The problem of Tammes. Networks whose features have fewer dimensions than there are classes tend to the
    closely related softmax codes :cite:p:`jiang2024`.

    ===================  ====================================================  ==========================
    classes              codewords                                             smallest angle
    ===================  ====================================================  ==========================
    K ≤ q + 1            regular simplex, padded with zeros                    cos = -1/(K - 1), optimal
    q + 2 ≤ K ≤ 2q       K - q simplices in orthogonal subspaces               90°, optimal
    q = 2                circle                                                360°/K, optimal
    other                several searches, the best one made exact             best found
    ===================  ====================================================  ==========================

    The first two are optimal by :cite:t:`rankin1955`. At K = 2q they are the cross-polytope. All closed forms have a
    zero mean codeword. The search (see ``codes/sphere_packing.py``) has reached every proven optimum it was tried
    on, to 1e-9 in the angle: up to 14 and 24 points in 3 dimensions, the 24-cell (K = 24, q = 4: 60°), the 600-cell
    (120, 4: 36°) and, from most seeds, the 240 minimal vectors of E8 (240, 8: 60°). Beyond about a hundred classes,
    expect good rather than best angles. It takes 0.2 to 7 seconds up to K = 250, about 5 at K = 1000 and q = 64
    (81°, against 56° at random).

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2, and at most 5,000 where a search is needed.
    code_dim : int
        Length q of a codeword. 1 does for two classes only.
    seed : int
        Seed of the starting points. The same arguments give the same codewords on the same machine and libraries.
        Elsewhere the search may end in another arrangement with nearly the same angle.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (code_dim, K).

    Raises
    ------
    ArgumentError
        If `code_dim` is 1 with more than two classes, which would then share codewords.
    UnsupportedError
        If a search with more than 5,000 classes would be needed.

    Examples
    --------
    >>> import encollapse as ec
    >>> import numpy as np
    >>> gram = ec.encodings.spherical(12, 3).gram()  # the icosahedron
    >>> round(float(np.degrees(np.arccos(gram[~np.eye(12, dtype=bool)].max()))), 3)
    63.435
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    seed = checks.integer(seed, "seed", minimum=0)
    if q == 1 and k > 2:
        raise ArgumentError(
            f"code_dim: in one dimension only two unit codewords differ, got {k} classes; use 2 or more"
        )
    return Encoding(_points(k, q, seed), name="spherical", classes=classes)


def _points(k: int, q: int, seed: int) -> FloatArray:
    if k == 2 or (q > 1 and k <= 2 * q):
        return orthogonal_simplices(k, q)
    if q == 2:
        return circle(k)
    if k > MAX_POINTS:
        raise UnsupportedError(
            f"num_classes: spherical searches for up to {MAX_POINTS} classes, got {k} in {q} dimensions; take code_dim "
            f"{(k + 1) // 2} or more, where a closed form is known, or random"
        )
    from encollapse.encodings.codes.sphere_packing import spread

    return np.ascontiguousarray(spread(k, q, np.random.default_rng(seed)).T)


def orthogonal_simplices(num_points: int, dim: int) -> FloatArray:
    """Regular simplices in orthogonal subspaces, together `num_points` ≤ 2 · `dim` points, (dim, num_points).

    One simplex up to ``dim + 1`` points. Beyond, as few as fit, of dimensions as equal as possible.
    """
    memory.require_room("code_dim", dim, num_points, instead="give a smaller one")
    parts = max(1, num_points - dim)
    points = np.zeros((dim, num_points))
    row = column = 0
    for share in np.array_split(np.arange(num_points), parts):
        size = len(share)
        points[row : row + size - 1, column : column + size] = simplex(size).codewords
        row, column = row + size - 1, column + size
    return points
