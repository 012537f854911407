"""Outputs of a problem as a table with one column for each group of classes.

The unknowns are a matrix, contrasts within groups of classes, and a bias. The table is linear in them. Without groups
the matrix is ``Z`` itself, there are no contrasts, and the columns are the classes.

Classes with one count and affine one-hot labels are interchangeable. The minimizer is unique, so it has their
symmetry: ``Z = Σ_g ζ_g P_g + Σ_gh χ_g z_gh χ_hᵀ`` with ``P_g`` the contrasts within group g and ``χ_g`` its unit
indicator. Its singular values are ``|ζ_g|``, K_g - 1 times each, and those of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.encodings import Encoding
from encollapse.ufm.minimum import Factors
from encollapse.ufm.mse.factors import balanced_factors
from encollapse.ufm.mse.minimize import ThinSVD
from encollapse.ufm.structured.by_count import BlockFactors, CountGroups


class OutputMap(Protocol):
    """The linear map from the unknowns to the outputs."""

    @property
    def targets(self) -> FloatArray:
        """Target of each group of outputs in each group of classes, (R, C)."""

    @property
    def copies(self) -> FloatArray:
        """Outputs that each entry stands for, (R, C)."""

    @property
    def weights(self) -> FloatArray:
        """Share of the samples in each column, (C,)."""

    @property
    def outputs(self) -> FloatArray:
        """Outputs that each entry of the bias stands for, (p,)."""

    @property
    def contrasts(self) -> FloatArray:
        """How often each contrast is a singular value, (g,), or empty without groups."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix, (n, m)."""

    @property
    def steepness(self) -> float:
        """Largest second derivative of the fit in the unknowns over that of the loss in the outputs."""

    @property
    def separable(self) -> bool:
        """Whether each column of the outputs is one of the matrix times its weight, as splitting needs it."""

    @property
    def direction(self) -> FloatArray:
        """Unit vector w (m,): a bias adds ``(√outputs ∘ b) wᵀ`` to the matrix."""

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (R, C)."""

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`: parts for the matrix, the contrasts and the bias."""

    def spread(self, bias: FloatArray) -> FloatArray:
        """Write one number an output (p,) into every column."""

    def mean(self, table: FloatArray) -> FloatArray:
        """Average of a table over the samples, one number an output (p,)."""

    def every_bias(self, bias: FloatArray) -> FloatArray:
        """Return the bias of each output (q,)."""

    def factors(
        self, left: FloatArray, singular: FloatArray, right: FloatArray, contrast: FloatArray, balance: float
    ) -> Factors:
        """Return classifier and class means for ``matrix = left diag(singular) right``."""


@dataclass(frozen=True, eq=False)
class DenseOutputMap:
    """One column a class: ``Z diag(1/u) + b 1ᵀ``."""

    targets: FloatArray
    copies: FloatArray
    weights: FloatArray
    outputs: FloatArray
    contrasts: FloatArray
    shape: tuple[int, int]
    root_priors: FloatArray
    steepness: float = 1.0
    separable: bool = True

    @classmethod
    def of(cls, targets: FloatArray, priors: FloatArray) -> DenseOutputMap:
        """Make the table of targets (q, K) and class frequencies (K,)."""
        q, k = targets.shape
        # A view without memory of its own: every entry stands for one output.
        copies = np.broadcast_to(np.ones(()), (q, k))
        return cls(targets, copies, priors, np.ones(q), np.zeros(0), (q, k), np.sqrt(priors))

    @property
    def direction(self) -> FloatArray:
        """``u``."""
        return self.root_priors

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (q, K)."""
        del contrast
        table = matrix / self.root_priors
        table += bias[:, None]
        return table

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`."""
        return table / self.root_priors, np.zeros(0), table.sum(axis=1)

    def spread(self, bias: FloatArray) -> FloatArray:
        """Write (q,) into every column."""
        return np.broadcast_to(bias[:, None], self.shape)

    def mean(self, table: FloatArray) -> FloatArray:
        """Average over the samples."""
        return np.asarray(table @ self.weights)

    def every_bias(self, bias: FloatArray) -> FloatArray:
        """Return the bias itself."""
        return bias.copy()

    def factors(
        self, left: FloatArray, singular: FloatArray, right: FloatArray, contrast: FloatArray, balance: float
    ) -> Factors:
        """Return dense factors."""
        del contrast
        return balanced_factors(left, singular, right, self.root_priors, balance)


@dataclass(frozen=True, eq=False)
class BlockOutputMap:
    """One column a group of classes, a row for the other classes of each group, and last the class itself."""

    targets: FloatArray
    copies: FloatArray
    weights: FloatArray
    outputs: FloatArray
    contrasts: FloatArray
    shape: tuple[int, int]
    encoding: Encoding
    count_groups: CountGroups
    steepness: float = 1.0
    separable: bool = True

    @classmethod
    def of(cls, encoding: Encoding, count_groups: CountGroups, on: float, off: float) -> BlockOutputMap:
        """Make the table of an encoding with targets `on` for the own class and `off` elsewhere."""
        sizes = count_groups.sizes
        g = len(sizes)
        copies = np.vstack([np.tile(sizes[:, None], g) - np.eye(g), np.ones(g)])
        targets = np.vstack([np.full((g, g), off), np.full(g, on)])
        weights = sizes * count_groups.root_priors**2
        return cls(targets, copies, weights, sizes, sizes - 1, (g, g), encoding, count_groups)

    @property
    def direction(self) -> FloatArray:
        """``√K_g u_g``."""
        return np.asarray(np.sqrt(self.count_groups.sizes) * self.count_groups.root_priors)

    def forward(self, matrix: FloatArray, contrast: FloatArray, bias: FloatArray) -> FloatArray:
        """Return the outputs, shape (G + 1, G)."""
        kappa, u = np.sqrt(self.count_groups.sizes), self.count_groups.root_priors
        other = matrix / np.outer(kappa, kappa * u) + bias[:, None]
        index = np.arange(len(u))
        other[index, index] -= contrast / (self.count_groups.sizes * u)
        return np.vstack([other, other[index, index] + contrast / u])

    def adjoint(self, table: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the adjoint of `forward`."""
        kappa, u = np.sqrt(self.count_groups.sizes), self.count_groups.root_priors
        index = np.arange(len(u))
        full = table[:-1].copy()
        full[index, index] += table[-1]
        contrast = (table[-1] - full[index, index] / self.count_groups.sizes) / u
        return full / np.outer(kappa, kappa * u), contrast, full.sum(axis=1)

    def spread(self, bias: FloatArray) -> FloatArray:
        """Write (G,) into every column."""
        return np.vstack([np.broadcast_to(bias[:, None], self.shape), bias])

    def mean(self, table: FloatArray) -> FloatArray:
        """Average over the samples, for one output of each group."""
        total = self.adjoint(table * self.copies * self.weights)[2]
        return np.asarray(total / self.outputs)

    def every_bias(self, bias: FloatArray) -> FloatArray:
        """Return the bias of each output (K,)."""
        return np.asarray(bias[self.count_groups.groups])

    def factors(
        self, left: FloatArray, singular: FloatArray, right: FloatArray, contrast: FloatArray, balance: float
    ) -> Factors:
        """Return factors in blocks."""
        return BlockFactors(
            encoding=self.encoding,
            count_groups=self.count_groups,
            sign=np.sign(contrast),
            contrast=np.abs(contrast),
            small=ThinSVD(left, singular, right),
            scale=1.0,
            balance=balance,
        )
