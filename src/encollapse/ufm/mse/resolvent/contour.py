"""Functions of a symmetric matrix on its eigenvalues above a threshold, by a contour integral.

For f analytic off the negative axis, ``f(T)`` restricted to the eigenvalues above ``c²`` is a sum of resolvents,
``Im Σ_k w_k f(s_k) (s_k - T)^{-1}``: the trapezoid rule on a curve around ``[c², M]`` under the conformal map of an
annulus :cite:p:`hale2008`. The error falls like ``exp(-π K'/K n)``, so that it reaches rounding with some hundred nodes
even where an eigenvalue is as near to ``c²`` as `WINDOW` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ComplexArray

WINDOW = 1e-9
"""Share of ``c²`` around it inside which an eigenvalue is on neither side.

The functions integrated here vanish at ``c²``, so it changes them by that much and no more.
"""


@dataclass(frozen=True, eq=False)
class Contour:
    """Nodes on the upper half of a curve that separates the eigenvalues above ``c²`` from the others.

    Attributes
    ----------
    threshold : float
        c.
    offsets : (n,) complex
        ``s_k - c²``, exact where s_k is close to ``c²``.
    weights : (n,) complex
        ``w_k``: the sum of ``w_k f(s_k)/(s_k - t)`` has the imaginary part ``f(t)`` for t inside and 0 outside.
    """

    threshold: float
    offsets: ComplexArray
    weights: ComplexArray

    @classmethod
    def above(cls, threshold: float, largest: float) -> Contour:
        """Return a contour around the eigenvalues from ``threshold²`` to ``largest²``.

        ``s = c²(1 - δ) + M dn²(v)`` maps a rectangle to the upper half plane, its lower side to the interval
        and its upper side to the rest of the real axis below it.
        """
        c2 = threshold * threshold
        low = 2.0 * WINDOW * c2
        high = max(largest * largest - c2, 0.0) * 1.01 + c2
        complement = low / high
        real = float(scipy.special.ellipkm1(complement))
        imaginary = float(scipy.special.ellipk(complement))
        count = math.ceil(-math.log(EPS / 8) * real / (math.pi * imaginary)) + 2
        v = (np.arange(count) + 0.5) / count * real
        # Jacobi's functions of the complementary modulus at K'/2 - i v, by series in its tiny nome.
        nome = math.exp(-math.pi * real / imaginary)
        argument = np.asarray(0.25 * math.pi - 0.5j * math.pi / imaginary * v, dtype=np.complex128)
        one, two, three, four = _theta(argument, nome)
        _, two0, three0, four0 = (float(t[0].real) for t in _theta(np.zeros(1, dtype=np.complex128), nome))
        sn = three0 / two0 * one / four
        cn = four0 / two0 * two / four
        dn = four0 / three0 * three / four
        image = high * (dn / cn) ** 2
        slope = -2j * high * (1.0 - complement) * sn * dn / cn**3
        return cls(threshold, image - 0.5 * low, -slope * (real / count / math.pi))

    @property
    def roots(self) -> ComplexArray:
        """``√s_k``."""
        return np.sqrt(self.offsets + self.threshold**2)


def _theta(z: ComplexArray, nome: float) -> tuple[ComplexArray, ...]:
    """Jacobi's four theta functions where ``|exp(2iz)| nome ≤ 1``, divided by ``nome^{1/4}`` the first two."""
    one = two = np.zeros_like(z)
    three = four = np.ones_like(z)
    for n in range(5):
        factor = 2.0 * nome ** (n * (n + 1))
        sign = -1.0 if n % 2 else 1.0
        one = one + sign * factor * np.sin((2 * n + 1) * z)
        two = two + factor * np.cos((2 * n + 1) * z)
        factor = 2.0 * nome ** ((n + 1) ** 2)
        three = three + factor * np.cos(2 * (n + 1) * z)
        four = four - sign * factor * np.cos(2 * (n + 1) * z)
    return one, two, three, four
