"""`ClassGeometry`: the value in which prediction and measurement meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from encollapse import _checks
from encollapse._typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError
from encollapse.geometry.frames import frame_distance, frame_gram


@dataclass(frozen=True, eq=False)
class ClassGeometry:
    """The geometry of a last layer, free of the choice of basis in feature space.

    Two networks whose features differ by a rotation have the same `ClassGeometry`. Arrays are float64,
    copied and read-only. Classes with ``counts == 0`` (absent from the measured data) have NaN in their
    rows and columns, so that they can never be mistaken for means at zero.

    Parameters
    ----------
    feature_gram : (K, K)
        Inner products ``MᵀM`` of the uncentred class means.
    counts : (K,) ints
        Samples of each class; 0 marks a class that was not seen.
    classifier_gram : (q, q), optional
        ``W Wᵀ``. None where no classifier is known.
    class_outputs : (q, K), optional
        ``W M``, the outputs at the class means, without the bias.
    bias : (q,), optional
        The bias; zeros for a classifier without one; None where no classifier is known.
    within : (K,), optional
        Trace of the within-class covariance of each class; default zeros.
    provenance : mapping
        Where the numbers come from (settings, source); plain values only.
    """

    feature_gram: FloatArray
    counts: IntArray
    classifier_gram: FloatArray | None = None
    class_outputs: FloatArray | None = None
    bias: FloatArray | None = None
    within: FloatArray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = _checks.to_numpy(self.counts, "counts")
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any() or not counts.any():
            raise ArgumentError(
                "counts: expected whole numbers of 0 or above, shape (num_classes,), not all zero"
            )
        k = len(counts)
        self._set("counts", counts.astype(np.int64))
        present = counts > 0
        gram = _checks.array(self.feature_gram, "feature_gram", (k, k), finite=False)
        self._require_finite("feature_gram", gram[np.ix_(present, present)])
        gram[~present, :] = gram[:, ~present] = np.nan
        self._set("feature_gram", gram)
        within = (
            np.zeros(k) if self.within is None else _checks.array(self.within, "within", (k,), finite=False)
        )
        self._require_finite("within", within[present])
        within[~present] = np.nan
        self._set("within", within)
        q = self._code_dim()
        if q is not None and self.classifier_gram is not None:
            self._set("classifier_gram", _checks.array(self.classifier_gram, "classifier_gram", (q, q)))
        if q is not None and self.bias is not None:
            self._set("bias", _checks.array(self.bias, "bias", (q,)))
        if q is not None and self.class_outputs is not None:
            outputs = _checks.array(self.class_outputs, "class_outputs", (q, k), finite=False)
            self._require_finite("class_outputs", outputs[:, present])
            outputs[:, ~present] = np.nan
            self._set("class_outputs", outputs)
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def _set(self, name: str, value: np.ndarray[Any, Any]) -> None:
        object.__setattr__(self, name, _checks.read_only(value))

    @staticmethod
    def _require_finite(name: str, values: FloatArray) -> None:
        if not np.isfinite(values).all():
            raise ArgumentError(f"{name}: every entry of a class that is present must be finite")

    def _code_dim(self) -> int | None:
        for value in (self.classifier_gram, self.class_outputs, self.bias):
            if value is not None:
                return len(value)
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and process pools send geometries back.
        fields = (
            self.feature_gram,
            self.counts,
            self.classifier_gram,
            self.class_outputs,
            self.bias,
            self.within,
        )
        return (ClassGeometry, (*fields, dict(self.provenance)))

    def __repr__(self) -> str:
        source = self.provenance.get("source", "unknown source")
        return (
            f"ClassGeometry(num_classes={self.num_classes}, code_dim={self._code_dim()}, source={source!r})"
        )

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
        present = self.present
        weights = self.priors[present]
        gram = self.feature_gram[np.ix_(present, present)]
        row = gram @ weights
        centred = np.full_like(self.feature_gram, np.nan)
        centred[np.ix_(present, present)] = gram - row[:, None] - row[None, :] + weights @ row
        return centred

    def cosines(self, centered: bool = False) -> FloatArray:
        """Cosines between class means, shape (K, K); NaN where a mean is zero or its class absent."""
        gram = self.feature_gram_centered if centered else self.feature_gram
        norms = np.sqrt(np.clip(np.diag(gram), 0.0, None))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = gram / norms[:, None] / norms[None, :]
        defined = norms > 0
        cosines[~defined, :] = cosines[:, ~defined] = np.nan
        cosines[np.flatnonzero(defined), np.flatnonzero(defined)] = 1.0
        return np.clip(cosines, -1.0, 1.0)

    def mean_cosine(self, centered: bool = False) -> float:
        """Average cosine over pairs of distinct present classes; NaN if a mean is zero or there is no pair."""
        present = np.flatnonzero(self.present)
        if len(present) < 2:
            return float("nan")
        cosines = self.cosines(centered)[np.ix_(present, present)]
        return float(cosines[~np.eye(len(present), dtype=bool)].mean())

    def cosine(self, k: int, l: int) -> float:  # noqa: E741 (the notation table's letters)
        """Cosine between the uncentred means of classes `k` and `l`; NaN if either is zero."""
        norms = self.norm(k) * self.norm(l)
        return float(np.clip(self.feature_gram[k, l] / norms, -1, 1)) if norms > 0 else float("nan")

    def norm(self, k: int) -> float:
        """Length of the uncentred mean of class `k`."""
        index = _checks.integer(k, "k", minimum=0, maximum=self.num_classes - 1)
        return float(np.sqrt(max(self.feature_gram[index, index], 0.0)))

    def distance(self, target: str | ClassGeometry | ArrayLike, *, centered: bool = False) -> float:
        """Distance ``|G/|G| - T/|T||_F`` between the shape of the class means and a target's.

        Parameters
        ----------
        target : str, ClassGeometry or (K, K) array
            ``"simplex_etf"``, ``"orthogonal"``, another geometry, or a Gram matrix.
        centered : bool
            Compare the means about the global mean. Another geometry is then centred too; a named
            frame or a Gram matrix is taken as it stands.

        Returns
        -------
        float
            0 for equal shapes, at most 2. Absent classes are left out of both.

        Raises
        ------
        ArgumentError
            If the target has another number of classes, or either Gram matrix is zero.
        """
        keep = self.present
        if isinstance(target, str):
            wanted = frame_gram(target, max(int(keep.sum()), 2))
            if keep.sum() < 2:
                raise ArgumentError("distance: at least two classes must be present")
        else:
            if isinstance(target, ClassGeometry):
                keep = keep & target.present if target.num_classes == self.num_classes else keep
                matrix = target.feature_gram_centered if centered else target.feature_gram
            else:
                matrix = _checks.to_numpy(target, "target").astype(np.float64)
            if matrix.shape != self.feature_gram.shape:
                raise ArgumentError(f"target: expected shape {self.feature_gram.shape}, got {matrix.shape}")
            wanted = _checks.array(matrix[np.ix_(keep, keep)], "target", (None, None))
        own = self.feature_gram_centered if centered else self.feature_gram
        return frame_distance(own[np.ix_(keep, keep)], wanted)
