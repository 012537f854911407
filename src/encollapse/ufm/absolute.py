"""The Gram matrix of the class means, ``|Z| = (ZᵀZ)^{1/2}``, entry by entry and without singular vectors.

With ``A_x = A_c + x uᵀ`` and ``T = A_x A_xᵀ``, ``|Z| = A_xᵀ ψ(T) A_x`` for ``ψ(t) = (√t - c)/t`` above ``c²`` and 0
below: a sum of resolvents, which are explicit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encollapse._typing import ComplexArray, FloatArray
from encollapse.ufm.resolvents import Pencil


def value_weights(pencil: Pencil) -> ComplexArray:
    """``w_k ψ(s_k)``, without cancellation at ``c²``."""
    contour, root = pencil.contour, pencil.contour.roots
    return np.asarray(contour.weights * contour.offsets / (root**2 * (root + contour.threshold)))


def absolute_value(
    pencil: Pencil, shift: FloatArray, right: FloatArray, root_priors: FloatArray
) -> tuple[FloatArray, Callable[[FloatArray], float]]:
    """Return ``|Z|_kk`` for every class (K,) and ``y -> yᵀ |Z| y``, in n K operations for each node of the contour.

    Parameters
    ----------
    pencil : Pencil
        In the eigenbasis of the centred labels.
    shift : (n,)
        x.
    right : (K, n)
        Right singular vectors of the centred labels.
    root_priors : (K,)
        u.
    """
    d, u = pencil.spectrum, root_priors
    weights = value_weights(pencil)
    form = pencil.forward(shift**2)
    alone, joint = pencil.backward(weights), weights / (1.0 - form)
    # Column k of A_x is d ∘ V_k + u_k x; its resolvent is diagonal plus the term of x.
    crossed = pencil.forward_of(d * shift, right) + np.multiply.outer(u, form)
    squares = (right**2) @ (d**2 * alone) + 2.0 * u * (right @ (d * shift * alone))
    squares += u**2 * float(shift**2 @ alone) + (crossed**2 @ joint).imag

    def quadratic(y: FloatArray) -> float:
        column = d * (right.T @ y) + shift * float(u @ y)
        inner = pencil.forward(column * shift)
        return float(column**2 @ alone + (inner**2 @ joint).imag)

    return squares, quadratic
