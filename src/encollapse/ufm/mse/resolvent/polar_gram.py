"""The Gram matrix of the class means, ``|Z| = (ZᵀZ)^{1/2}``, entry by entry and without singular vectors.

With ``A_x = A_c + x uᵀ`` and ``T = A_x A_xᵀ``, ``|Z| = A_xᵀ ψ(T) A_x`` for ``ψ(t) = (√t - c)/t`` above ``c²`` and 0
below: a sum of resolvents, which are explicit. Column k of ``A_x`` is ``d ∘ V_k + u_k x``. Its resolvent is diagonal
plus the term of x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal.typing import ComplexArray, FloatArray
from encollapse.ufm.mse.resolvent.table import ResolventTable

_CHUNK_BYTES = 1 << 23  # of tables at a time, for the cache
_DIRECTIONS = 32  # first guess of the dimensions that a path spans
_SPAN = 1e-14  # of the largest row: what is left of a row outside the span of others


def value_weights(pencil: ResolventTable) -> ComplexArray:
    """``w_k ψ(s_k)``, without cancellation at ``c²``."""
    contour, root = pencil.contour, pencil.contour.roots
    return np.asarray(contour.weights * contour.offsets / (root**2 * (root + contour.threshold)))


@dataclass(frozen=True, eq=False)
class PolarGram:
    """``|Z|`` for one x in each row, in n K operations for each node of the contour.

    Attributes
    ----------
    pencil : ResolventTable
        In the eigenbasis of the centered labels.
    shift : (m, n)
        x.
    right : (K, n)
        Right singular vectors of the centered labels.
    root_priors : (K,)
        u.
    """

    pencil: ResolventTable
    shift: FloatArray
    right: FloatArray
    root_priors: FloatArray

    @cached_property
    def _form(self) -> ComplexArray:
        return self.pencil.forward(self.shift**2)

    @cached_property
    def _joint(self) -> ComplexArray:
        return np.asarray(value_weights(self.pencil) / (1.0 - self._form))

    @cached_property
    def _alone(self) -> FloatArray:
        return self.pencil.backward(value_weights(self.pencil))

    @cached_property
    def diagonals(self) -> FloatArray:
        """``|Z|_kk``, (m, K)."""
        p, u, x, right = self.pencil, self.root_priors, self.shift, self.right
        scaled = p.spectrum * x
        linear = self._alone + p.backward(self._joint * self._form)
        result = (right**2) @ (p.spectrum**2 * self._alone) + 2.0 * u * ((scaled * linear) @ right.T)
        common = x**2 @ self._alone + (self._form**2 * self._joint).sum(axis=1).imag
        result += common[:, None] * u**2
        # What is left is quadratic in Σ_j V_kj d_j x_j R_j: linear in x, and along a path x stays in few dimensions.
        shares, basis = _spanned(scaled)
        tables = np.stack([p.forward_of(direction, right) for direction in basis])
        flat = tables.reshape(len(basis), -1).view(np.float64)
        swapped = np.stack([self._joint.imag, self._joint.real], axis=2).reshape(len(x), -1)
        step = max(1, _CHUNK_BYTES // tables[0].nbytes)
        for first in range(0, len(x), step):
            crossed = (shares[first : first + step] @ flat).view(np.complex128)
            for i, row in enumerate(crossed.reshape(-1, *tables.shape[1:]), first):
                result[i] += np.square(row, out=row).view(np.float64) @ swapped[i]
        return np.asarray(result)

    def forms(self, vectors: FloatArray) -> FloatArray:
        """``yᵀ |Z| y`` for one y in each row (m, K)."""
        column = (vectors @ self.right) * self.pencil.spectrum
        column += self.shift * (vectors @ self.root_priors)[:, None]
        inner = self.pencil.forward(column * self.shift)
        return np.asarray(column**2 @ self._alone + (inner**2 * self._joint).sum(axis=1).imag)


def _spanned(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Write rows (m, n) to rounding as shares (m, r) of few orthonormal rows (r, n). Where few do not span, r is m."""
    m, n = rows.shape
    size = float(np.linalg.norm(rows))
    count = _DIRECTIONS
    while 2 * count < min(m, n):
        probes = np.random.default_rng(0).standard_normal((count, m)) / np.maximum(
            np.linalg.norm(rows, axis=1), size * _SPAN
        )
        basis = np.linalg.qr((probes @ rows).T)[0].T
        shares = rows @ basis.T
        if np.linalg.norm(rows - shares @ basis) <= _SPAN * size:
            turn, lengths, _ = np.linalg.svd(shares.T, full_matrices=False)
            kept = lengths > _SPAN * lengths[0]
            return shares @ turn[:, kept], turn[:, kept].T @ basis
        count *= 2
    return np.eye(m), rows
