"""Singular value decomposition of ``[diag(d) | z]`` through its secular equation, in O(n²).

The singular values are the roots of ``1 + Σ_j z_j²/(d_j² - σ²) = 0`` :cite:p:`golub1973`. LAPACK's dlasd4 finds each
with the differences ``d_j ± σ`` to full relative accuracy; recomputing z from them makes the singular vectors
orthogonal to rounding :cite:p:`gu1995`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from encollapse._typing import FloatArray


@cache
def _dlasd4() -> Callable[..., None]:
    """LAPACK's dlasd4 as scipy links it: (n, i, d, z, delta, rho, sigma, work, info), all by reference."""
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__["dlasd4"]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 9)
    return prototype(pointer(capsule, name(capsule)))


def _roots(d: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Singular values (n,) ascending, and ``d_j² - σ_i²`` (row i, column j), for ascending d and nonzero z."""
    n = len(d)
    solve = _dlasd4()
    norm = float(np.linalg.norm(z))
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
        If a root is not found; take a dense decomposition then.
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
    vectors = np.copysign(refined, z)[None, :] / differences
    length = np.linalg.norm(vectors, axis=1)
    vectors /= length[:, None]
    return np.ascontiguousarray(vectors[::-1, ::-1].T), sigma[::-1], (-1.0 / length)[::-1]
