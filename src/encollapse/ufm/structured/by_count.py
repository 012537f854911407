"""Affine images of one-hot labels with few distinct class counts: any number of classes.

Classes with one count are interchangeable. For each group g (K_g classes, root prior u_g) the labels
``A = (α I + γ 11ᵀ) diag(u)`` act on contrasts within the group as ``α u_g``, with multiplicity K_g - 1 and untouched by
the bias. What is left is a G × G problem on the span of the groups' indicator vectors. The simplex is the case
``α = √(K/(K-1)), γ = -α/K`` seen through an isometry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.structured import AffineOneHot, Simplex
from encollapse.geometry.lazy_matrix import BlockMatrix, EntryMatrix, LazyMatrix
from encollapse.ufm.certificate import certify
from encollapse.ufm.minimum import GeometryFields, Minimum
from encollapse.ufm.mse.factors import balanced_factors, weighted_means
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.minimize import ThinSVD, minimize_along
from encollapse.ufm.mse.weighted_labels import WeightedLabels, unit_near
from encollapse.ufm.structured.long_tail import LongTail, TailGram, TailOutputs, minimize_tail


def affine_form(encoding: Encoding) -> tuple[float, float] | None:
    """Return (α, γ) of ``α I + γ 11ᵀ`` with the Gram matrix of the encoding, or None if it is not of this form."""
    if isinstance(encoding, AffineOneHot):
        return encoding.scale, encoding.offset
    if isinstance(encoding, Simplex):
        k = encoding.num_classes
        alpha = math.sqrt(k / (k - 1.0))
        return alpha, -alpha / k
    return None


@dataclass(frozen=True, eq=False)
class CountGroups:
    """Classes grouped by their count.

    Attributes
    ----------
    groups : (K,) ints
        Group of each class.
    sizes : (G,)
        Classes of each group.
    root_priors : (G,)
        ``√π`` of a class of each group.
    """

    groups: IntArray
    sizes: FloatArray
    root_priors: FloatArray

    @classmethod
    def of(cls, counts: IntArray) -> CountGroups:
        """Group the classes by their counts (K,)."""
        values, groups, sizes = np.unique(counts, return_inverse=True, return_counts=True)
        roots = np.sqrt(values / counts.sum())
        return cls(groups.astype(np.int64), sizes.astype(np.float64), roots)

    def long_tail(self, alpha: float, gamma: float) -> LongTail:
        """Return the same labels as :meth:`labels` without a matrix."""
        scale = _scale(alpha, gamma)
        return LongTail(scale, alpha / scale, gamma / scale, self.root_priors, np.sqrt(self.sizes))

    def labels(self, alpha: float, gamma: float) -> WeightedLabels:
        """Labels on the span of the groups' unit indicator vectors, shape (G, G).

        ``γ`` drops out of the centered part: ``A_c = α (diag(u) - (u²κ)(uκ)ᵀ)`` with ``κ = √K_g``.
        """
        scale = _scale(alpha, gamma)
        u, kappa = self.root_priors, np.sqrt(self.sizes)
        centered = (alpha / scale) * (np.diag(u) - np.outer(u**2 * kappa, u * kappa))
        mean = kappa * ((alpha / scale) * u**2 + gamma / scale)
        return WeightedLabels(scale, centered, u * kappa, mean)


def _scale(alpha: float, gamma: float) -> float:
    return unit_near(max(abs(alpha + gamma), abs(gamma), abs(alpha)))


class OnCountGroups(Protocol):
    """Outputs on the indicator vectors of the groups, before any scaling."""

    @property
    def rank(self) -> int:
        """Number of positive singular values."""

    @property
    def singular(self) -> FloatArray:
        """The singular values, descending, and perhaps zeros."""

    def triplets(self) -> ThinSVD:
        """Return the singular triplets."""


@dataclass(frozen=True, eq=False)
class BlockFactors:
    """Classifier and class means that differ between classes by their group only.

    Attributes
    ----------
    sign, contrast : (G,)
        Of the singular values within the groups.
    small : OnCountGroups
        The outputs on the groups, in units of `scale`.
    """

    encoding: Encoding
    count_groups: CountGroups
    sign: float | FloatArray
    contrast: FloatArray
    small: OnCountGroups
    scale: float
    balance: float

    @property
    def rank(self) -> int:
        """Number of directions that are learned."""
        learned = self.contrast > 0
        return int(self.count_groups.sizes[learned].sum() - learned.sum()) + self.small.rank

    @property
    def dimension(self) -> int:
        """The rank: a rotation takes the class means there."""
        return self.rank

    def singular_values(self) -> FloatArray:
        """Return all min(q, K) singular values of Z, descending."""
        values = self.small.singular
        padded = np.zeros(len(self.contrast))
        padded[: len(values)] = values * self.scale
        copies = (self.count_groups.sizes - 1).astype(np.int64)
        spectrum = np.sort(np.concatenate([np.repeat(self.contrast, copies), padded]))[::-1]
        return spectrum[: min(self.encoding.code_dim, self.encoding.num_classes)].copy()

    def _block(self, contrast: FloatArray, small: FloatArray, scale: FloatArray) -> BlockMatrix:
        """``Σ_g contrast_g P_g + Σ_gh χ_g small_gh χ_hᵀ`` (P_g: contrasts of group g), entries times `scale` (G, G)."""
        kappa = np.sqrt(self.count_groups.sizes)
        blocks = small / np.outer(kappa, kappa) - np.diag(contrast / self.count_groups.sizes)
        return BlockMatrix(self.count_groups.groups, blocks * scale, contrast * np.diag(scale))

    def geometry_fields(self) -> GeometryFields:
        """Return the Gram matrices and the outputs, none of them dense."""
        if isinstance(self.small, TailOutputs):
            q, k = self.encoding.code_dim, self.encoding.num_classes
            tail = TailGram(
                self.small, self.count_groups.groups, self.count_groups.root_priors, self.contrast, self._unit
            )
            return {
                "feature_gram": EntryMatrix((k, k), self._dense_feature_gram, tail.diagonal_and_form, tail.entry),
                "classifier_gram": LazyMatrix((q, q), partial(self._dense, "classifier_gram")),
                "class_outputs": LazyMatrix((q, k), partial(self._dense, "class_outputs")),
            }
        return {
            "feature_gram": self._feature_gram(self.small.triplets()),
            "classifier_gram": self._classifier_gram(self.small.triplets()),
            "class_outputs": self._class_outputs(self.small.triplets()),
        }

    @property
    def _unit(self) -> float:
        return self.scale / self.balance**2

    def _feature_gram(self, t: ThinSVD) -> BlockMatrix:
        u = self.count_groups.root_priors
        means = weighted_means(t.singular * self.scale, t.right)
        return self._block(self.contrast, means.T @ means, 1.0 / np.outer(u, u) / self.balance**2)

    def _classifier_gram(self, t: ThinSVD) -> BlockMatrix | LazyMatrix:
        scale = np.full((len(self.contrast),) * 2, self.balance**2)
        absolute = (t.left * (t.singular * self.scale)) @ t.left.T
        return self._seen(self._block(self.contrast, absolute, scale), both_sides=True)

    def _class_outputs(self, t: ThinSVD) -> BlockMatrix | LazyMatrix:
        u = self.count_groups.root_priors
        outputs = (t.left * (t.singular * self.scale)) @ t.right
        scale = np.broadcast_to(1.0 / u, (len(u), len(u)))
        return self._seen(self._block(self.sign * self.contrast, outputs, scale), both_sides=False)

    def _dense_feature_gram(self) -> FloatArray:
        return self._feature_gram(self.small.triplets()).dense("feature_gram")

    def _dense(self, name: str) -> FloatArray:
        build = self._classifier_gram if name == "classifier_gram" else self._class_outputs
        return build(self.small.triplets()).dense(name)

    def _seen(self, matrix: BlockMatrix, *, both_sides: bool) -> BlockMatrix | LazyMatrix:
        """Undo the isometry of the simplex."""
        if isinstance(self.encoding, AffineOneHot):
            return matrix
        q, k = self.encoding.code_dim, self.encoding.num_classes
        return LazyMatrix((q, q if both_sides else k), partial(_rotate, self.encoding, matrix, both_sides))

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return one pair of dense parameters, where memory allows."""
        q, k = self.encoding.code_dim, self.encoding.num_classes
        checks.integer(feature_dim, "feature_dim", minimum=1)
        memory.require_room("parameters", max(q, k), feature_dim, instead="geometry does without them")
        u = self.count_groups.root_priors[self.count_groups.groups]
        outputs = self._dense("class_outputs") * u
        left, singular, right = np.linalg.svd(outputs, full_matrices=False)
        rank = self.rank
        factors = balanced_factors(left[:, :rank], singular[:rank], right[:rank], u, self.balance)
        return factors.parameters(feature_dim, seed)


def _rotate(encoding: Encoding, matrix: BlockMatrix, both_sides: bool) -> FloatArray:
    isometry = encoding.codewords / math.sqrt(encoding.num_classes / (encoding.num_classes - 1.0))
    seen = isometry @ matrix.dense("class_outputs")
    return np.asarray(seen @ isometry.T if both_sides else seen)


def minimize_blocks(
    encoding: Encoding,
    count_groups: CountGroups,
    labels: LabelSVD | LongTail,
    threshold: float,
    bias_decays: FloatArray,
    balance: float,
) -> list[Minimum[BlockFactors]]:
    """Solve the G × G problem of `labels` at each bias decay (m,) and add the contrasts within the groups.

    Parameters
    ----------
    encoding, count_groups
        With an affine form.
    labels : LabelSVD or LongTail
        Of ``count_groups.labels(*affine_form(encoding))``, or these labels without a decomposition.
    threshold, bias_decays, balance
        c and the ``λ_b`` of the problem, and ``(N λ_H/λ_W)^{1/4}``.
    """
    form = affine_form(encoding)
    if form is None:
        raise TypeError(f"{encoding!r} is not an affine image of one-hot labels")
    if isinstance(labels, LongTail) and labels.is_buried and bias_decays.any():
        g = len(count_groups.sizes)
        memory.require_room("labels with so large a common mean", g, g, instead="take it off, or use bias_decay=0")
        labels = LabelSVD.of(count_groups.labels(*form))
    scale = labels.scale if isinstance(labels, LongTail) else labels.labels.scale
    c = threshold / scale
    values = abs(form[0]) / scale * count_groups.root_priors
    copies = count_groups.sizes - 1
    excess = values - c
    contrast = np.where(excess > 8 * EPS * np.maximum(values, c), excess, 0.0)
    huber = np.where(contrast > 0, c * (values - 0.5 * c), 0.5 * values**2)
    inert = float(copies @ huber)
    minimizers: Sequence[Minimum[OnCountGroups]] = (
        minimize_tail(labels, c, bias_decays)
        if isinstance(labels, LongTail)
        else minimize_along(labels, c, bias_decays)
    )
    result = []
    for small in minimizers:
        loss = small.loss + inert
        factors = BlockFactors(
            encoding=encoding,
            count_groups=count_groups,
            sign=math.copysign(1.0, form[0]),
            contrast=contrast * scale,
            small=small.factors,
            scale=scale,
            balance=balance,
        )
        per_class = (small.bias / np.sqrt(count_groups.sizes))[count_groups.groups]
        bias = per_class if isinstance(encoding, AffineOneHot) else encoding.combine(per_class) / form[0]
        certificate = certify(loss, small.certificate.lower_bound + inert)
        result.append(replace(small, loss=loss, bias=bias, certificate=certificate).in_units(scale, factors))
    return result
