"""`ClassGeometry`: the value in which prediction and measurement meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.shown import Shown
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError
from encollapse.geometry.frames import ROUNDING_OF_DIFFERENCES, frame_distance, frame_gram, gram_cosines, gram_lengths
from encollapse.geometry.lazy_matrix import BlockMatrix, EntryMatrix, FormMatrix, LazyMatrix

_BUILT = ("_feature_gram", "_classifier_gram", "_class_outputs", "_centered")
"""Matrices that may be built when they are first read."""

_UNRESOLVED = 128 * EPS**0.5
"""Share of the longest mean below which one is rounding, where only inner products are computed."""


class ClassGeometry(Shown):
    """The geometry of a last layer, free of the choice of basis in feature space.

    Two networks whose features differ by a rotation have the same `ClassGeometry`. Instances are immutable.
    Arrays are float64, copied and read-only. Classes with ``counts == 0`` (absent from the measured data)
    have NaN in their rows and columns, so that they can never be mistaken for means at zero.

    Parameters
    ----------
    feature_gram : (K, K) array, BlockMatrix or LazyMatrix
        Inner products ``MᵀM`` of the uncentered class means.
    counts : (K,) ints
        Samples of each class. 0 marks a class that was not seen.
    classifier_gram : (q, q) array, BlockMatrix or LazyMatrix, optional
        ``W Wᵀ``. None where no classifier is known.
    class_outputs : (q, K) array, BlockMatrix or LazyMatrix, optional
        ``W M``, the outputs at the class means, without the bias.
    bias : (q,), optional
        The bias, zeros for a classifier without one, or None where no classifier is known.
    within : (K,), optional
        Trace of the within-class covariance of each class. Default: zeros.
    provenance : mapping
        Where the numbers come from (settings, source), as plain values only.
    feature_gram_centered : (K, K) array or LazyMatrix, optional
        Inner products of the class means about the global mean, where they are known to more digits than those of
        the means leave them: beside a large global mean. Default: from `feature_gram`.

    Raises
    ------
    ArgumentError
        If shapes disagree or an entry of a present class is not finite.

    Examples
    --------
    >>> import encollapse as ec, numpy as np
    >>> means = np.array([[3.0, 0.0, 0.0], [0.0, 2.0, 2.0]])
    >>> geometry = ec.ClassGeometry(means.T @ means, counts=[5, 3, 2])
    >>> geometry.norm(0), geometry.cosine(1, 2)
    (3.0, 1.0)
    >>> round(geometry.distance("orthogonal"), 3)
    0.608
    """

    _frozen = False

    def __init__(
        self,
        feature_gram: ArrayLike | BlockMatrix | LazyMatrix,
        counts: ArrayLike,
        classifier_gram: ArrayLike | BlockMatrix | LazyMatrix | None = None,
        class_outputs: ArrayLike | BlockMatrix | LazyMatrix | None = None,
        bias: ArrayLike | None = None,
        within: ArrayLike | None = None,
        provenance: Mapping[str, Any] | None = None,
        feature_gram_centered: ArrayLike | LazyMatrix | None = None,
    ) -> None:
        raw = checks.to_numpy(counts, "counts")
        if raw.ndim != 1 or raw.dtype.kind not in "iu" or (raw < 0).any() or not raw.any():
            raise ArgumentError("counts: expected whole numbers of 0 or above, shape (num_classes,), not all zero")
        k = len(raw)
        self._counts: IntArray = checks.read_only(raw.astype(np.int64))
        self._feature_gram = self._matrix(feature_gram, "feature_gram", (k, k), rows=True)
        self._resolution = _UNRESOLVED if isinstance(feature_gram, EntryMatrix) else 0.0
        self._centered = (
            None
            if feature_gram_centered is None
            else self._matrix(feature_gram_centered, "feature_gram_centered", (k, k), rows=True)
        )
        spread = np.zeros(k) if within is None else within
        self._within: FloatArray = self._of_classes(spread, "within", (k,))
        known = {"classifier_gram": classifier_gram, "class_outputs": class_outputs, "bias": bias}
        sizes = [_rows(value, name) for name, value in known.items() if value is not None]
        q = sizes[0] if sizes else None
        self._code_dim = q
        self._classifier_gram = (
            None if classifier_gram is None else self._matrix(classifier_gram, "classifier_gram", (q, q))
        )
        self._class_outputs = (
            None if class_outputs is None else self._matrix(class_outputs, "class_outputs", (q, k), columns=True)
        )
        self._bias: FloatArray | None = None if bias is None else checks.read_only(checks.array(bias, "bias", (q,)))
        self._provenance = MappingProxyType(dict(provenance or {}))
        self._frozen = True

    def _matrix(
        self, value: Any, name: str, shape: tuple[int | None, int | None], *, rows: bool = False, columns: bool = False
    ) -> FloatArray | BlockMatrix | LazyMatrix:
        if isinstance(value, BlockMatrix | LazyMatrix):
            if value.shape != shape:
                raise ArgumentError(f"{name}: expected shape {shape}, got {value.shape}")
            return value
        if not (rows or columns):
            return np.asarray(checks.read_only(checks.array(value, name, shape)))
        return self._of_classes(value, name, shape, rows=rows)

    def _of_classes(self, value: Any, name: str, shape: tuple[int | None, ...], *, rows: bool = True) -> FloatArray:
        """Check an array whose last axis (and with `rows` the first) runs over the classes."""
        result = checks.array(value, name, shape, finite=False)
        absent = ~self.present
        result[..., absent] = np.nan
        if rows:
            result[absent] = np.nan
        kept = result[..., ~absent][~absent if rows and result.ndim > 1 else slice(None)]
        if not np.isfinite(kept).all():
            raise ArgumentError(f"{name}: every entry of a class that is present must be finite")
        return np.asarray(checks.read_only(result))

    def __setattr__(self, name: str, value: Any) -> None:
        if self._frozen and name not in _BUILT:
            raise AttributeError(f"ClassGeometry is immutable; cannot set {name!r}")
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and process pools send geometries back.
        fields = (
            self._feature_gram,
            self._counts,
            self._classifier_gram,
            self._class_outputs,
            self._bias,
            self._within,
        )
        return (ClassGeometry, (*fields, dict(self._provenance), self._centered))

    def __repr__(self) -> str:
        source = self.provenance.get("source", "unknown source")
        return f"ClassGeometry(num_classes={self.num_classes}, code_dim={self._code_dim}, source={source!r})"

    def _dense(self, name: str) -> Any:
        """Return a matrix, building it from its blocks on first use."""
        value = getattr(self, f"_{name}")
        if isinstance(value, BlockMatrix | LazyMatrix):
            value = checks.read_only(value.dense(name))
            setattr(self, f"_{name}", value)
        return value

    @property
    def feature_gram(self) -> FloatArray:
        """Inner products of the uncentered class means, shape (K, K)."""
        return np.asarray(self._dense("feature_gram"))

    @property
    def classifier_gram(self) -> FloatArray | None:
        """``W Wᵀ``, shape (q, q), or None."""
        value: FloatArray | None = self._dense("classifier_gram")
        return value

    @property
    def class_outputs(self) -> FloatArray | None:
        """``W M``, shape (q, K), or None."""
        value: FloatArray | None = self._dense("class_outputs")
        return value

    @property
    def bias(self) -> FloatArray | None:
        """The bias, shape (q,), or None."""
        return self._bias

    @property
    def counts(self) -> IntArray:
        """Samples of each class, shape (K,)."""
        return self._counts

    @property
    def within(self) -> FloatArray:
        """Trace of the within-class covariance of each class, shape (K,)."""
        return self._within

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the numbers come from."""
        return self._provenance

    @property
    def num_classes(self) -> int:
        """Number of classes K, absent ones included."""
        return len(self.counts)

    @property
    def present(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which classes have samples, shape (K,)."""
        return np.asarray(self.counts > 0)

    @property
    def priors(self) -> FloatArray:
        """Class frequencies ``n_k / N``, shape (K,)."""
        return np.asarray(self.counts / self.counts.sum())

    @property
    def feature_gram_centered(self) -> FloatArray:
        """Gram matrix of the class means about the global mean ``Σ π_k m_k``, shape (K, K)."""
        if self._centered is not None:
            return np.asarray(self._dense("centered"))
        present = self.present
        weights = self.priors[present]
        gram = self.feature_gram[np.ix_(present, present)]
        row = gram @ weights
        centered = np.full_like(self.feature_gram, np.nan)
        centered[np.ix_(present, present)] = gram - row[:, None] - row[None, :] + weights @ row
        return centered

    def cosines(self, centered: bool = False) -> FloatArray:
        """Cosines between class means, shape (K, K), or NaN where a mean is zero or its class absent.

        A mean counts as zero below ``64 eps`` times the longest one: there its direction is rounding. About the
        global mean, where only the inner products of the uncentered means are known, below ``8 √eps`` times the
        longest of those.

        Parameters
        ----------
        centered : bool
            Take the means about the global mean.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.ClassGeometry(ec.orthogonal_gram(3), counts=[5, 5, 5]).cosines(centered=True)[0].round(2)
        array([ 1. , -0.5, -0.5])
        """
        if not checks.flag(centered, "centered"):
            return gram_cosines(self.feature_gram, resolution=self._resolution)
        if self._centered is not None:
            return gram_cosines(self.feature_gram_centered)
        # A difference of inner products: its rounding is that of the means themselves.
        longest = float(np.nanmax(gram_lengths(np.diag(self.feature_gram))))
        resolution = max(ROUNDING_OF_DIFFERENCES, self._resolution)
        return gram_cosines(self.feature_gram_centered, longest=longest, resolution=resolution)

    def mean_cosine(self, centered: bool = False) -> float:
        """Average cosine over pairs of distinct present classes, or NaN if a mean is zero or there is no pair.

        Uncentered, it needs no K × K matrix where the geometry knows its diagonal and quadratic form without.

        Parameters
        ----------
        centered : bool
            Take the means about the global mean.

        Examples
        --------
        >>> import encollapse as ec
        >>> round(ec.ClassGeometry(ec.simplex_etf_gram(5), counts=[2] * 5).mean_cosine(), 3)
        -0.25
        """
        gram = self._feature_gram
        if isinstance(gram, BlockMatrix | FormMatrix) and not centered:
            squares, form = gram.diagonal_and_form()
            return _mean_cosine(gram_lengths(squares, resolution=self._resolution), form)
        present = np.flatnonzero(self.present)
        if len(present) < 2:
            return float("nan")
        cosines = self.cosines(centered)[np.ix_(present, present)]
        return float(cosines[~np.eye(len(present), dtype=bool)].mean())

    def cosine(self, k: int, l: int) -> float:  # noqa: E741 (the notation table's letters)
        """Cosine between the uncentered means of two classes, or NaN if either is zero, as in `cosines`.

        Parameters
        ----------
        k, l : int
            Classes, from 0 to K - 1.

        Raises
        ------
        ArgumentError
            If there is no such class.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.ClassGeometry(ec.simplex_etf_gram(3), counts=[2, 2, 2]).cosine(0, 2)
        -0.5
        """
        norms = self.norm(k) * self.norm(l)
        if not norms > 0:
            return float("nan")
        gram = self._feature_gram
        by_entry = gram.entry if isinstance(gram, BlockMatrix | EntryMatrix) else None
        inner = by_entry(k, l) if by_entry is not None else float(self.feature_gram[k, l])
        return float(np.clip(inner / norms, -1, 1)) if k != l else 1.0

    def norm(self, k: int) -> float:
        """Length of the uncentered mean of class `k`, or 0 where it is rounding, NaN for an absent class.

        Rounding is 64 eps of the longest mean. For a long tail of distinct counts above the size at which it is
        decomposed, squared lengths are known to some 1e-12 of the largest: a mean below 2e-6 of the longest is 0, and
        one just above that has few digits.

        Parameters
        ----------
        k : int
            Class, from 0 to K - 1.

        Raises
        ------
        ArgumentError
            If there is no such class.

        Examples
        --------
        >>> import encollapse as ec
        >>> ec.ClassGeometry([[4.0, 0.0], [0.0, 9.0]], counts=[2, 2]).norm(1)
        3.0
        """
        index = checks.integer(k, "k", minimum=0, maximum=self.num_classes - 1)
        gram = self._feature_gram
        if isinstance(gram, BlockMatrix):
            return float(gram_lengths(np.diag(gram.blocks) + gram.diagonal)[gram.groups[index]])
        squares = gram.diagonal_and_form()[0] if isinstance(gram, EntryMatrix) else np.diag(self.feature_gram)
        return float(gram_lengths(squares, resolution=self._resolution)[index])

    def distance(self, target: str | ClassGeometry | ArrayLike, *, centered: bool = False) -> float:
        """Distance ``|G/|G| - T/|T||_F`` between the shape of the class means and a target's.

        Parameters
        ----------
        target : str, ClassGeometry or (K, K) array
            ``"simplex_etf"``, ``"orthogonal"``, another geometry, or a Gram matrix.
        centered : bool
            Compare the means about the global mean. Another geometry is then centered too. A named
            frame or a Gram matrix is taken as it stands.

        Returns
        -------
        float
            0 for equal shapes, at most 2. Absent classes are left out of both.

        Raises
        ------
        ArgumentError
            If the target has another number of classes, or either Gram matrix is zero.

        Examples
        --------
        >>> import encollapse as ec
        >>> geometry = ec.ClassGeometry(2 * ec.orthogonal_gram(3), counts=[5, 5, 5])
        >>> geometry.distance("orthogonal"), round(geometry.distance("simplex_etf"), 4)
        (0.0, 0.6058)
        """
        keep, centered = self.present, checks.flag(centered, "centered")
        if isinstance(target, str):
            wanted = frame_gram(target, max(int(keep.sum()), 2))
            if keep.sum() < 2:
                raise ArgumentError("distance: at least two classes must be present")
        else:
            if isinstance(target, ClassGeometry):
                keep = keep & target.present if target.num_classes == self.num_classes else keep
                matrix = target.feature_gram_centered if centered else target.feature_gram
            else:
                matrix = checks.array(target, "target", (None, None), axes="(K, K)", finite=False)
            if matrix.shape != self.feature_gram.shape:
                raise ArgumentError(f"target: expected shape {self.feature_gram.shape}, got {matrix.shape}")
            wanted = checks.array(matrix[np.ix_(keep, keep)], "target", (None, None))
        own = self.feature_gram_centered if centered else self.feature_gram
        return frame_distance(own[np.ix_(keep, keep)], wanted)


def _rows(value: Any, name: str) -> int:
    if isinstance(value, BlockMatrix | LazyMatrix):
        return value.shape[0]
    array = checks.to_numpy(value, name)
    if array.ndim == 0:
        raise ArgumentError(f"{name}: expected a row an output, got a single number")
    return len(array)


def _mean_cosine(norms: FloatArray, form: Callable[[FloatArray], float]) -> float:
    if len(norms) < 2 or (norms == 0).any():
        return float("nan")
    pairs = len(norms) * (len(norms) - 1.0)
    return float((form(1.0 / norms) - len(norms)) / pairs)
