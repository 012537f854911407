"""Prediction against measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encollapse._internal import checks
from encollapse._internal.shown import Shown
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.errors import ArgumentError
from encollapse.geometry.class_geometry import ClassGeometry
from encollapse.geometry.frames import frame_distance

MEANINGS = {
    "gram_error": "|G_meas - G_pred|_F / |G_pred|_F, uncentered class means",
    "shape_error": "|G_meas/|G_meas| - G_pred/|G_pred||_F, free of scale",
    "cosine_error": "largest difference of a cosine between class means",
    "bias_error": "largest difference of a bias entry",
    "classifier_gram_error": "|WWᵀ_meas - WWᵀ_pred|_F / |WWᵀ_pred|_F",
    "outputs_error": "|WM_meas - WM_pred|_F / |WM_pred|_F",
    "balance_residual": "distance of the measured layers from λ_W WᵀW = λ_H Σ n_k m_k m_kᵀ",
}


class _NoValue(Exception):  # noqa: N818 (an answer, not an error: it becomes the reason of the row)
    """A row has no value for these geometries. The text is the reason that the user reads."""


@dataclass(frozen=True)
class ComparisonRow:
    """One line of a comparison: a value, or the reason why there is none.

    Parameters
    ----------
    name : str
        Field of :class:`Comparison`.
    value : float or None
        The error.
    meaning : str
        A line on it, for tables.
    reason : str, optional
        Why there is no value.

    Examples
    --------
    >>> from encollapse.geometry import ComparisonRow
    >>> ComparisonRow("bias_error", None, "largest difference of a bias entry", "no classifier was given").reason
    'no classifier was given'
    """

    name: str
    value: float | None
    meaning: str
    reason: str | None = None


@dataclass(frozen=True)
class Comparison(Shown):
    """Errors of a measured geometry against a predicted one. Fields are floats, or None with a reason.

    Parameters
    ----------
    gram_error : float or None
        ``|G_meas - G_pred|_F / |G_pred|_F`` of the Gram matrices of uncentered class means.
    shape_error : float or None
        ``|G_meas/|G_meas| - G_pred/|G_pred||_F``, free of scale.
    cosine_error : float or None
        Largest difference of a cosine between uncentered class means.
    bias_error : float or None
        Largest difference of a bias entry.
    classifier_gram_error : float or None
        ``gram_error`` of ``W Wᵀ``.
    outputs_error : float or None
        ``gram_error`` of the outputs ``W M`` at the class means.
    balance_residual : float or None
        Distance of the measured layers from ``λ_W WᵀW = λ_H Σ n_k m_k m_kᵀ``.
    missing : dict
        Reason, by name, for every value that is None.
    notes : tuple of str
        What else a reader must know, such as classes that were left out.

    Examples
    --------
    >>> import encollapse as ec
    >>> predicted, measured = (ec.ClassGeometry(size * ec.orthogonal_gram(3), [5, 5, 5]) for size in (1, 2))
    >>> ec.compare(predicted, measured).worst().name
    'gram_error'
    """

    gram_error: float | None
    shape_error: float | None
    cosine_error: float | None
    bias_error: float | None
    classifier_gram_error: float | None
    outputs_error: float | None
    balance_residual: float | None
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """All values in a fixed order, with their meaning."""
        return tuple(
            ComparisonRow(name, getattr(self, name), meaning, self.missing.get(name))
            for name, meaning in MEANINGS.items()
        )

    def worst(self) -> ComparisonRow:
        """Row with the largest value.

        Raises
        ------
        ArgumentError
            If no value could be computed at all.
        """
        known = [row for row in self.rows if row.value is not None]
        if not known:
            raise ArgumentError(f"this comparison holds no value: {self.missing}")
        return max(known, key=lambda row: row.value or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each error by name, then ``missing`` and ``notes``."""
        values: dict[str, Any] = {row.name: row.value for row in self.rows}
        return values | {"missing": dict(self.missing), "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{'prediction against measurement':<32}{'error':>12}"]
        for row in self.rows:
            value = "-" if row.value is None else f"{row.value:.3e}"
            lines.append(f"{row.name:<32}{value:>12}   {row.meaning if row.reason is None else row.reason}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


class HasGeometry(Protocol):
    """A result that has a class geometry: a Solution, a Collapse, ..."""

    @property
    def geometry(self) -> ClassGeometry:
        """The geometry."""
        ...


def compare(predicted: ClassGeometry | HasGeometry, measured: ClassGeometry | HasGeometry) -> Comparison:
    """Compare a measured geometry with a predicted one.

    Relative errors are relative to the prediction. Classes that either side lacks are left out, and a
    note states it. The balance residual takes ``λ_H/λ_W`` from the prediction.

    Parameters
    ----------
    predicted, measured : ClassGeometry, or anything with one as ``.geometry``
        For instance ``solve(problem)`` and ``collapse(...)``.

    Returns
    -------
    Comparison
        Seven errors, each a number or None with a reason.

    Raises
    ------
    ArgumentTypeError
        If either side is no geometry and has none.
    ArgumentError
        If the numbers of classes, or the lengths of the codewords, differ.

    Examples
    --------
    >>> import encollapse as ec
    >>> etf, frame = (ec.ClassGeometry(gram, [5, 5, 5]) for gram in (ec.simplex_etf_gram(3), ec.orthogonal_gram(3)))
    >>> found = ec.compare(etf, frame)
    >>> round(found.cosine_error, 3), found.missing["bias_error"]
    (0.5, 'no classifier was given')
    """
    predicted, measured = _geometry(predicted, "predicted"), _geometry(measured, "measured")
    if predicted.num_classes != measured.num_classes:
        raise ArgumentError(
            f"measured: has {measured.num_classes} classes, the prediction has {predicted.num_classes}; "
            "use one encoding for both"
        )
    keep = predicted.present & measured.present
    if not keep.any():
        raise ArgumentError("measured: shares no class with the prediction; check the labels")
    pair = _Pair(predicted, measured, keep)
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for name, compute in _COMPUTE.items():
        try:
            values[name] = compute(pair)
        except _NoValue as reason:
            values[name], missing[name] = None, str(reason)
    return Comparison(**values, missing=missing, notes=pair.notes())


def _geometry(value: Any, name: str) -> ClassGeometry:
    found = value if isinstance(value, ClassGeometry) else getattr(value, "geometry", None)
    if isinstance(found, ClassGeometry):
        return found
    return checks.instance(value, name, ClassGeometry, what="a ClassGeometry, or a Solution or Collapse that has one")


@dataclass(frozen=True)
class _Pair:
    """Both geometries, reduced to the classes that both have."""

    predicted: ClassGeometry
    measured: ClassGeometry
    keep: NDArray[np.bool_]

    def notes(self) -> tuple[str, ...]:
        notes = []
        if not self.keep.all():
            notes.append(f"classes without samples left out: {np.flatnonzero(~self.keep).tolist()}")
        p, m = self.predicted.counts[self.keep], self.measured.counts[self.keep]
        if not np.array_equal(p * int(m.sum()), m * int(p.sum())):
            notes.append("the class frequencies of prediction and measurement differ")
        norms = [np.diag(gram) for gram in self.grams()]
        if any((n <= 0).any() and (n > 0).any() for n in norms):
            notes.append("classes whose mean is zero are left out of cosine_error")
        return tuple(notes)

    def grams(self) -> tuple[FloatArray, FloatArray]:
        index = np.ix_(self.keep, self.keep)
        return np.asarray(self.predicted.feature_gram[index]), np.asarray(self.measured.feature_gram[index])

    def outputs(self) -> tuple[FloatArray, FloatArray]:
        predicted, measured = self.both("class_outputs")
        return predicted[:, self.keep], measured[:, self.keep]

    def both(self, name: str) -> tuple[FloatArray, FloatArray]:
        predicted, measured = getattr(self.predicted, name), getattr(self.measured, name)
        if predicted is None or measured is None:
            raise _NoValue("no classifier was given")
        if predicted.shape != measured.shape:
            raise ArgumentError(
                f"measured: {name} has shape {measured.shape}, the prediction's is {predicted.shape}; "
                "use one encoding for both"
            )
        return predicted, measured


def _relative(predicted: FloatArray, measured: FloatArray) -> float:
    scale = float(np.linalg.norm(predicted))
    error = float(np.linalg.norm(measured - predicted))
    if scale > 0.0:
        return error / scale
    if error == 0.0:
        return 0.0
    raise _NoValue(f"the prediction is zero; the measured norm is {error:.3e}")


def _shape(pair: _Pair) -> float:
    predicted, measured = pair.grams()
    if predicted.any() and measured.any():
        return frame_distance(measured, predicted)
    if predicted.any() or measured.any():
        raise _NoValue("a Gram matrix is zero and has no shape")
    return 0.0


def _cosine(pair: _Pair) -> float:
    index = np.ix_(pair.keep, pair.keep)
    difference = np.abs(pair.measured.cosines()[index] - pair.predicted.cosines()[index])
    if np.isnan(difference).all():
        raise _NoValue("every class mean is zero on one side, so the angles are undefined")
    return float(np.nanmax(difference))


def _bias(pair: _Pair) -> float:
    predicted, measured = pair.both("bias")
    return float(np.abs(measured - predicted).max())


def _balance(pair: _Pair) -> float:
    p, m = pair.both("classifier_gram")
    gram_predicted, gram = pair.grams()
    counts = pair.predicted.counts[pair.keep]
    energy = float(counts @ np.diag(gram_predicted))
    if energy == 0.0:
        raise _NoValue("the prediction is zero, so both sides vanish")
    residual = balance_residual(
        gram, m, pair.outputs()[1], pair.measured.counts[pair.keep], ratio=float(np.trace(p)) / energy
    )
    if residual is None:
        raise _NoValue("the measured classifier or means are zero")
    return residual


_COMPUTE: dict[str, Callable[[_Pair], float]] = {
    "gram_error": lambda pair: _relative(*pair.grams()),
    "shape_error": _shape,
    "cosine_error": _cosine,
    "bias_error": _bias,
    "classifier_gram_error": lambda pair: _relative(*pair.both("classifier_gram")),
    "outputs_error": lambda pair: _relative(*pair.outputs()),
    "balance_residual": _balance,
}


def balance_residual(
    feature_gram: FloatArray,
    classifier_gram: FloatArray,
    class_outputs: FloatArray,
    counts: IntArray,
    *,
    ratio: float | None = None,
) -> float | None:
    """How far classifier and class means are from balance, 0 exactly where they are balanced.

    With ``X = WᵀW``, ``Y = ρ Σ n_k m_k m_kᵀ`` and ``ρ = λ_H/λ_W`` this is the larger of
    ``|W (X - Y) Wᵀ|/|W X Wᵀ|`` and ``|Mᵀ(X - Y)M|/|MᵀYM|`` (M with columns ``√n_k m_k``): it sees every
    direction that the classifier or the means use, and is computed from Gram matrices without taking a
    root, so rounding stays near eps.

    Parameters
    ----------
    feature_gram, classifier_gram, class_outputs, counts
        As in :class:`ClassGeometry`, present classes only.
    ratio : float, optional
        ``ρ``. By default the one that makes the traces of X and Y equal, which tests the shape only.

    Returns
    -------
    float or None
        None where classifier or means are zero.
    """
    root = np.sqrt(counts)
    means = root[:, None] * feature_gram * root[None, :]
    sizes = float(np.trace(classifier_gram)), float(np.trace(means))
    if min(sizes) <= 0:
        return None
    # All three with traces of one: fourth powers of long features leave the range of float64.
    classifier, means = classifier_gram / sizes[0], means / sizes[1]
    outputs = class_outputs * root[None, :] / np.sqrt(sizes[0]) / np.sqrt(sizes[1])
    rho = 1.0 if ratio is None else ratio * sizes[1] / sizes[0]
    by_classifier = np.linalg.norm(classifier @ classifier - rho * outputs @ outputs.T)
    by_means = np.linalg.norm(outputs.T @ outputs - rho * means @ means)
    return float(
        max(by_classifier / np.linalg.norm(classifier @ classifier), by_means / (rho * np.linalg.norm(means @ means)))
    )
