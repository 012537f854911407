"""The simplex: unit codewords with all cosines equal to ``-1/(K - 1)``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.shifted import Shifted


class Simplex(Encoding):
    """Vertices of a regular simplex in Helmert coordinates, padded with zeros to `code_dim`.

    Column k of the Helmert matrix is 0 above row k - 1, then ``-k/√(k(k+1))``, then ``1/√(j(j+1))``;
    encoding and decoding use that pattern, so nothing of size K × K is built unless `codewords` is read.
    """

    def __init__(self, num_classes: int, code_dim: int | None, *, classes: Sequence[str] | None = None) -> None:
        k = checks.integer(num_classes, "num_classes", minimum=2)
        q = (
            k - 1
            if code_dim is None
            else checks.integer(
                code_dim, "code_dim", minimum=k - 1, why=f"{k} points with equal angles span {k - 1} dimensions"
            )
        )
        self._setup(k, q, "simplex", classes)
        j = np.arange(1, k, dtype=np.float64)
        scale = np.sqrt(k / (k - 1.0))
        self._tail = checks.read_only(scale / np.sqrt(j * (j + 1)))
        self._pivot = checks.read_only(-scale * np.sqrt(j / (j + 1)))
        self._frozen = True

    def _build(self) -> FloatArray:
        return np.ascontiguousarray(self._encode(np.arange(self._num_classes)).T)

    def _combine(self, weights: FloatArray) -> FloatArray:
        result = np.zeros(self._code_dim)
        if np.ptp(weights) > 0:  # equal weights give exactly zero
            before = np.cumsum(weights)[:-1]
            result[: self._num_classes - 1] = self._tail * before + self._pivot * weights[1:]
        return result

    def centered(self, priors: ArrayLike | None = None) -> Encoding:
        """Return the encoding with its mean codeword (under `priors`) taken off: unchanged for equal priors."""
        weights = checks.class_priors(priors, self._num_classes)
        if np.ptp(weights) == 0:
            return self
        return Shifted(self, self._combine(weights), name=f"{self._name} (centered)")

    def gram(self) -> FloatArray:
        """Inner products: 1 on the diagonal, ``-1/(K - 1)`` elsewhere."""
        self._refuse_above_limit("gram", self._num_classes)
        gram = np.full((self._num_classes, self._num_classes), -1.0 / (self._num_classes - 1))
        np.fill_diagonal(gram, 1.0)
        return gram

    def _encode(self, labels: IntArray) -> FloatArray:
        k = self._num_classes
        rows = np.zeros((len(labels), self._code_dim))
        rows[:, : k - 1] = np.where(np.arange(k - 1) >= labels[:, None], self._tail, 0.0)
        own = np.flatnonzero(labels)
        rows[own, labels[own] - 1] = self._pivot[labels[own] - 1]
        return rows

    def _decode(self, outputs: FloatArray) -> IntArray:
        k = self._num_classes
        weighted = outputs[:, : k - 1] * self._tail
        scores = np.zeros((len(outputs), k))
        scores[:, : k - 1] = np.cumsum(weighted[:, ::-1], axis=1)[:, ::-1]
        scores[:, 1:] += outputs[:, : k - 1] * self._pivot
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def simplex(num_classes: int, code_dim: int | None = None, *, classes: Sequence[str] | None = None) -> Simplex:
    """Unit codewords with cosines ``-1/(K - 1)``: a simplex equiangular tight frame :cite:p:`papyan2020`.

    The mean codeword is zero, so for balanced data the optimal bias is zero at every bias regularization.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    code_dim : int, optional
        Length of a codeword, at least K - 1 (the default).
    classes : sequence of str, optional
        Names of the classes.
    """
    return Simplex(num_classes, code_dim, classes=classes)
