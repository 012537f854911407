"""The bias where the outputs are penalized by a function of their singular values that need not be convex.

Depth and a limited rank both lead to: minimize over Z of rank at most d and over b

    ½ |Z + b uᵀ - A|² + κ Σ_i σ_i(Z)^r + λ_b/2 |b|².

For a given b the singular vectors of the best Z are those of ``A - b uᵀ`` (von Neumann's trace inequality), each
singular value is shrunk on its own, and the d largest are kept. Over ``x = ē - b`` what remains is
``f(x) = Σ_i h_i(σ_i) + λ_b/2 |ē - x|²``, where ``σ_i²`` are the eigenvalues of ``T = Λ + x xᵀ`` and h_i is the minimum
of the scalar problem for the d largest and ``σ²/2`` for the others. As in the convex case its gradient is
``ψ(T) x - λ_b b`` with ``ψ = h'(σ)/σ``. The derivative uses divided differences of ψ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.ufm.bias_decay import mean_share
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.secular import secular_values

_CLOSE = 1e-6
"""Below this relative distance of two eigenvalues a divided difference is taken as a derivative."""


@dataclass(frozen=True, eq=False)
class SchattenModel:
    """The function f of the split of the mean label, in units of the labels.

    Parameters
    ----------
    label_svd : LabelSVD
        Of the dense labels.
    schatten_prox : SchattenProx
        The scalar problem.
    limit : int
        d, the largest rank of Z.
    bias_decay : float
        ``λ_b``, above 0 and finite for :meth:`at`, any for :meth:`lower_bound`.
    """

    label_svd: LabelSVD
    schatten_prox: SchattenProx
    limit: int
    bias_decay: float

    @property
    def share(self) -> float:
        """``β = λ_b/(1 + λ_b)``, 1 without a bias."""
        return mean_share(self.bias_decay)

    @cached_property
    def active(self) -> IntArray:
        """Coordinates that x may use: one for each eigenspace of the centered labels.

        Inside an eigenspace only the direction of x matters, and along ``ē`` the bias is cheapest. Where ``ē`` does
        not touch the eigenspace any one direction stands for all. (In a non-convex problem x may leave the
        eigenspaces that ``ē`` touches.)
        """
        spectrum = self.label_svd.spectrum
        first = np.ones(len(spectrum), dtype=bool)
        first[1:] = -np.diff(spectrum) > 8 * EPS * spectrum[0]
        return np.flatnonzero(first | (self.label_svd.mean != 0)).astype(np.int64)

    @cached_property
    def inert(self) -> FloatArray:
        """Singular values that no choice of x changes."""
        return np.delete(self.label_svd.spectrum, self.active)

    @property
    def mean(self) -> FloatArray:
        """Coordinates of the mean label, shape (m,)."""
        return self.label_svd.mean[self.active]

    def outcomes(self, singular: FloatArray) -> FloatArray:
        """Singular values of the best Z for those of ``A - b uᵀ``, in any order."""
        result = self.schatten_prox.minimizer(singular)
        if self.limit < len(singular):
            result[np.argsort(-singular, kind="stable")[self.limit :]] = 0.0
        return result

    def at(self, shift: FloatArray, bias: FloatArray) -> SchattenState:
        """Evaluate f at ``x = shift``, ``b = bias``, both in the coordinates of :attr:`mean`."""
        matrix = np.column_stack([np.diag(self.label_svd.spectrum[self.active]), shift])
        vectors, singular, rows = np.linalg.svd(matrix, full_matrices=False)
        merged = np.concatenate([singular, self.inert])
        outcome = self.outcomes(merged)
        energy = float(self.schatten_prox.value(merged, outcome).sum())
        outcome = outcome[: len(singular)]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(outcome > 0, (singular - outcome) / singular, 1.0)
        weights = singular * rows[:, -1]
        pull = vectors @ (ratio * weights)
        gradient = pull - self.bias_decay * bias
        return SchattenState(
            model=self,
            shift=shift,
            bias=bias,
            value=energy + 0.5 * self.bias_decay * float(bias @ bias),
            gradient=gradient,
            residual=float(np.linalg.norm(gradient)),
            magnitude=float(np.linalg.norm(pull) + self.bias_decay * np.linalg.norm(bias)),
            vectors=vectors,
            singular=singular,
            outcome=outcome,
            ratio=ratio,
            weights=weights,
        )

    def lower_bound(self) -> float:
        """Return a value that no (Z, b) goes below.

        With b eliminated and ``D² = I - (1 - β) u uᵀ``, ``Y = Z D`` and ``B = A_c + √β ē uᵀ``, the problem is
        ``½|Y - B|² + κ Σ σ_i(Y D⁻¹)^r``. Gelfand and Naimark's inequality gives
        ``Σ σ_i(Y D⁻¹)^r ≥ Σ_{i<K} y_i^r + β^{-r/2} y_K^r`` for the singular values ``y_1 ≥ … ≥ y_K`` of Y
        :cite:p:`bhatia1997`, and von Neumann's ``|Y - B|² ≥ Σ (y_i - b_i)²``. The rest separates. Tight at
        ``λ_b = 0`` and without a bias.
        """
        labels, beta = self.label_svd.labels, self.share
        found, touched = self.label_svd.spectrum.copy(), np.flatnonzero(self.label_svd.mean)
        if beta > 0 and len(touched):
            # A dense decomposition would lose the small ones beside a large mean label.
            found[touched] = secular_values(found[touched], math.sqrt(beta) * self.label_svd.mean[touched])
        singular = np.zeros(min(labels.centered.shape))
        singular[: len(found)] = np.sort(found)[::-1]
        classes = labels.centered.shape[1]
        if len(singular) < classes or self.limit < classes or beta == 0.0:
            return float(self.schatten_prox.value(singular, self.outcomes(singular)).sum())
        last = self.schatten_prox.scaled(beta ** (-0.5 * self.schatten_prox.power))
        return float(self.schatten_prox.value(singular[:-1]).sum() + last.value(singular[-1:]).sum())


@dataclass(frozen=True, eq=False)
class SchattenState:
    """f at one point, and what its derivatives need."""

    model: SchattenModel
    shift: FloatArray
    bias: FloatArray
    value: float
    gradient: FloatArray
    residual: float
    magnitude: float
    vectors: FloatArray
    singular: FloatArray
    outcome: FloatArray
    ratio: FloatArray
    weights: FloatArray

    def moved(self, step: FloatArray) -> SchattenState:
        """Return the state after ``x`` moved by `step`. Both x and b are carried, as either may be tiny."""
        return self.model.at(self.shift + step, self.bias - step)

    def hessian(self) -> FloatArray:
        """Second derivative in the coordinates of x, shape (m, m)."""
        w, differences = self.weights, self._divided_differences()
        inner = w[:, None] * differences * w[None, :]
        inner[np.diag_indices_from(inner)] += self.ratio + self.model.bias_decay + differences @ w**2
        return np.asarray(self.vectors @ inner @ self.vectors.T)

    def _divided_differences(self) -> FloatArray:
        """``(ψ_i - ψ_j)/(σ_i² - σ_j²)``, shape (m, m), and derivatives where two of one branch are close."""
        squares, learned = self.singular**2, self.outcome > 0
        derivative = np.zeros_like(squares)
        s, sigma = self.outcome[learned], self.singular[learned]
        derivative[learned] = (s / sigma - self.model.schatten_prox.slope(s)) / (2.0 * sigma**2)
        apart = np.subtract.outer(squares, squares)
        close = np.abs(apart) <= _CLOSE * np.maximum.outer(squares, squares)
        mean = 0.5 * np.add.outer(derivative, derivative)
        with np.errstate(invalid="ignore", divide="ignore"):
            secant = np.subtract.outer(self.ratio, self.ratio) / apart
        return np.where(close, mean, secant)
