"""Unit codewords whose lines are spread: the largest absolute cosine is least."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.structured import simplex
from encollapse.errors import ArgumentError, UnsupportedError

MAX_LINES = 2_500
"""Above this many classes each step of the search takes seconds, and the search is refused."""


def grassmannian(num_classes: int, code_dim: int, seed: int = 0, *, classes: Sequence[str] | None = None) -> Encoding:
    """Unit codewords, a Grassmannian frame: the largest absolute cosine of two of them is least.

    Lines and not points are spread, so no two codewords are nearly opposite either :cite:p:`strohmer2003`.
    :func:`grassmannian_bound` says how far from the best possible they are. Where the bound of Welch is attained the
    frame is tight: all singular values of the codewords are equal, so all directions are learned up to the same decay.

    ===================  ====================================================  ==========================
    classes              codewords                                             largest absolute cosine
    ===================  ====================================================  ==========================
    K ≤ q                one-hot, padded with zeros                            0, optimal
    K = q + 1            regular simplex                                       1/q, optimal
    q = 2                lines at equal angles                                 cos(π/K), optimal
    other                several searches, the best one made exact             best found
    ===================  ====================================================  ==========================

    The search is that of :func:`spherical` with every codeword and its negative. It has reached the optima it was tried
    on: 4 to 7 lines in 3 dimensions, 12 in 4, and the equiangular 10 in 5, 16 in 6 and 28 in 7. Signs do not
    matter to the cosines, so each is chosen to keep the mean codeword short.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2, and at most 2,500 where a search is needed.
    code_dim : int
        Length q of a codeword, at least 2.
    seed : int
        Seed of the starting points. The same arguments give the same codewords on the same machine and libraries.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (code_dim, K).

    Raises
    ------
    ArgumentError
        If `code_dim` is 1: all lines are then the same.
    UnsupportedError
        If a search with more than 2,500 classes would be needed.

    Examples
    --------
    >>> import encollapse as ec
    >>> import numpy as np
    >>> gram = ec.encodings.grassmannian(6, 3).gram()  # the diagonals of the icosahedron
    >>> bool(np.isclose(np.abs(gram - np.eye(6)).max(), ec.encodings.grassmannian_bound(6, 3)))
    True
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    seed = checks.integer(seed, "seed", minimum=0)
    if q == 1:
        raise ArgumentError("code_dim: all lines in one dimension are the same; use 2 or more")
    return Encoding(_lines(k, q, seed), name="grassmannian", classes=classes)


def _lines(k: int, q: int, seed: int) -> FloatArray:
    if k <= q:
        memory.require_room("code_dim", q, k, instead="give a smaller one")
        return np.eye(q, k)
    if k == q + 1:
        return simplex(k).codewords
    if q == 2:
        angles = np.pi * np.arange(k) / k
        return _signed(np.stack([np.cos(angles), np.sin(angles)]))
    if k > MAX_LINES:
        raise UnsupportedError(
            f"num_classes: grassmannian searches for up to {MAX_LINES} classes, got {k} in {q} dimensions; take "
            f"code_dim {k - 1} or more, where a closed form is known, or random"
        )
    from encollapse.encodings.codes.sphere_packing import spread

    found = spread(k, q, np.random.default_rng(seed), lines=True, bound=grassmannian_bound(k, q))
    return _signed(np.ascontiguousarray(found.T))


def _signed(codewords: FloatArray) -> FloatArray:
    """Turn codewords over as long as that shortens their sum."""
    signs, total = np.ones(codewords.shape[1]), codewords.sum(axis=1)
    while True:
        # Turning one over changes |total|² by 4 - 4 s <x, total>.
        gain = signs * (codewords.T @ total) - 1.0
        k = int(gain.argmax())
        if gain[k] <= 1e-9:
            return np.asarray(codewords * signs)
        total = total - 2 * signs[k] * codewords[:, k]
        signs[k] = -signs[k]


def grassmannian_bound(num_classes: int, code_dim: int) -> float:
    """Least value that the largest absolute cosine of `num_classes` lines can have, or a bound of it from below.

    ``√((K - q)/(q (K - 1)))`` of Welch :cite:p:`welch1974`, attained by equiangular tight frames, which need
    ``K ≤ q(q + 1)/2``. Beyond that it is ``1/√q``, the orthoplex bound of :cite:t:`conway1996`, where it is higher.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    code_dim : int
        Length q of a codeword.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> import encollapse as ec
    >>> round(ec.encodings.grassmannian_bound(10, 5), 6), ec.encodings.grassmannian_bound(12, 4)
    (0.333333, 0.5)
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    q = checks.integer(code_dim, "code_dim", minimum=1)
    welch = math.sqrt(max(k - q, 0) / (q * (k - 1)))
    return max(welch, 1 / math.sqrt(q)) if k > q * (q + 1) // 2 else welch
