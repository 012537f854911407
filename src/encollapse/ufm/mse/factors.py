"""The minimizing classifier and class means, in whichever form they were found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.geometry.lazy_matrix import DiagonalAndForm, FormMatrix, LazyMatrix
from encollapse.ufm.minimum import GeometryFields
from encollapse.ufm.mse.minimize import ThresholdedLabels

_UNLEARNT = 64 * EPS  # of the longest class mean: a shorter one is rounding


@dataclass(frozen=True, eq=False)
class DenseFactors:
    """Classifier (q, r) and class means (r, K) in the smallest feature space, and all singular values of Z.

    With `rotatable` any rotation of the feature space gives another minimizer. Features with a sign
    constraint are only padded.
    """

    weight: FloatArray
    means: FloatArray
    values: FloatArray
    rotatable: bool = True

    @property
    def rank(self) -> int:
        """Number of directions that are learned."""
        return self.dimension

    @property
    def dimension(self) -> int:
        """Number of rows of the class means."""
        return int(self.weight.shape[1])

    def scaled(self, weight: float, means: float) -> DenseFactors:
        """Multiply the classifier and the class means, each by a number."""
        return replace(
            self, weight=self.weight * weight, means=self.means * means, values=self.values * (weight * means)
        )

    def singular_values(self) -> FloatArray:
        """Return all singular values of Z."""
        return self.values

    def geometry_fields(self) -> GeometryFields:
        """Return the Gram matrices and the outputs, a (K, K) matrix above the memory limit only on demand."""
        k = self.means.shape[1]
        gram = LazyMatrix((k, k), partial(np.matmul, self.means.T, self.means))
        return {
            "feature_gram": gram if 8 * k * k > memory.DENSE_LIMIT_BYTES else gram.build(),
            "classifier_gram": self.weight @ self.weight.T,
            "class_outputs": self.weight @ self.means,
        }

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Embed in `feature_dim` dimensions, by a random rotation where that is free."""
        d = checks.integer(feature_dim, "feature_dim", minimum=1)
        if d < self.dimension:
            raise ArgumentError(f"feature_dim: the minimizer has rank {self.rank}, which {d} dimensions cannot hold")
        memory.require_room(
            "parameters", d, max(self.weight.shape[0], self.means.shape[1]), instead="geometry does without"
        )
        generator = np.random.default_rng(checks.integer(seed, "seed", minimum=0))
        if self.rotatable:
            frame, _ = np.linalg.qr(generator.standard_normal((d, max(self.dimension, 1))))
            frame = frame[:, : self.dimension]
        else:
            frame = np.eye(d, self.dimension)
        return self.weight @ frame.T, frame @ self.means


def weighted_means(singular: FloatArray, right: FloatArray) -> FloatArray:
    """``√Σ Vᵀ`` (r, K), exactly 0 for a class that is not learned.

    What rounding leaves there would become a mean with a direction, once divided by a small u.
    """
    weighted: FloatArray = np.sqrt(singular)[:, None] * right
    lengths = np.linalg.norm(weighted, axis=0)
    weighted[:, lengths <= _UNLEARNT * lengths.max(initial=0.0)] = 0.0
    return weighted


def balanced_factors(
    left: FloatArray, singular: FloatArray, right: FloatArray, root_priors: FloatArray, balance: float
) -> DenseFactors:
    """Split ``Z = left diag(singular) right`` as ``W = g U √Σ`` and ``M = √Σ Vᵀ diag(u)^{-1} / g``.

    `balance` is ``g = (N λ_H/λ_W)^{1/4}`` (docs/theory.md). ``(N λ_W/λ_H)^{1/4} diag(n)^{-1/2}`` is ``diag(u)^{-1}/g``.
    """
    weighted = weighted_means(singular, right)
    values = np.zeros(min(left.shape[0], right.shape[1]))
    values[: len(singular)] = singular
    return DenseFactors(balance * left * np.sqrt(singular), weighted / root_priors / balance, values)


@dataclass(frozen=True, eq=False)
class LazyFactors:
    """The balanced factors of outputs, composed when they are asked for.

    `scale` is that of the labels.
    """

    outputs: ThresholdedLabels
    scale: float
    balance: float

    @property
    def rank(self) -> int:
        """Number of directions that are learned."""
        return self.outputs.rank

    @property
    def dimension(self) -> int:
        """The rank: a rotation takes the class means there."""
        return self.outputs.rank

    def singular_values(self) -> FloatArray:
        """Singular values of Z, (min(q, K),)."""
        return self.outputs.singular * self.scale

    def dense(self) -> DenseFactors:
        """Compose them."""
        t = self.outputs.triplets()
        roots = self.outputs.label_svd.labels.root_priors
        return balanced_factors(t.left, t.singular * self.scale, t.right, roots, self.balance)

    def geometry_fields(self) -> GeometryFields:
        """Return the Gram matrices and the outputs, each built on first use."""
        q, k = self.outputs.label_svd.labels.centered.shape
        return {
            "feature_gram": FormMatrix((k, k), self._feature_gram, self._diagonal_and_form),
            "classifier_gram": LazyMatrix((q, q), self._classifier_gram),
            "class_outputs": LazyMatrix((q, k), self._class_outputs),
        }

    def parameters(self, feature_dim: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Embed in `feature_dim` dimensions by a random rotation."""
        return self.dense().parameters(feature_dim, seed)

    def _feature_gram(self) -> FloatArray:
        means = self.dense().means
        return np.asarray(means.T @ means)

    def _classifier_gram(self) -> FloatArray:
        weight = self.dense().weight
        return np.asarray(weight @ weight.T)

    def _class_outputs(self) -> FloatArray:
        factors = self.dense()
        return np.asarray(factors.weight @ factors.means)

    def _diagonal_and_form(self) -> DiagonalAndForm:
        """Squared norms of the class means and their quadratic form, if possible without composing anything."""
        known = self.outputs.magnitudes()
        roots = self.outputs.label_svd.labels.root_priors
        if known is None:
            means = self.dense().means
            return np.einsum("ij,ij->j", means, means), lambda w: float(np.sum((means @ w) ** 2))
        squares, form = known
        unit = self.scale / self.balance**2
        return squares / roots**2 * unit, lambda w: form(w / roots) * unit
