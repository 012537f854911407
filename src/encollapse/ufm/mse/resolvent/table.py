"""The bias at many bias decays at once, without any decomposition that depends on the bias.

Over ``x = ē - b`` the objective is ``f(x) = Σ_i huber_c(σ_i) + λ_b/2 |ē - x|²`` with ``σ_i²`` the eigenvalues of
``T = Λ - p pᵀ + x xᵀ`` (p is zero in the eigenbasis of the centered labels). Its gradient ``φ(T) x - λ_b b`` and its
value need functions of T on the eigenvalues above ``c²`` only, which are sums of resolvents at fixed nodes
(:mod:`encollapse.ufm.mse.resolvent.contour`), and the resolvent of a diagonal matrix with rank-one terms is explicit.
One evaluation is a product with a matrix of n × nodes that all bias decays share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ComplexArray, FloatArray, IntArray
from encollapse.ufm.mse.resolvent.contour import WINDOW, Contour

_FILTER_ERROR = 1e-13  # of the sum over the nodes where the function that it stands for is known
_TINY_THRESHOLD = 1e-4  # of the largest singular value
_FAR = 4.0  # times the largest square of the rest: an eigenvalue that stands apart
_ROOT_STEPS = 8  # Newton steps, each of which doubles the digits


@dataclass(frozen=True, eq=False)
class ResolventTable:
    """The matrices ``T = Λ - p pᵀ + x xᵀ`` for all x, and functions of them.

    Parameters
    ----------
    spectrum : (n,)
        ``√Λ``.
    mean : (n,)
        ``ē`` in the same coordinates.
    threshold : float
        c.
    downdate : (n,), optional
        p, with ``Λ - p pᵀ`` positive semidefinite.
    """

    spectrum: FloatArray
    mean: FloatArray
    threshold: float
    downdate: FloatArray | None = None

    @cached_property
    def contour(self) -> Contour:
        """Nodes that serve every x between 0 and ``ē``."""
        return Contour.above(self.threshold, self.largest)

    @cached_property
    def largest(self) -> float:
        """Bound of ``√T`` for every x between 0 and ``ē``."""
        return float(np.hypot(self.spectrum.max(initial=0.0), np.linalg.norm(self.mean)))

    @cached_property
    def _table(self) -> ComplexArray:
        """``R_jk = 1/(s_k - Λ_j)``, shape (n, nodes)."""
        c, d = self.threshold, self.spectrum
        return np.asarray(1.0 / (self.contour.offsets[None, :] + ((c - d) * (c + d))[:, None]))

    @cached_property
    def _pairs(self) -> FloatArray:
        """Real and imaginary parts of R in turn, (n, 2 nodes): a real product with it is a complex one with R."""
        return self._table.view(np.float64)

    @cached_property
    def _swapped(self) -> FloatArray:
        """Imaginary and real parts in turn, for the imaginary part of a product."""
        pairs = self._pairs.reshape(len(self.spectrum), -1, 2)
        return np.ascontiguousarray(pairs[:, :, ::-1]).reshape(len(self.spectrum), -1)

    @cached_property
    def slopes(self) -> ComplexArray:
        """``w_k h(s_k)`` with ``h(s) = c/√s - 1``, without cancellation at ``c²``."""
        root = self.contour.roots
        return -self.contour.weights * self.contour.offsets / (root * (root + self.threshold))

    @cached_property
    def denominator(self) -> ComplexArray:
        """``1 + pᵀ R p``."""
        if self.downdate is None:
            return np.ones(len(self.contour.weights), dtype=np.complex128)
        return 1.0 + self.forward(self.downdate**2)

    def rows(self, index: IntArray) -> ComplexArray:
        """``R_jk`` for some j, (…, nodes)."""
        return np.asarray(self._table[index])

    def forward(self, rows: FloatArray) -> ComplexArray:
        """``Σ_j rows_j R_jk``, shape (…, nodes)."""
        return (rows @ self._pairs).view(np.complex128)

    def forward_of(self, scale: FloatArray, rows: FloatArray) -> ComplexArray:
        """``forward`` of ``rows * scale`` for rows (m, n), the table being scaled instead of the rows."""
        return (rows @ (scale[:, None] * self._pairs)).view(np.complex128)

    def backward(self, coefficients: ComplexArray) -> FloatArray:
        """``Im Σ_k R_jk coefficients_k``, shape (…, n)."""
        return np.asarray(np.ascontiguousarray(coefficients).view(np.float64) @ self._swapped.T)

    @cached_property
    def base_value(self) -> float:
        """``Σ huber_c`` at ``x = 0``."""
        c, d = self.threshold, self.spectrum
        value = float(np.where(d <= c, 0.5 * d**2, c * (d - 0.5 * c)).sum())
        if self.downdate is not None:
            # With F' = h/2 for F = huber - t/2, by parts: tr F changes by the integral of -F' log det.
            square = float(self.downdate @ self.downdate)
            value -= 0.5 * square + 0.5 * float((self.slopes @ _log1p(self.forward(self.downdate**2))).imag)
        return value

    @cached_property
    def usable(self) -> bool:
        """Whether sums over the nodes keep their relative precision here.

        A threshold far below the singular values makes small differences of large terms. Otherwise the sum is
        compared with ``h = c/√t - 1`` above ``c²`` and 0 below at every ``Λ_j``: the eigenvalues of T lie between.
        """
        if not len(self.spectrum) or self.threshold < _TINY_THRESHOLD * self.largest:
            return False
        c, d = self.threshold, self.spectrum
        expected = np.where(d > c, (c - d) / np.where(d > c, d, 1.0), 0.0)
        apart = np.abs(d - c) > WINDOW * c
        return bool((np.abs(self.backward(self.slopes) - expected)[apart] <= _FILTER_ERROR).all())

    def value_apart(self, shift: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``Σ huber_c`` at x (m, n) less that at 0, and the size of its terms, where ``x xᵀ`` dwarfs the rest of T.

        Then ``|x|²/2`` and what the logarithms take of it nearly cancel. The largest eigenvalue t, close to ``|x|²``,
        is therefore found first: with ``y = (t - T_0)^{-1} x`` and T_0 the matrix at ``x = 0``, ``xᵀ y = 1``, so
        ``1 - xᵀ (s - T_0)^{-1} x = (s - t) yᵀ (s - T_0)^{-1} x`` and ``|x|² - t = -xᵀ T_0 y``.
        """
        c, squares = self.threshold, self.spectrum**2
        p = np.zeros_like(squares) if self.downdate is None else self.downdate
        t = np.einsum("ij,ij->i", shift, shift)
        for _ in range(_ROOT_STEPS):
            alone = 1.0 / (t[:, None] - squares)
            across = (shift * alone) @ p / (1.0 + alone @ p**2)
            y = (shift - across[:, None] * p) * alone
            form = np.einsum("ij,ij->i", shift, y)
            t = t + (form - 1.0) * form / np.einsum("ij,ij->i", y, y)
        z = ((self.spectrum - c) * (self.spectrum + c)) * y - np.outer(y @ p, p)
        left = self.forward(z * shift)
        if self.downdate is not None:
            left = left - self.forward(z * p) * self.forward(shift * p) / self.denominator
        bent = np.einsum("ij,ij->i", shift * squares, y) - (shift @ p) * (y @ p)
        largest = c * (np.sqrt(t) - 0.5 * c)
        value = largest - 0.5 * bent - 0.5 * (_log1p(left) @ self.slopes).imag
        return value, largest + 0.5 * np.abs(bent)

    def count_above(self, value: float, shift: FloatArray) -> IntArray:
        """How many eigenvalues of T exceed ``value²``, for each x (m, n): by Sylvester's law of inertia."""
        d = self.spectrum
        with np.errstate(divide="ignore", invalid="ignore"):
            resolvent = 1.0 / ((value - d) * (value + d))
            above = np.full(len(shift), np.count_nonzero(d > value))
            form = np.where(shift == 0, 0.0, shift**2 * resolvent).sum(axis=1)
            if self.downdate is not None:
                p = self.downdate
                base = 1.0 + float(np.sum(p**2 * resolvent))
                above -= base < 0
                form = form - np.where(shift == 0, 0.0, shift * p * resolvent).sum(axis=1) ** 2 / base
            return np.asarray(above + (form > 1.0), dtype=np.int64)

    def quadratic_at(self, value: float, vector: FloatArray) -> float:
        """``aᵀ (value² - T)^{-1} a`` at ``x = 0`` for `value` above all singular values."""
        resolvent = 1.0 / ((value - self.spectrum) * (value + self.spectrum))
        form = float(vector**2 @ resolvent)
        if self.downdate is None:
            return form
        p = self.downdate
        return form - float((vector * p) @ resolvent) ** 2 / (1.0 + float(p**2 @ resolvent))

    def largest_at_rest(self) -> float:
        """Largest singular value at ``x = 0``, by bisection."""
        still = np.zeros((1, len(self.spectrum)))
        low, high = 0.0, float(self.spectrum.max())
        while high - low > 4 * EPS * high:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.count_above(middle, still)[0] else (low, middle)
        return high

    def at(self, shift: FloatArray, bias: FloatArray, bias_decay: FloatArray) -> Evaluation:
        """Evaluate f at one x in each row (m, n), for as many bias decays (m,)."""
        form = self.forward(shift**2)
        crossed = None
        if self.downdate is not None:
            crossed = self.forward(shift * self.downdate) / self.denominator
            form = form - crossed**2 * self.denominator
        inverse = 1.0 / (1.0 - form)
        resolved = self.slopes * inverse
        diagonal = 1.0 + self.backward(resolved)
        pull = shift * diagonal
        if self.downdate is not None and crossed is not None:
            pull = pull - self.downdate * self.backward(resolved * crossed)
        with np.errstate(invalid="ignore"):
            bend = np.where(np.isinf(bias_decay), 0.0, bias_decay)
        penalty = 0.5 * bend * np.einsum("ij,ij->i", bias, bias)
        gradient = pull - bend[:, None] * bias
        gradient[np.isinf(bias_decay)] = 0.0
        return Evaluation(
            pencil=self,
            shift=shift,
            bias=bias,
            bias_decay=bias_decay,
            penalty=penalty,
            pull=pull,
            gradient=gradient,
            residual=np.linalg.norm(gradient, axis=1),
            diagonal=diagonal,
            form=form,
            inverse=inverse,
            crossed=crossed,
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """f and its derivatives at m points.

    Attributes
    ----------
    shift, bias, pull, gradient, diagonal : (m, n)
        x, b, ``φ(T) x``, the gradient, and the part of ``φ(T)`` that acts on each coordinate alone.
    bias_decay, penalty, residual : (m,)
        ``λ_b``, ``λ_b/2 |b|²`` and the length of the gradient.
    form, inverse, crossed : (m, nodes)
        ``xᵀ R x`` (less what p takes of it), one over 1 minus that, and ``xᵀ R p/(1 + pᵀ R p)``.
    """

    pencil: ResolventTable
    shift: FloatArray
    bias: FloatArray
    bias_decay: FloatArray
    penalty: FloatArray
    pull: FloatArray
    gradient: FloatArray
    residual: FloatArray
    diagonal: FloatArray
    form: ComplexArray
    inverse: ComplexArray
    crossed: ComplexArray | None

    @property
    def value(self) -> FloatArray:
        """f, (m,). Its logarithms cost more than the gradient."""
        return self._value[0]

    @property
    def magnitude(self) -> FloatArray:
        """Size of the terms of which `value` is the sum, (m,)."""
        return self._value[1]

    @cached_property
    def _value(self) -> tuple[FloatArray, FloatArray]:
        p, c = self.pencil, self.pencil.threshold
        squares = np.einsum("ij,ij->i", self.shift, self.shift)
        value, size = np.empty_like(squares), np.empty_like(squares)
        far = squares > _FAR * max(float(p.spectrum.max(initial=0.0)), c) ** 2
        near = ~far
        logs = (_log1p(-self.form[near]) @ p.slopes).imag
        value[near] = 0.5 * squares[near] - 0.5 * logs
        size[near] = 0.5 * squares[near]
        if far.any():
            value[far], size[far] = p.value_apart(self.shift[far])
        return value + p.base_value + self.penalty, size + p.base_value + self.penalty

    @cached_property
    def _turned(self) -> ComplexArray:
        return np.asarray(2.0 * self.pencil.slopes * self.inverse**2)

    def bent(self, step: FloatArray) -> FloatArray:
        """Second derivative along `step` (m, n)."""
        p = self.pencil
        inner = p.forward(self.shift * step)
        result = (self.diagonal + self.bias_decay[:, None]) * step
        if p.downdate is None or self.crossed is None:
            result += self.shift * p.backward(self._turned * inner)
            return np.asarray(result)
        across = p.forward(p.downdate * step) / p.denominator
        inner = inner - self.crossed * across * p.denominator
        weighted = self._turned * inner
        result += self.shift * p.backward(weighted)
        result -= p.downdate * p.backward(p.slopes * self.inverse * across + weighted * self.crossed)
        return np.asarray(result)

    def rows(self, keep: IntArray) -> Evaluation:
        """Return some of the points."""
        names = (
            "shift",
            "bias",
            "bias_decay",
            "penalty",
            "pull",
            "gradient",
            "residual",
            "diagonal",
            "form",
            "inverse",
        )
        picked = {name: getattr(self, name)[keep] for name in names}
        crossed = None if self.crossed is None else self.crossed[keep]
        return replace(self, crossed=crossed, **picked)


def _log1p(z: ComplexArray) -> ComplexArray:
    """``log(1 + z)``. NumPy's own adds 1 to complex numbers first and loses the digits of small ones."""
    square = z.real**2 + z.imag**2
    result = np.empty(z.shape, dtype=np.complex128)
    with np.errstate(divide="ignore", invalid="ignore"):
        result.real = 0.5 * np.log1p(2.0 * z.real + square)
    result.imag = np.arctan2(z.imag, 1.0 + z.real)
    large = square >= 0.25
    if large.any():
        result[large] = np.log(1.0 + z[large])
    return result
