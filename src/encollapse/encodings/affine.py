"""Affine images of one-hot labels: ``scale · I + offset · 11ᵀ``, kept as two numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.shifted import Shifted
from encollapse.errors import ArgumentError


class AffineOneHot(Encoding):
    """The encoding ``scale · I + offset · 11ᵀ``: `scale + offset` on the own class, `offset` elsewhere.

    Nothing of size K × K is built unless `codewords` or `gram` is asked for.
    """

    def __init__(
        self, num_classes: int, scale: float, offset: float, *, name: str, classes: Sequence[str] | None = None
    ) -> None:
        self._setup(num_classes, num_classes, name, classes)
        self._scale = checks.real(scale, "scale")
        self._offset = checks.real(offset, "offset")
        self._frozen = True

    @property
    def scale(self) -> float:
        """Difference between the entry of the own class and the others."""
        return self._scale

    @property
    def offset(self) -> float:
        """Entry of every other class."""
        return self._offset

    def _build(self) -> FloatArray:
        dense = np.full((self._num_classes, self._num_classes), self._offset)
        np.fill_diagonal(dense, self._scale + self._offset)
        return dense

    def _combine(self, weights: FloatArray) -> FloatArray:
        return np.asarray(self._scale * weights + self._offset * weights.sum())

    def centered(self, priors: ArrayLike | None = None) -> Encoding:
        """Return the encoding with its mean codeword (under `priors`) taken off: again affine for equal priors."""
        weights = checks.class_priors(priors, self._num_classes)
        name = f"{self._name} (centered)"
        if np.ptp(weights) == 0:
            offset = -self._scale / self._num_classes
            return AffineOneHot(self._num_classes, self._scale, offset, name=name, classes=self._classes)
        return Shifted(self, self._combine(weights), name=name)

    def gram(self) -> FloatArray:
        """Inner products of the codewords: again an affine image of one-hot."""
        self._refuse_above_limit("gram", self._num_classes)
        a, b = self._scale, self._offset
        gram = np.full((self._num_classes, self._num_classes), 2 * a * b + self._num_classes * b * b)
        gram[np.diag_indices_from(gram)] += a * a
        return gram

    def _encode(self, labels: IntArray) -> FloatArray:
        rows = np.full((len(labels), self._num_classes), self._offset)
        rows[np.arange(len(labels)), labels] += self._scale
        return rows

    def _decode(self, outputs: FloatArray) -> IntArray:
        # All codewords have one norm, so the nearest one has the largest inner product.
        return np.asarray((np.sign(self._scale) * outputs).argmax(axis=1), dtype=np.int64)

    def _decode_logits(self, outputs: FloatArray) -> IntArray:
        # They have one entropy too; whether they are distributions shows in two of them.
        few = np.array([self._offset, self._scale + self._offset])
        total = self._scale + self._num_classes * self._offset
        if few.min() < 0 or abs(total - 1.0) > 1e-9:
            return super()._decode_logits(outputs)
        return self._decode(outputs)


def one_hot(num_classes: int, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """One-hot labels: the identity matrix.

    Balanced UFM minimizers move from a simplex equiangular tight frame to an orthogonal frame as the
    bias regularization grows :cite:p:`massion2026`.
    """
    return AffineOneHot(num_classes, 1.0, 0.0, name="one-hot", classes=classes)


def label_smoothing(num_classes: int, smoothing: float, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """Smoothed one-hot labels ``(1 - δ) I + δ/K`` with ``δ = smoothing`` in [0, 1] :cite:p:`szegedy2016`.

    Raises
    ------
    ArgumentError
        If `smoothing` is outside [0, 1]. At 1 all codewords coincide.
    """
    delta = checks.nonnegative(smoothing, "smoothing")
    if delta > 1:
        raise ArgumentError(f"smoothing: expected a number from 0 to 1, got {delta}")
    k = checks.integer(num_classes, "num_classes", minimum=2)
    return AffineOneHot(k, 1.0 - delta, delta / k, name="label-smoothing", classes=classes)


def scaled_one_hot(
    num_classes: int, *, on: float, off: float = 0.0, classes: Sequence[str] | None = None
) -> AffineOneHot:
    """One-hot labels with the value `on` for the own class and `off` elsewhere :cite:p:`hui2021`."""
    high, low = _finite(on, "on"), _finite(off, "off")
    return AffineOneHot(num_classes, high - low, low, name="scaled-one-hot", classes=classes)


def one_vs_rest(num_classes: int, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """Labels of ±1: +1 for the own class, -1 elsewhere :cite:p:`rifkin2004`."""
    return AffineOneHot(num_classes, 2.0, -1.0, name="one-vs-rest", classes=classes)


def _finite(value: float, name: str) -> float:
    number = checks.real(value, name)
    if not np.isfinite(number):
        raise ArgumentError(f"{name}: expected a finite number, got {number}")
    return number
