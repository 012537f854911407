"""Affine images of one-hot labels with few distinct class counts: any number of classes.

Classes with one count are interchangeable. For each kind g (K_g classes, root prior u_g) the labels
``A = (α I + γ 11ᵀ) diag(u)`` act on contrasts within the kind as ``α u_g``, with multiplicity K_g - 1 and untouched by
the bias; what is left is a G × G problem on the span of the kinds' indicator vectors. The simplex is the case
``α = √(K/(K-1)), γ = -α/K`` seen through an isometry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from encollapse import _checks, _memory
from encollapse._typing import FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.affine import AffineOneHot
from encollapse.encodings.simplex import Simplex
from encollapse.geometry.block_matrix import BlockMatrix, LazyMatrix
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.factors import GeometryFields, balanced_factors
from encollapse.ufm.labels import WeightedLabels
from encollapse.ufm.mse import minimise
from encollapse.ufm.reduction import EPS, Reduction


def affine_form(encoding: Encoding) -> tuple[float, float] | None:
    """Return (α, γ) of ``α I + γ 11ᵀ`` with the Gram matrix of the encoding, or None if it is not of this kind."""
    if isinstance(encoding, AffineOneHot):
        return encoding.scale, encoding.offset
    if isinstance(encoding, Simplex):
        k = encoding.num_classes
        alpha = math.sqrt(k / (k - 1.0))
        return alpha, -alpha / k
    return None


@dataclass(frozen=True, eq=False)
class Kinds:
    """Classes grouped by their count.

    Attributes
    ----------
    groups : (K,) ints
        Kind of each class.
    sizes : (G,)
        Classes of each kind.
    root_priors : (G,)
        ``√π`` of a class of each kind.
    """

    groups: IntArray
    sizes: FloatArray
    root_priors: FloatArray

    @classmethod
    def of(cls, counts: IntArray) -> Kinds:
        """Group the classes by their counts (K,)."""
        values, groups, sizes = np.unique(counts, return_inverse=True, return_counts=True)
        roots = np.sqrt(values / counts.sum())
        return cls(groups.astype(np.int64), sizes.astype(np.float64), roots)

    def labels(self, alpha: float, gamma: float) -> WeightedLabels:
        """Labels on the span of the kinds' unit indicator vectors, shape (G, G).

        ``γ`` drops out of the centred part: ``A_c = α (diag(u) - (u²κ)(uκ)ᵀ)`` with ``κ = √K_g``.
        """
        scale = max(abs(alpha + gamma), abs(gamma), abs(alpha)) or 1.0
        u, kappa = self.root_priors, np.sqrt(self.sizes)
        centered = (alpha / scale) * (np.diag(u) - np.outer(u**2 * kappa, u * kappa))
        mean = kappa * ((alpha / scale) * u**2 + gamma / scale)
        return WeightedLabels(scale, centered, u * kappa, mean)


@dataclass(frozen=True, eq=False)
class BlockFactors:
    """Classifier and class means that differ between classes by their kind only."""

    encoding: Encoding
    kinds: Kinds
    sign: float | FloatArray
    contrast: FloatArray
    left: FloatArray
    singular: FloatArray
    right: FloatArray
    balance: float

    @property
    def rank(self) -> int:
        """Smallest feature dimension that holds the class means."""
        learnt = self.contrast > 0
        return int(self.kinds.sizes[learnt].sum() - learnt.sum()) + len(self.singular)

    def _block(self, contrast: FloatArray, small: FloatArray, scale: FloatArray) -> BlockMatrix:
        """``Σ_g contrast_g P_g + Σ_gh χ_g small_gh χ_hᵀ`` (P_g: contrasts of kind g), entries times `scale` (G, G)."""
        kappa = np.sqrt(self.kinds.sizes)
        blocks = small / np.outer(kappa, kappa) - np.diag(contrast / self.kinds.sizes)
        return BlockMatrix(self.kinds.groups, blocks * scale, contrast * np.diag(scale))

    def geometry_fields(self) -> GeometryFields:
        """Return the Gram matrices and the outputs, none of them dense."""
        u = self.kinds.root_priors
        ones = np.ones((len(u), len(u)))
        absolute = (self.right.T * self.singular) @ self.right
        classifier = self._block(
            self.contrast, (self.left * self.singular) @ self.left.T, ones * self.balance**2
        )
        outputs = self._block(
            self.sign * self.contrast, (self.left * self.singular) @ self.right, ones / u[None, :]
        )
        return {
            "feature_gram": self._block(self.contrast, absolute, 1.0 / np.outer(u, u) / self.balance**2),
            "classifier_gram": self._seen(classifier, both_sides=True),
            "class_outputs": self._seen(outputs, both_sides=False),
        }

    def _seen(self, matrix: BlockMatrix, *, both_sides: bool) -> BlockMatrix | LazyMatrix:
        """Undo the isometry of the simplex."""
        if isinstance(self.encoding, AffineOneHot):
            return matrix
        q, k = self.encoding.code_dim, self.encoding.num_classes
        return LazyMatrix((q, q if both_sides else k), partial(_rotate, self.encoding, matrix, both_sides))

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return one pair of dense parameters, where memory allows."""
        q, k = self.encoding.code_dim, self.encoding.num_classes
        _memory.require_room("parameters", max(q, k), feature_dim, instead="geometry does without them")
        u = self.kinds.root_priors[self.kinds.groups]
        value = self.geometry_fields()["class_outputs"]
        outputs = value.dense("class_outputs") * u
        left, singular, right = np.linalg.svd(outputs, full_matrices=False)
        rank = self.rank
        factors = balanced_factors(left[:, :rank], singular[:rank], right[:rank], u, self.balance)
        return factors.parameters(feature_dim, seed)


def _rotate(encoding: Encoding, matrix: BlockMatrix, both_sides: bool) -> FloatArray:
    isometry = encoding.codewords / math.sqrt(encoding.num_classes / (encoding.num_classes - 1.0))
    seen = isometry @ matrix.dense("class_outputs")
    return np.asarray(seen @ isometry.T if both_sides else seen)


@dataclass(frozen=True, eq=False)
class BlockMinimiser:
    """Minimiser of a block problem, in the units of the problem."""

    loss: float
    certificate: Certificate
    bias: FloatArray
    singular_values: FloatArray
    factors: BlockFactors
    iterations: int


def minimise_blocks(
    encoding: Encoding,
    kinds: Kinds,
    reduction: Reduction,
    threshold: float,
    bias_decay: float,
    balance: float,
) -> BlockMinimiser:
    """Solve the G × G problem of `reduction` and add the contrasts within the kinds.

    Parameters
    ----------
    encoding, kinds
        With an affine form.
    reduction : Reduction
        Of ``kinds.labels(*affine_form(encoding))``.
    threshold, bias_decay, balance : float
        c and ``λ_b`` of the problem, and ``(N λ_H/λ_W)^{1/4}``.
    """
    form = affine_form(encoding)
    if form is None:
        raise TypeError(f"{encoding!r} is not an affine image of one-hot labels")
    scale = reduction.labels.scale
    c = threshold / scale
    small = minimise(reduction, c, bias_decay)
    values = abs(form[0]) / scale * kinds.root_priors
    copies = kinds.sizes - 1
    excess = values - c
    contrast = np.where(excess > 8 * EPS * np.maximum(values, c), excess, 0.0)
    huber = np.where(contrast > 0, c * (values - 0.5 * c), 0.5 * values**2)
    inert = float(copies @ huber)
    bound = small.certificate.lower_bound + inert
    loss = small.loss + inert
    energy = reduction.labels.energy + 0.5 * float(copies @ values**2)
    certificate = certify(loss * scale**2, bound * scale**2, EPS * energy * scale**2)
    rank = small.left.shape[1]
    factors = BlockFactors(
        encoding=encoding,
        kinds=kinds,
        sign=math.copysign(1.0, form[0]),
        contrast=contrast * scale,
        left=small.left,
        singular=small.singular[:rank] * scale,
        right=small.right,
        balance=balance,
    )
    spectrum = np.concatenate([np.repeat(contrast, copies.astype(np.int64)), small.singular]) * scale
    count = min(encoding.code_dim, encoding.num_classes)
    per_class = (small.bias / np.sqrt(kinds.sizes) * scale)[kinds.groups]
    bias = per_class if isinstance(encoding, AffineOneHot) else encoding.combine(per_class) / form[0]
    return BlockMinimiser(
        loss=loss * scale**2,
        certificate=certificate,
        bias=_checks.read_only(bias),
        singular_values=_checks.read_only(np.sort(spectrum)[::-1][:count].copy()),
        factors=factors,
        iterations=small.iterations,
    )
