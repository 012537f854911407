"""How far representations have moved between two states of a network, whatever their position, length and rotation."""

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError, Undefined


def procrustes_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Least distance of two configurations of points over shifts, lengths and rotations :cite:p:`schoenemann1966`.

    ``min_R |A/|A| - B R/|B||_F`` over orthogonal R (reflections included), A and B the points about their averages.

    Parameters
    ----------
    first, second : (n, d), (n, d') arrays
        The same points, such as class means, in two representations, numpy or torch.

    Returns
    -------
    float
        From 0 to √2.

    Raises
    ------
    Undefined
        If the points of either coincide.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> turned = np.eye(5)[:, ::-1] * 3 + 1
    >>> round(ec.metrics.procrustes_distance(np.eye(5), turned), 12)
    0.0
    """
    a, b = _pair(first, second)
    left, _, right = np.linalg.svd(b.T @ a, full_matrices=False)
    return float(np.linalg.norm(a - b @ left @ right))  # of the difference itself, for 2 - 2Σσ loses half the digits


def subspace_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Root mean square sine of the angles between the subspaces that two configurations of points span.

    About their averages, in the leading directions of both, as many as the fewer have above rounding.

    Parameters
    ----------
    first, second : (n, d) arrays
        Points, such as class means, in coordinates of one space, numpy or torch.

    Returns
    -------
    float
        From 0, the same subspace, to 1, at right angles.

    Raises
    ------
    ArgumentError
        If the dimensions differ.
    Undefined
        If the points of either coincide, or they span the whole space.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> plane = np.eye(3, 7)
    >>> [round(ec.metrics.subspace_distance(plane, p), 6) for p in (2 * plane, np.roll(plane, 3, axis=1))]
    [0.0, 1.0]
    """
    pair = [_centered(points, name) for points, name in ((first, "first"), (second, "second"))]
    dim = pair[0].shape[1]
    if pair[1].shape[1] != dim:
        raise ArgumentError(f"second: expected {dim} columns, the coordinates of first, got {pair[1].shape[1]}")
    bases = []
    for points in pair:
        _, lengths, axes = np.linalg.svd(points, full_matrices=False)
        bases.append(axes[lengths > 8 * EPS * max(points.shape) * lengths[0]])
    rank = min(map(len, bases))
    if rank == dim:
        raise Undefined("the points span the whole space")
    one, other = (basis[:rank] for basis in bases)
    return float(np.linalg.norm(other - (other @ one.T) @ one) / np.sqrt(rank))


def linear_cka(first: ArrayLike, second: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centered kernel alignment of two representations of the same samples :cite:p:`kornblith2019,song2012`.

    ``HSIC(K, L)/√(HSIC(K, K) HSIC(L, L))`` of the Gram matrices K and L. Of few samples in many dimensions the plain
    one is near 1 whatever they are. The debiased one has the unbiased estimators of HSIC, and is near 0 where the
    representations have nothing in common.

    Parameters
    ----------
    first, second : (n, d), (n, d') arrays
        One row a sample, numpy or torch.
    debiased : bool
        Take the unbiased estimators, which need 4 samples.

    Returns
    -------
    float
        From 0 to 1. Debiased, it is at most 1 and sometimes below 0.

    Raises
    ------
    Undefined
        If all samples of either are the same, or, debiased, all pairs of them alike, or there are fewer than 4.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> one, other = np.random.default_rng(0).standard_normal((2, 53, 211))
    >>> [round(ec.metrics.linear_cka(one, other, debiased=d), 2) for d in (True, False)]
    [-0.01, 0.8]
    """
    one, other = _pair(first, second)
    if not checks.flag(debiased, "debiased"):
        products = [float(np.square(a.T @ b).sum()) for a, b in ((one, other), (one, one), (other, other))]
        return float(products[0] / np.sqrt(products[1] * products[2]))
    size = len(one)
    if size < 4:
        raise Undefined(f"the debiased estimator needs 4 samples, and there are {size}")
    cross, own, others = (_unbiased_hsic(*pair) for pair in ((one, other), (one, one), (other, other)))
    # Of what rounding leaves of the sums, relative to the squares that they are made of.
    if min(own, others) <= 1e-13:
        raise Undefined("all pairs of samples are alike")
    return float(cross / np.sqrt(own * others))


def _unbiased_hsic(a: FloatArray, b: FloatArray) -> float:
    """``n(n - 3)`` times the unbiased estimator, of rows about their averages with a sum of squares of 1."""
    size = len(a)
    own_a, own_b = (np.einsum("nd,nd->n", rows, rows) for rows in (a, b))
    # Sums of the rows of the Gram matrices without their diagonals: those of the whole ones are 0.
    trace = float(np.square(a.T @ b).sum()) - float(own_a @ own_b)
    total = float(own_a.sum() * own_b.sum()) / ((size - 1) * (size - 2))
    return trace + total - 2.0 / (size - 2) * float(own_a @ own_b)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both about their averages, with a sum of squares of 1, in at most n coordinates of one number."""
    a, b = _centered(first, "first"), _centered(second, "second")
    if len(a) != len(b):
        raise ArgumentError(f"second: expected {len(a)} rows, those of first, got {len(b)}")
    # A rotation into as many dimensions as there are points changes no product of two of them.
    a, b = (np.asarray(np.linalg.qr(p.T, mode="r")).T if len(p) < p.shape[1] else p for p in (a, b))
    width = max(a.shape[1], b.shape[1])
    a, b = (np.pad(p, ((0, 0), (0, width - p.shape[1]))) / np.linalg.norm(p) for p in (a, b))
    return a, b


def _centered(points: ArrayLike, name: str) -> FloatArray:
    """Rows about their average, in units of the largest entry."""
    rows = checks.array(points, name, (None, None), axes="(num_points, dim)")
    scale = float(np.abs(rows).max())
    rows -= rows[0]  # whose average is small where the points are alike
    rows -= rows.mean(axis=0)
    peak = float(np.abs(rows).max())
    if peak <= 8 * EPS * scale:
        raise Undefined(f"{name}: all points coincide")
    return np.asarray(rows / peak)
