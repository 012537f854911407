"""Structured encodings, kept as a few numbers: affine images of one-hot labels, the simplex, and either one shifted.

Nothing of size K × K is built unless `codewords` or `gram` is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import files
from encollapse.encodings.encoding import _MOST, Encoding, first_of_nearest
from encollapse.errors import ArgumentError


class Shifted(Encoding, family="shifted"):
    """The codewords of `base` with the vector `shift` (code_dim,) taken off each.

    What :meth:`Encoding.centered` makes of an encoding whose matrix may be too large to build: it encodes, decodes,
    averages and is saved without.
    """

    def __init__(self, base: Encoding, shift: Any, *, name: str) -> None:
        self._setup(base.num_classes, base.code_dim, name, base.classes if base._classes else None)
        self._base = base
        self._shift: FloatArray = checks.read_only(
            checks.array(shift, "shift", (base.code_dim,), axes="(code_dim,)").copy()
        )
        self._frozen = True

    @property
    def base(self) -> Encoding:
        """The encoding that was moved."""
        return self._base

    @property
    def shift(self) -> FloatArray:
        """What was taken off every codeword, (code_dim,)."""
        return self._shift

    @property
    def largest_entry(self) -> float:
        """Bound of the absolute entries of the codewords."""
        return self._base.largest_entry + float(np.abs(self._shift).max())

    def _build(self) -> FloatArray:
        return np.asarray(self._base.codewords - self._shift[:, None])

    def _combine(self, weights: FloatArray) -> FloatArray:
        moved: FloatArray = self._base.combine(weights) - self._shift * weights.sum()
        return moved

    def centered(self, priors: Any = None) -> Encoding:
        """Return the encoding with its mean codeword (under `priors`) taken off every codeword."""
        return Shifted(self._base, self._base.mean(priors), name=f"{self._name} (centered)")

    def _encode(self, labels: IntArray) -> FloatArray:
        return np.asarray(self._base.encode(labels) - self._shift)

    def _decode(self, outputs: FloatArray, noise: FloatArray | float = 0.0) -> IntArray:
        # Adding the shift rounds at the level of both.
        own = EPS * (np.linalg.norm(outputs, axis=1) + float(np.linalg.norm(self._shift)))
        return self._base._decode(outputs + self._shift, noise + 4 * own)

    def _entries(self) -> dict[str, Any]:
        return {"base": files.FORMAT | self._base._record(), "shift": self._shift.tolist()}

    @classmethod
    def _from_entries(cls, record: dict[str, Any], classes: Sequence[str] | None) -> Encoding:
        base = Encoding._from_record(record["base"])
        if isinstance(base, Shifted):
            raise ArgumentError("its base is shifted too")
        return cls(base, record["shift"], name=record["name"])


class AffineOneHot(Encoding, family="affine-one-hot"):
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

    @property
    def largest_entry(self) -> float:
        """Largest absolute entry of the codewords."""
        return max(abs(self._scale + self._offset), abs(self._offset))

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

    def _decode(self, outputs: FloatArray, noise: FloatArray | float = 0.0) -> IntArray:
        # All codewords have one norm, so the nearest one has the largest inner product.
        return first_of_nearest(np.sign(self._scale) * outputs, np.asarray(noise) * np.ones(len(outputs)))

    def _decode_logits(self, outputs: FloatArray) -> IntArray:
        # They have one entropy too; whether they are distributions shows in two of them.
        few = np.array([self._offset, self._scale + self._offset])
        total = self._scale + self._num_classes * self._offset
        if few.min() < 0 or abs(total - 1.0) > 1e-9:
            return super()._decode_logits(outputs)
        return self._decode(outputs)

    def _entries(self) -> dict[str, Any]:
        return {"num_classes": self._num_classes, "scale": self._scale, "offset": self._offset}

    @classmethod
    def _from_entries(cls, record: dict[str, Any], classes: Sequence[str] | None) -> Encoding:
        numbers = record["num_classes"], record["scale"], record["offset"]
        return cls(*numbers, name=record["name"], classes=classes)


def one_hot(num_classes: int, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """One-hot labels: the identity matrix.

    Balanced UFM minimizers move from a simplex equiangular tight frame to an orthogonal frame as the
    bias regularization grows :cite:p:`massion2026`.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    AffineOneHot
        Shape (K, K), kept as two numbers.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.one_hot(3, classes=["cat", "dog", "bird"])
    >>> encoding.encode([2, 0])
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    return AffineOneHot(num_classes, 1.0, 0.0, name="one-hot", classes=classes)


def label_smoothing(num_classes: int, smoothing: float, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """Smoothed one-hot labels ``(1 - δ) I + δ/K`` with ``δ = smoothing`` in [0, 1] :cite:p:`szegedy2016`.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    smoothing : float
        Share δ of every label that is spread evenly over all classes.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    AffineOneHot
        Shape (K, K), kept as two numbers.

    Raises
    ------
    ArgumentError
        If `smoothing` is outside [0, 1]. At 1 all codewords coincide.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.label_smoothing(3, 0.3).codewords.round(2)
    array([[0.8, 0.1, 0.1],
           [0.1, 0.8, 0.1],
           [0.1, 0.1, 0.8]])
    """
    delta = checks.nonnegative(smoothing, "smoothing")
    if delta > 1:
        raise ArgumentError(f"smoothing: expected a number from 0 to 1, got {delta}")
    k = checks.integer(num_classes, "num_classes", minimum=2, maximum=_MOST)
    return AffineOneHot(k, 1.0 - delta, delta / k, name="label-smoothing", classes=classes)


def scaled_one_hot(
    num_classes: int, *, on: float, off: float = 0.0, classes: Sequence[str] | None = None
) -> AffineOneHot:
    """One-hot labels with the value `on` for the own class and `off` elsewhere :cite:p:`hui2021`.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    on, off : float
        Entry of the own class, and of every other one, both finite.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    AffineOneHot
        Shape (K, K), kept as two numbers.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.scaled_one_hot(3, on=5, off=-1).encode([1])
    array([[-1.,  5., -1.]])
    """
    high, low = _finite(on, "on"), _finite(off, "off")
    return AffineOneHot(num_classes, high - low, low, name="scaled-one-hot", classes=classes)


def one_vs_rest(num_classes: int, *, classes: Sequence[str] | None = None) -> AffineOneHot:
    """Labels of ±1: +1 for the own class, -1 elsewhere :cite:p:`rifkin2004`.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    AffineOneHot
        Shape (K, K), kept as two numbers.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.one_vs_rest(3).codewords
    array([[ 1., -1., -1.],
           [-1.,  1., -1.],
           [-1., -1.,  1.]])
    """
    return AffineOneHot(num_classes, 2.0, -1.0, name="one-vs-rest", classes=classes)


def _finite(value: float, name: str) -> float:
    number = checks.real(value, name)
    if not np.isfinite(number):
        raise ArgumentError(f"{name}: expected a finite number, got {number}")
    return number


class Simplex(Encoding, family="simplex"):
    """Vertices of a regular simplex in Helmert coordinates, padded with zeros to `code_dim`.

    Column k of the Helmert matrix is 0 above row k - 1, then ``-k/√(k(k+1))``, then ``1/√(j(j+1))``.
    Encoding and decoding use that pattern, so nothing of size K × K is built unless `codewords` is read.
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
        memory.require_room("coordinates", 4, k, instead="one_hot has the same geometry and needs no numbers")
        self._setup(k, q, "simplex", classes)
        j = np.arange(1, k, dtype=np.float64)
        scale = np.sqrt(k / (k - 1.0))
        self._tail = checks.read_only(scale / np.sqrt(j * (j + 1)))
        self._pivot = checks.read_only(-scale * np.sqrt(j / (j + 1)))
        self._frozen = True

    @property
    def largest_entry(self) -> float:
        """Largest absolute entry of the codewords, which have length 1."""
        return 1.0

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

    def _decode(self, outputs: FloatArray, noise: FloatArray | float = 0.0) -> IntArray:
        k = self._num_classes
        weighted = outputs[:, : k - 1] * self._tail
        scores = np.zeros((len(outputs), k))
        scores[:, : k - 1] = np.cumsum(weighted[:, ::-1], axis=1)[:, ::-1]
        scores[:, 1:] += outputs[:, : k - 1] * self._pivot
        return first_of_nearest(scores, 8 * EPS * np.linalg.norm(outputs, axis=1) + noise)

    def _entries(self) -> dict[str, Any]:
        return {"num_classes": self._num_classes, "code_dim": self._code_dim}

    @classmethod
    def _from_entries(cls, record: dict[str, Any], classes: Sequence[str] | None) -> Encoding:
        return cls(record["num_classes"], record["code_dim"], classes=classes)


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

    Returns
    -------
    Simplex
        Shape (code_dim, K), kept as a rule.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.simplex(5)
    >>> encoding.code_dim, encoding.gram().round(2)[0].tolist()
    (4, [1.0, -0.25, -0.25, -0.25, -0.25])
    """
    return Simplex(num_classes, code_dim, classes=classes)
