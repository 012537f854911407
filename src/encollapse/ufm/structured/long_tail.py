"""Affine images of one-hot labels with many distinct class counts: no decomposition at all.

On the indicator vectors of the groups of classes (:mod:`encollapse.ufm.structured.by_count`), with root priors u, sizes
κ² and ``v = u κ``, the centered labels are ``A_c = α (diag(u) - p vᵀ)`` with ``p = u² κ``, and since v is a unit vector
with ``diag(u) v = p``,

    ``A_c A_cᵀ = α² (diag(u²) - p pᵀ)``:

a diagonal matrix and a term of rank one, whose resolvent is explicit. So the bias, the certificate, the rank and each
entry of the Gram matrix cost O(G) operations for each node of a contour. Only the list of singular values takes O(G²).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import ComplexArray, FloatArray, IntArray
from encollapse.geometry.lazy_matrix import DiagonalAndForm
from encollapse.ufm.certificate import certify
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.minimize import ThinSVD, margin
from encollapse.ufm.mse.resolvent.newton_path import gaps, minimize_biases
from encollapse.ufm.mse.resolvent.polar_gram import value_weights
from encollapse.ufm.mse.resolvent.table import ResolventTable
from encollapse.ufm.mse.secular import rank_two_squares

_BURIED = 1e3  # size of the mean over that of the largest singular value


@dataclass(frozen=True, eq=False)
class LongTail:
    """Labels ``α I + γ 11ᵀ`` on the groups of classes, in units of `scale`.

    Attributes
    ----------
    scale : float
        What `alpha` and `gamma` were divided by.
    alpha, gamma : float
        The affine form.
    roots : (G,)
        ``√π`` of a class of each group.
    root_sizes : (G,)
        ``κ``, the square roots of the numbers of classes.
    """

    scale: float
    alpha: float
    gamma: float
    roots: FloatArray
    root_sizes: FloatArray

    @property
    def downdate(self) -> FloatArray:
        """``α p``."""
        return np.asarray(self.alpha * self.roots**2 * self.root_sizes)

    @property
    def mean(self) -> FloatArray:
        """``ē``."""
        return np.asarray(self.root_sizes * (self.alpha * self.roots**2 + self.gamma))

    @property
    def is_buried(self) -> bool:
        """Whether the mean is so much larger than the rest that sums of resolvents lose the rest beside it."""
        return float(np.linalg.norm(self.mean)) > _BURIED * abs(self.alpha) * float(self.roots.max())

    def pencil(self, threshold: float) -> ResolventTable:
        """Return the matrices ``A_x A_xᵀ``."""
        return ResolventTable(abs(self.alpha) * self.roots, self.mean, threshold, self.downdate)

    def centered_rank(self, threshold: float) -> int:
        """How many singular values of ``A_c`` exceed `threshold`, which is not in units of `scale`."""
        c = threshold / self.scale
        return int(self.pencil(c).count_above(c, np.zeros((1, len(self.roots))))[0])

    def column(self, weights: FloatArray, shift: FloatArray) -> FloatArray:
        """``A_x y`` for weights y (G,) of the groups."""
        along = float((self.roots * self.root_sizes) @ weights)
        return np.asarray(self.alpha * self.roots * weights + along * (shift - self.downdate))

    def dense(self, shift: FloatArray) -> FloatArray:
        """``A_x``, (G, G)."""
        g = len(self.roots)
        memory.require_room("singular vectors", g, g, instead="cosine(k, l) and norm(k) do without them")
        matrix = np.outer(shift - self.downdate, self.roots * self.root_sizes)
        matrix[np.diag_indices(g)] += self.alpha * self.roots
        return matrix


@dataclass(frozen=True, eq=False)
class TailOutputs:
    """Z on the groups, with the same interface as :class:`encollapse.ufm.mse.minimize.ThresholdedLabels`."""

    labels: LongTail
    pencil: ResolventTable
    shift: FloatArray
    rank: int

    @cached_property
    def singular(self) -> FloatArray:
        """Singular values of Z, (G,), descending, in O(G²)."""
        squares = rank_two_squares(self.pencil.spectrum, self.labels.downdate, self.shift, self.rank)
        result = np.zeros(len(self.shift))
        result[: self.rank] = np.maximum(np.sqrt(squares) - self.pencil.threshold, 0.0)
        return result

    def triplets(self) -> ThinSVD:
        """Compose the singular vectors densely, where memory allows."""
        left, values, right = np.linalg.svd(self.labels.dense(self.shift))
        kept = slice(self.rank)
        shrunk = np.maximum(values[kept] - self.pencil.threshold, 0.0)
        return ThinSVD(left[:, kept].copy(), shrunk, right[kept].copy())

    @cached_property
    def _weights(self) -> ComplexArray:
        # Where nothing is learned, the sum over the nodes is 0 up to rounding, and the answer is 0.
        return value_weights(self.pencil) * (self.rank > 0)

    @cached_property
    def _resolved(self) -> tuple[ComplexArray, ComplexArray]:
        """``xᵀ R p/(1 + pᵀ R p)`` and ``w_k ψ_k/(1 - xᵀ R' x)``, R' the resolvent at ``x = 0``, one for each node."""
        p, x = self.pencil, self.shift
        crossed = p.forward(x * self.labels.downdate) / p.denominator
        form = p.forward(x**2) - crossed**2 * p.denominator
        return crossed, self._weights / (1.0 - form)

    def _split(self, column: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """``pᵀ R a`` and ``xᵀ R' a`` for a vector a (G,)."""
        p, crossed = self.pencil, self._resolved[0]
        across = p.forward(column * self.labels.downdate)
        return across, p.forward(column * self.shift) - crossed * across

    def form(self, weights: FloatArray) -> float:
        """``yᵀ |Z| y`` for y (G,)."""
        column = self.labels.column(weights, self.shift)
        across, inner = self._split(column)
        w, joint = self._weights, self._resolved[1]
        total = (self.pencil.forward(column**2) - across**2 / self.pencil.denominator) @ w + inner**2 @ joint
        return float(total.imag)

    @cached_property
    def _common(self) -> tuple[FloatArray, float]:
        """``ψ(T) y`` and ``yᵀ ψ(T) y`` for the common column ``y = x - α p`` of ``A_x``."""
        p, w, down = self.pencil, self._weights, self.labels.downdate
        crossed, joint = self._resolved
        y = self.shift - down
        across, inner = self._split(y)
        applied = y * p.backward(w) - down * p.backward(w * across / p.denominator)
        applied += self.shift * p.backward(joint * inner) - down * p.backward(joint * inner * crossed)
        return applied, float(y @ applied)

    @cached_property
    def diagonal(self) -> FloatArray:
        """``|Z|_gg``, (G,)."""
        p, w, down, x = self.pencil, self._weights, self.labels.downdate, self.shift
        crossed, joint = self._resolved
        inside = p.backward(w)
        for part in np.array_split(np.arange(len(x)), max(1, len(x) // _CHUNK)):
            table = p.rows(part)
            inside[part] -= down[part] ** 2 * ((table**2) @ (w / p.denominator)).imag
            turned = table * (x[part, None] - down[part, None] * crossed)
            inside[part] += ((turned**2) @ joint).imag
        return self._completed(inside, np.arange(len(x)), np.arange(len(x)))

    def entry(self, g: int, h: int) -> float:
        """``|Z|_gh``."""
        if g == h:
            return float(self.diagonal[g])
        p, down, x = self.pencil, self.labels.downdate, self.shift
        crossed, joint = self._resolved
        first, second = p.rows(np.array([g, h]))
        inside = -down[g] * down[h] * ((first * second) @ (self._weights / p.denominator)).imag
        inside += ((first * second * (x[g] - down[g] * crossed) * (x[h] - down[h] * crossed)) @ joint).imag
        return float(self._completed(np.array(inside), np.array(g), np.array(h)))

    def _completed(self, inside: FloatArray, g: IntArray, h: IntArray) -> FloatArray:
        """Turn ``ψ(T)_gh`` into ``|Z|_gh``: column g of ``A_x`` is ``α u_g`` at g, and ``v_g y``."""
        labels, (applied, square) = self.labels, self._common
        diagonal, common = labels.alpha * labels.roots, labels.roots * labels.root_sizes
        return np.asarray(
            diagonal[g] * diagonal[h] * inside
            + diagonal[g] * common[h] * applied[g]
            + diagonal[h] * common[g] * applied[h]
            + common[g] * common[h] * square
        )


_CHUNK = 4096  # rows of the resolvents at a time


def minimize_tail(labels: LongTail, threshold: float, bias_decays: FloatArray) -> list[Minimum[TailOutputs]]:
    """Minimize at each of the bias decays (m,). `threshold` is c in units of the labels."""
    pencil = labels.pencil(threshold)
    found, steps = minimize_biases(pencil, bias_decays)
    open_ = gaps(found)
    ranks = pencil.count_above(threshold + margin(threshold, pencil.spectrum), found.shift)
    return [
        Minimum(
            loss=loss,
            bias=checks.read_only(found.bias[i].copy()),
            certificate=certify(loss, loss - float(open_[i])),
            iterations=int(steps[i]),
            factors=TailOutputs(labels, pencil, checks.read_only(found.shift[i].copy()), int(ranks[i])),
        )
        for i, loss in enumerate(found.value.tolist())
    ]


@dataclass(frozen=True, eq=False)
class TailGram:
    """Gram matrix of the class means, entry by entry.

    Attributes
    ----------
    small : TailOutputs
        The outputs on the groups.
    groups : (K,) ints
        Group of each class.
    roots, contrast : (G,)
        ``√π`` of a class of each group, and the singular value of the contrasts within it (in the problem's units).
    unit : float
        What an entry of ``|Z|`` of `small` counts.
    """

    small: TailOutputs
    groups: IntArray
    roots: FloatArray
    contrast: FloatArray
    unit: float

    @cached_property
    def _within(self) -> FloatArray:
        """The contrasts in the units of `small`."""
        return np.asarray(self.contrast / self.small.labels.scale)

    def entry(self, k: int, l: int) -> float:  # noqa: E741 (the notation table's letters)
        """Inner product of two class means."""
        g, h = int(self.groups[k]), int(self.groups[l])
        sizes = self.small.labels.root_sizes
        value = self.small.entry(g, h) / (sizes[g] * sizes[h])
        if g == h:
            value += self._within[g] * ((k == l) - 1.0 / sizes[g] ** 2)
        return float(value / (self.roots[g] * self.roots[h]) * self.unit)

    def diagonal_and_form(self) -> DiagonalAndForm:
        """Squared norms of the class means (K,), and their quadratic form."""
        sizes = self.small.labels.root_sizes**2
        squares = self.small.diagonal / sizes + self._within * (1.0 - 1.0 / sizes)
        return (squares / self.roots**2 * self.unit)[self.groups], self._form

    def _form(self, weights: FloatArray) -> float:
        scaled = weights / self.roots[self.groups]
        sums = np.bincount(self.groups, scaled, minlength=len(self.roots))
        sizes = self.small.labels.root_sizes
        total = self.small.form(sums / sizes) - float(self._within @ (sums / sizes) ** 2)
        return float((total + float(self._within[self.groups] @ scaled**2)) * self.unit)
