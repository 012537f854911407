"""Singular value decomposition of ``[diag(d) | z]`` through its secular equation, in O(n²).

The singular values are the roots of ``1 + Σ_j z_j²/(d_j² - σ²) = 0`` :cite:p:`golub1973`. LAPACK's dlasd4 finds each
with the differences ``d_j ± σ`` to full relative accuracy. Recomputing z from them makes the singular vectors
orthogonal to rounding :cite:p:`gu1995`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from encollapse._internal.rounding import EPS, TINY
from encollapse._internal.typing import FloatArray


@cache
def _routine(routine: str, arguments: int) -> Callable[..., None]:
    """One of LAPACK's as scipy links it, all arguments by reference.

    dlasd4 takes (n, i, d, z, delta, rho, sigma, work, info), dlaed4 the same with one eigenvalue and without work.
    """
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__[routine]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)
    return prototype(pointer(capsule, name(capsule)))


def _roots(d: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Singular values (n,) ascending, and ``d_j² - σ_i²`` (row i, column j), for ascending d and nonzero z."""
    n = len(d)
    solve = _routine("dlasd4", 9)
    norm = float(np.linalg.norm(z))
    if norm * norm < TINY:
        raise np.linalg.LinAlgError("the square of the update underflows")
    unit = np.ascontiguousarray(z / norm)
    below, above, sigma = np.empty((n, n)), np.empty((n, n)), np.empty(n)
    order, index, info = ctypes.c_int(n), ctypes.c_int(0), ctypes.c_int(0)
    rho = ctypes.c_double(norm * norm)
    at: Callable[[Any], int] = ctypes.addressof
    row = 8 * n
    fixed = at(order), at(index), d.ctypes.data, unit.ctypes.data
    for i in range(n):
        index.value = i + 1
        solve(
            *fixed,
            below.ctypes.data + i * row,
            at(rho),
            sigma.ctypes.data + 8 * i,
            above.ctypes.data + i * row,
            at(info),
        )
        if info.value != 0:
            raise np.linalg.LinAlgError(f"dlasd4 did not converge for singular value {i} of {n}")
    below *= above
    if not (np.isfinite(sigma).all() and np.isfinite(below).all()):
        # dlasd4 reports success where products of small poles and a smaller update leave its range.
        raise np.linalg.LinAlgError("dlasd4 found no number for a singular value")
    return sigma, below


def secular_svd(spectrum: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Left singular vectors Q, singular values σ of ``[diag(spectrum) | shift]``, and ``w = Qᵀ shift``.

    Parameters
    ----------
    spectrum : (n,)
        Distinct and non-negative, descending.
    shift : (n,)
        Without zeros.

    Returns
    -------
    vectors (n, n), singular (n,) descending, weights (n,)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a root is not found. Take a dense decomposition then.
    """
    if len(spectrum) == 1:
        return np.ones((1, 1)), np.hypot(spectrum, shift), shift.copy()
    d = np.ascontiguousarray(spectrum[::-1])
    z = shift[::-1]
    n = len(d)
    sigma, differences = _roots(d, z)
    # ẑ_j² = Π_i (σ_i² - d_j²) / Π_{i≠j} (d_i² - d_j²), each σ_i² paired with the pole on its far side from j.
    ratios = -differences[: n - 1]
    gaps = np.subtract.outer(d, d) * np.add.outer(d, d)
    upper = np.arange(n - 1)[:, None] >= np.arange(n)[None, :]
    ratios = ratios / np.where(upper, gaps[1:], gaps[: n - 1])
    refined = np.sqrt(np.abs(ratios.prod(axis=0) * differences[n - 1]))
    # Where z_j² underflows a root is its pole, and its vector the limit.
    root, pole = np.nonzero(differences == 0.0)
    differences[root] = np.inf
    differences[root, pole] = -np.maximum(np.abs(z[pole]), TINY)
    refined[pole] = np.maximum(np.abs(z[pole]), TINY)
    vectors = np.copysign(refined, z)[None, :] / differences
    # A root next to its pole makes an entry whose square has no number.
    size = np.abs(vectors).max(axis=1)
    vectors /= size[:, None]
    norm = np.linalg.norm(vectors, axis=1)
    vectors /= norm[:, None]
    length = size * norm
    length[root] = 1.0 / np.maximum(np.abs(z[pole]), TINY)
    return np.ascontiguousarray(vectors[::-1, ::-1].T), sigma[::-1], (-1.0 / length)[::-1]


def secular_values(spectrum: FloatArray, shift: FloatArray) -> FloatArray:
    """Singular values (n,) of ``[diag(spectrum) | shift]``, descending. Arguments as for :func:`secular_svd`."""
    if len(spectrum) == 1:
        return np.hypot(spectrum, shift)
    try:
        return _roots(np.ascontiguousarray(spectrum[::-1]), shift[::-1])[0][::-1]
    except np.linalg.LinAlgError:
        matrix = np.column_stack([np.diag(spectrum), shift])
        return np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)


def rank_two_squares(spectrum: FloatArray, downdate: FloatArray, shift: FloatArray, count: int) -> FloatArray:
    """Largest eigenvalues of ``diag(spectrum²) - p pᵀ + x xᵀ`` by two secular equations, in O(n²) and O(n) memory.

    Parameters
    ----------
    spectrum, downdate, shift : (n,)
        √Λ, p and x.
    count : int
        How many are wanted.

    Returns
    -------
    (count,), descending
    """
    order = np.argsort(spectrum)
    poles, p, x = spectrum[order] ** 2, downdate[order], shift[order]
    # The downdate of Λ is the update of -Λ.
    poles, turned = _updated(-poles[::-1], p[::-1], x[::-1])
    return _updated(-poles[::-1], turned[::-1], None)[0][::-1][:count]


def _updated(poles: FloatArray, vector: FloatArray, other: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues of ``diag(poles) + vector vectorᵀ``, ascending as the poles, and coordinates of `other`.

    Poles whose coordinate of the vector is rounding stay eigenvalues :cite:p:`gu1995`.
    """
    size = float(np.linalg.norm(vector))
    span = max(float(np.abs(poles).max()), size * size)
    moved = np.flatnonzero(size * np.abs(vector) > 8 * EPS * span)
    values = poles.copy()
    coordinates = np.zeros_like(poles) if other is None else other.copy()
    if len(moved):
        part = None if other is None else other[moved]
        values[moved], turned = _roots_of_update(poles[moved], vector[moved], part)
        if turned is not None:
            coordinates[moved] = turned
    order = np.argsort(values, kind="stable")
    return values[order], coordinates[order]


def _roots_of_update(
    poles: FloatArray, vector: FloatArray, other: FloatArray | None
) -> tuple[FloatArray, FloatArray | None]:
    n = len(poles)
    solve = _routine("dlaed4", 8)
    norm = float(np.linalg.norm(vector))
    d, unit = np.ascontiguousarray(poles), np.ascontiguousarray(vector / norm)
    delta, values, turned = np.empty(n), np.empty(n), np.empty(n)
    order, index, info = ctypes.c_int(n), ctypes.c_int(0), ctypes.c_int(0)
    rho = ctypes.c_double(norm * norm)
    at: Callable[[Any], int] = ctypes.addressof
    fixed = at(order), at(index), d.ctypes.data, unit.ctypes.data, delta.ctypes.data, at(rho)
    product = None if other is None else unit * other
    for i in range(n):
        index.value = i + 1
        solve(*fixed, values.ctypes.data + 8 * i, at(info))
        if info.value != 0:
            raise np.linalg.LinAlgError(f"dlaed4 did not converge for eigenvalue {i} of {n}")
        if product is not None:
            # The eigenvector is (d_j - λ)^{-1} z_j, normalized; dlaed4 returns a unit one for n = 1 and 2.
            inverse = 1.0 / delta if n > 2 else delta / unit
            turned[i] = float(product @ inverse) / float(np.linalg.norm(unit * inverse))
    return values, None if other is None else turned
