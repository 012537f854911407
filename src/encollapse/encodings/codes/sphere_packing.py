"""Search for points on a sphere with a large smallest angle.

From several starts, the largest inner product is minimized through its soft maximum

    f_β(X) = (1/β) log Σ_{k≠l} exp(β <x_k, x_l>)

with β rising by factors of four (L-BFGS, warm started), then again from the best arrangement with one point put
elsewhere. f_β is within ``2 log(K)/β`` of the largest inner product. Its minimizers are softmax codes. The pairs that
attain the largest inner product at the end are the contacts of the arrangement, and Newton's method on the equations
"all contacts have the same inner product" then gives its coordinates to rounding.

With ``lines=True`` every point stands for itself and its negative, so the largest absolute inner product is minimized.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray

_SHARPEST = 4.0**9  # last β: the softened maximum is next to the maximum
_BLOCK_ENTRIES = 2**22  # of a block of inner products: 32 MB
_NEWTON_LIMIT = 8000
"""Coordinates above which the exact finish is left out: such a search ends far from its optimum anyway."""

_SHARP_ENOUGH = 4.0**6
"""Last β where no exact finish follows."""

_CONTACT_TOLERANCES = (1e-5, 1e-4, 1e-3)
"""How far below the largest inner product a pair still counts as a contact. Each is tried."""

_NEWTON_STEPS = 10  # a guard: they converge quadratically
_COMBINATIONS = 6  # starts that combine known packings; the others are random
_RESTART = 128.0
"""First β of the searches that start from the best arrangement so far with one point put elsewhere."""

_MOST_STARTS = 36  # 720 divided by it: up to 20 points have as many
_SAME = 1e-5  # difference of cosines below which two arrangements are equally good
_ATTAINED = 1e-4
"""What the softened maximum leaves of a bound that an arrangement attains. The exact finish takes it off."""

_PATIENCE = 18
"""The search ends when this many restarts have not raised the best cosine by `_SAME`: with 12 of them 13 points in 3
dimensions were missed on a machine whose rounding differs."""


def spread(
    num_points: int, dim: int, generator: np.random.Generator, *, lines: bool = False, bound: float = -np.inf
) -> FloatArray:
    """Best arrangement found, rows of unit length, (num_points, dim). The search ends where it attains `bound`."""
    best, smallest, waited = np.empty((0, dim)), np.inf, 0
    for start in range(num_starts(num_points)):
        if start < _COMBINATIONS:
            # Symmetry under x -> -x survives the search, and most of the best codes known have it; a gentle first β
            # finds symmetric arrangements, a sharper one irregular ones. Six starts try every combination.
            points = _start(num_points, dim, generator, antipodal=start % 2 == 0 and not lines)
            points = _anneal(points, (4.0, 32.0, 1.0)[start % 3], lines)
        else:
            # Starts from nowhere may all end in one regular arrangement that is not the best: 13 points in 3 dimensions
            # do. Near it lies a better one.
            points = best.copy()
            points[generator.integers(num_points)] = _unit(generator.standard_normal((1, dim)))[0]
            points = _anneal(points, _RESTART, lines)
            waited += 1
        largest = largest_cosine(points, lines)
        # Several arrangements may share the best angle: the first is kept, so that rounding does not choose.
        if largest < smallest - _SAME:
            best, smallest, waited = points, largest, 0
        if waited == _PATIENCE or smallest < bound + _ATTAINED:
            break
    return best if best.size > _NEWTON_LIMIT else _made_exact(best, lines)


def num_starts(num_points: int) -> int:
    """Most searches that are made: fewer for more points, since each costs more."""
    return int(np.clip(720 // num_points, 1, _MOST_STARTS))


def largest_cosine(points: FloatArray, lines: bool = False) -> float:
    """Largest inner product of two distinct rows, or with `lines` the largest absolute one."""
    largest = -np.inf
    points = np.concatenate([points, -points]) if lines else points
    for _, gram in _gram_blocks(points):
        largest = max(largest, float(gram.max()))
    return largest


def soft_maximum(flat: FloatArray, dim: int, sharpness: float) -> tuple[float, FloatArray]:
    """Value of f_β at the rows of ``flat.reshape(-1, dim)``, scaled to unit length, and its gradient.

    The Gram matrix is formed in blocks of rows: memory stays bounded at any number of points.
    """
    raw = flat.reshape(-1, dim)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    points = raw / norms
    peak, total = -np.inf, 0.0
    pull = np.zeros_like(points)
    for rows, gram in _gram_blocks(points):
        highest = max(peak, float(gram.max()))
        # What earlier blocks added was relative to the highest inner product seen by then.
        shrink = np.exp(sharpness * (peak - highest))
        total, peak = total * shrink, highest
        pull[: rows.start] *= shrink
        weights = np.exp(sharpness * (gram - peak), out=gram)
        total += float(weights.sum())
        pull[rows] = weights @ points
    gradient = 2 * pull / total
    gradient -= np.einsum("kq,kq->k", gradient, points)[:, None] * points
    return peak + float(np.log(total)) / sharpness, (gradient / norms).ravel()


def soft_maximum_of_lines(flat: FloatArray, dim: int, sharpness: float) -> tuple[float, FloatArray]:
    """:func:`soft_maximum` of the rows and their negatives, and its gradient."""
    value, gradient = soft_maximum(np.concatenate([flat, -flat]), dim, sharpness)
    return value, gradient[: flat.size] - gradient[flat.size :]


def _gram_blocks(points: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Inner products of blocks of rows with all rows, with -inf for a row with itself."""
    count = len(points)
    step = max(1, _BLOCK_ENTRIES // count)
    for first in range(0, count, step):
        rows = slice(first, min(first + step, count))
        gram = points[rows] @ points.T
        own = np.arange(rows.start, rows.stop)
        gram[own - first, own] = -np.inf
        yield rows, gram


def _start(num_points: int, dim: int, generator: np.random.Generator, *, antipodal: bool) -> FloatArray:
    drawn = generator.standard_normal((num_points, dim))
    if antipodal:
        half = num_points // 2
        drawn[half : 2 * half] = -drawn[:half]
    return _unit(drawn)


def _unit(points: FloatArray) -> FloatArray:
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def _anneal(points: FloatArray, softest: float, lines: bool) -> FloatArray:
    from scipy.optimize import minimize

    count, dim = points.shape
    met = count * (2 if lines else 1)
    # A step costs about K² q multiplications; the search as a whole is bounded.
    iterations = int(np.clip(1.3e9 / (met * met * dim), 5, 100))
    sharpest = _SHARPEST if points.size <= _NEWTON_LIMIT else _SHARP_ENOUGH
    sharpness = softest
    while sharpness <= sharpest:
        result = minimize(
            soft_maximum_of_lines if lines else soft_maximum,
            points.ravel(),
            args=(dim, sharpness),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-14, "gtol": 1e-9},
        )
        points = _unit(result.x.reshape(count, dim))
        sharpness *= 4.0
    return points


def _made_exact(points: FloatArray, lines: bool) -> FloatArray:
    """The arrangement with its contacts made equal, or as it came where that does not help."""
    best, smallest = points, largest_cosine(points, lines)
    for tolerance in _CONTACT_TOLERANCES:
        candidate = _equal_contacts(points, tolerance, lines)
        largest = largest_cosine(candidate, lines)
        if largest < smallest:
            best, smallest = candidate, largest
    return best


def _equal_contacts(points: FloatArray, tolerance: float, lines: bool) -> FloatArray:
    from scipy.sparse.linalg import lsmr

    gram = points @ points.T
    size = np.abs(gram) if lines else gram
    one, other = np.nonzero(np.triu(size > largest_cosine(points, lines) - tolerance, 1))
    signs = np.sign(gram[one, other]) if lines else np.ones(len(one))
    spread_before = np.inf
    for _ in range(_NEWTON_STEPS):
        cosines = signs * np.einsum("iq,iq->i", points[one], points[other])
        residual = cosines.mean() - cosines
        spread_now = np.abs(residual).max()
        if spread_now > spread_before / 2:
            break  # rounding is reached, or these are not the contacts of one arrangement
        spread_before = spread_now
        step = lsmr(_linearized(points, one, other, signs, cosines), residual, atol=1e-14, btol=1e-14, maxiter=1000)[0]
        points = _unit(points + step[:-1].reshape(points.shape))
    return points


def _linearized(points: FloatArray, one: IntArray, other: IntArray, signs: FloatArray, cosines: FloatArray) -> Any:
    """Derivative of ``±<x_k, x_l> - level`` for unit vectors, one contact a row. The level is the last unknown."""
    count, dim = points.shape
    contact = np.arange(len(one))
    pull_one = signs[:, None] * points[other] - cosines[:, None] * points[one]
    pull_other = signs[:, None] * points[one] - cosines[:, None] * points[other]
    entries = np.concatenate([pull_one.ravel(), pull_other.ravel(), np.full(len(one), -1.0)])
    rows = np.concatenate([np.repeat(contact, dim), np.repeat(contact, dim), contact])
    coordinates = np.arange(dim)
    columns = np.concatenate(
        [
            (one[:, None] * dim + coordinates).ravel(),
            (other[:, None] * dim + coordinates).ravel(),
            np.full(len(one), count * dim),
        ]
    )
    from scipy import sparse

    return sparse.csr_matrix((entries, (rows, columns)), shape=(len(one), count * dim + 1))
